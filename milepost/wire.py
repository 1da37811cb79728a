"""Calls and answers: what the Python face asks for, in the terms of the REST interface, whoever answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import simplejson


@dataclass(frozen=True, slots=True)
class Call:
    """One act: its name, and the request that asks for it. `path` are the segments below the goals' own address."""

    act: str
    method: str
    path: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    idempotency_key: str | None = None

    @property
    def address(self) -> str:
        """The path below the goals' own address, without the query: "" or /goal_1/funding/savings%2F1."""
        return "".join(f"/{quote(segment, safe='')}" for segment in self.path)

    @property
    def raw_body(self) -> bytes:
        """The body as JSON in which a Decimal is a number with all its digits; empty if there is none."""
        return b"" if self.body is None else encode(self.body)

    def on_page(self, query: Mapping[str, str]) -> Call:
        """The same call for another page of its answer."""
        return replace(self, query=query)


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of a good answer, and the query of the page that follows, if one does."""

    body: Any
    following: Mapping[str, str] | None = None


class AsyncDoor(Protocol):
    """What answers calls."""

    async def call(self, call: Call) -> Answer:
        """The answer; raises the errors of milepost.errors."""
        ...

    async def close(self) -> None:
        """Give back what is held open."""
        ...


class SyncDoor(Protocol):
    """What answers calls, and blocks meanwhile."""

    def call(self, call: Call) -> Answer:
        """The answer; raises the errors of milepost.errors."""
        ...

    def close(self) -> None:
        """Give back what is held open."""
        ...


def encode(body: object) -> bytes:
    """A body as JSON; Decimals become numbers with all their digits."""
    return simplejson.dumps(body, use_decimal=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def decode(raw: bytes) -> Any:
    """Parsed JSON; numbers with a point become Decimals. Raises ValueError."""
    return json.loads(raw, parse_float=Decimal)


def query_text(query: Mapping[str, str]) -> str:
    """?name=value&..., or nothing."""
    return f"?{urlencode(query)}" if query else ""
