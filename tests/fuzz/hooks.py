"""What Schemathesis does not know of itself; it imports this in an environment of its own."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def as_lines(_context: Any, value: Any) -> bytes:
    """A body of NDJSON is a text already."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
