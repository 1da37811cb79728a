"""Dead letters as the command line lists them, and an event that becomes one, for tests."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from tests.acts import event
from tests.conftest import Run

SECRET = "a payload that no list shows"
AT = datetime(2026, 3, 9, tzinfo=UTC)


def too_exact(name: str) -> bytes:
    """A transaction that is refused, since its amount has too many decimals."""
    data = {
        "account_id": "a",
        "transaction_id": name,
        "amount": 1.234,
        "currency": "USD",
        "posted_at": AT.isoformat(),
        "description": SECRET,
    }
    return event("transaction.recorded", AT, name, data)


def listed(run: Run, *arguments: str) -> list[dict[str, Any]]:
    """The dead letters that `dead-letters list --json` prints."""
    status, out, _ = run("dead-letters", "list", "--json", *arguments)
    assert status == 0
    letters: list[dict[str, Any]] = json.loads(out)
    return letters


def place(letter: dict[str, Any]) -> tuple[str, str]:
    """The arguments SHARD ENTRY_ID of a dead letter."""
    return str(letter["shard"]), letter["entry_id"]
