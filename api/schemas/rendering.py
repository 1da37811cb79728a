"""How answers are written: amounts with all their digits, times in UTC with Z, days as dates."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, overload

import msgspec
import simplejson
from pydantic import WithJsonSchema
from starlette.responses import Response

Amount = Annotated[Decimal, WithJsonSchema({"type": "number", "examples": [10000.00]})]
Percent = Annotated[Decimal, WithJsonSchema({"type": "number", "examples": [65.0]})]
Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-10T12:00:00Z"]})]
Day = Annotated[str, WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-03-10"]})]
Due = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?$",
            "examples": ["2026-11-09T00:00:00", "2026-11-09T17:30:00Z"],
        }
    ),
]

_encode = msgspec.json.Encoder(decimal_format="number").encode


def exact_json(content: object) -> bytes:
    """JSON text in which a Decimal is a number with all its digits."""
    try:
        return _encode(content)
    except UnicodeEncodeError:
        # A refusal quotes half a surrogate pair, which only an escape can write.
        return simplejson.dumps(content, separators=(",", ":")).encode("ascii")


class ExactResponse(Response):
    """JSON in which a Decimal is a number with all its digits: 10000.00, and never a float."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return exact_json(content)


class PartsResponse(Response):
    """A JSON array of items that are JSON already."""

    media_type = "application/json"

    def render(self, content: Sequence[bytes]) -> bytes:
        return b"[" + b",".join(content) + b"]"


@overload
def moment(at: datetime) -> str: ...


@overload
def moment(at: None) -> None: ...


def moment(at: datetime | None) -> str | None:
    """An instant in UTC: 2026-11-09T00:00:00Z."""
    return None if at is None else at.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def due(by: datetime | date | None) -> str | None:
    """A deadline: a moment as `moment` writes it, a day as its midnight without offset: 2026-11-09T00:00:00."""
    return moment(by) if by is None or isinstance(by, datetime) else f"{by.isoformat()}T00:00:00"


def day(on: date) -> str:
    """A day: 2026-11-09."""
    return on.isoformat()
