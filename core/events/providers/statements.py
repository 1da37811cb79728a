"""What a row states, in the terms of our own events, and the JSON text of such an event."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from core.events.envelope import Envelope
from core.events.facts import ACCOUNTS_MOST
from core.events.providers.seam import AdaptedEvent

Data = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Statement:
    """One event to be, of one account (a connection's: its first). `time` is when the provider knew it."""

    type: str
    account_id: str
    time: datetime
    data: Data


def stated(type: str, account_id: str, time: datetime, **data: object) -> Statement:
    """A statement about one account; what is None is left out."""
    told = {name: value for name, value in data.items() if value is not None}
    return Statement(f"milepost.{type}", account_id, time, {"account_id": account_id} | told)


def connection(account_ids: Sequence[str], time: datetime, state: str, reason: str | None) -> Iterator[Statement]:
    """The state of the connection of some accounts, as many at once as an event takes."""
    names = sorted(set(account_ids))
    for start in range(0, len(names), ACCOUNTS_MOST):
        some = names[start : start + ACCOUNTS_MOST]
        data = {"account_ids": some, "state": state} | ({} if reason is None else {"reason": reason})
        yield Statement("milepost.connection.changed", some[0], time, data)


def envelope_of(statement: Statement, source: str, order: str) -> Envelope:
    """The statement with its id: equal statements have equal ids, and of several at one time the greater order stands.

    The order is the provider's own (a page's sections, an object's revision) or, where it has none, empty; then the
    digest of what is stated decides, so that nothing hangs on which came first.
    """
    content = [statement.type, statement.time.isoformat(), statement.data]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    digest = blake2b(text.encode(), digest_size=12).hexdigest()
    return Envelope(
        event_id=f"{order}-{digest}" if order else digest,
        source=source,
        type=statement.type,
        time=statement.time,
        subject=None,
        data=dict(statement.data),
    )


def event_of(statement: Statement, source: str, order: str) -> AdaptedEvent:
    """The statement as POST /events takes it. ASCII, since half a surrogate pair has no UTF-8."""
    envelope = envelope_of(statement, source, order)
    text = json.dumps(
        {
            "specversion": "1.0",
            "id": envelope.event_id,
            "source": source,
            "type": envelope.type,
            "time": envelope.time.isoformat(),
            "data": envelope.data,
        },
        separators=(",", ":"),
    )
    return AdaptedEvent(statement.account_id, text.encode())
