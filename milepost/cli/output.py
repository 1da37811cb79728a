"""How commands print JSON."""

from __future__ import annotations

import json
from datetime import date, datetime


def print_json(value: object) -> None:
    """Print `value` as JSON; times as UTC with Z."""
    print(json.dumps(value, indent=2, default=_plain))


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")
