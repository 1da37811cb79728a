"""Checks of messages: the feed has each once, each endpoint got what it takes at least once, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

from tests.chaos.checks.evidence import Evidence, Row
from tests.chaos.checks.goals import ExpectedGoal, never_reached
from tests.chaos.messages.endpoints import Endpoint
from tests.chaos.messages.feed import Message
from tests.chaos.messages.receiver import Received
from tests.chaos.verdict import Verdict

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_WITHDRAWN = "_withdrawn"

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came of the messages: the feed as its readers got it, by tenant, and every request in its order.

    Everything that was due at `until` was delivered by then; later messages are not checked.
    """

    endpoints: Sequence[Endpoint]
    feeds: Mapping[str, Sequence[Message]]
    received: Sequence[Received]
    until: datetime


@dataclass(frozen=True)
class _Messages:
    """The evidence by (tenant, message id)."""

    arrived: Arrived
    evidence: Evidence

    @cached_property
    def announced(self) -> dict[Key, Row]:
        """The messages that were announced, in the order of their positions."""
        rows = [row for row in self.evidence["outbox"] if row["position"] is not None and not self._is_late(row)]
        return {_key(row): row for row in sorted(rows, key=lambda row: (row["tenant"], row["position"]))}

    @cached_property
    def late(self) -> set[Key]:
        """Those that were written after all was delivered."""
        return {_key(row) for row in self.evidence["outbox"] if self._is_late(row)}

    @cached_property
    def feed(self) -> dict[Key, Message]:
        """The messages of the feeds, in their order."""
        return dict(self.listed)

    @cached_property
    def listed(self) -> list[tuple[Key, Message]]:
        """The same, each as often as it was read."""
        found = [((tenant, each["id"]), each) for tenant, feed in sorted(self.arrived.feeds.items()) for each in feed]
        return [(key, each) for key, each in found if key not in self.late]

    @cached_property
    def received(self) -> list[tuple[Endpoint | None, Received]]:
        """Every request, with the endpoint that it came to."""
        endpoints = {each.path: each for each in self.arrived.endpoints}
        found = [(endpoints.get(each.path), each) for each in self.arrived.received]
        return [(to, each) for to, each in found if to is None or (to.tenant, each.message_id) not in self.late]

    @cached_property
    def due(self) -> dict[tuple[str, str, str], Endpoint]:
        """The messages that each endpoint had to get, by (tenant, endpoint id, message id)."""
        return {
            (tenant, to.endpoint_id, message_id): to
            for (tenant, message_id), row in self.announced.items()
            for to in self.arrived.endpoints
            if to.tenant == tenant and _has_to_get(to, row)
        }

    def _is_late(self, row: Row) -> bool:
        return bool(row["created_at"] > self.arrived.until)


def check_messages(
    verdict: Verdict, arrived: Arrived, goals: Sequence[ExpectedGoal], evidence: Evidence
) -> dict[str, int]:
    """All checks of messages; returns how many there are of some kinds."""
    messages = _Messages(arrived, evidence)
    verdict.record("feed", len(messages.announced), _of_feed(messages))
    verdict.record("delivered at least once", len(messages.due), _undelivered(messages))
    verdict.record("received was announced", len(messages.received), _unannounced(messages))
    verdict.record("one id, one body", len(messages.received), _other_bodies(messages))
    unsigned = [f"{_name(each)} has no signature that is right" for _, each in messages.received if not each.is_signed]
    verdict.record("signed", len(messages.received), unsigned)
    ids = {**messages.feed, **{(to.tenant, each.message_id): each for to, each in messages.received if to is not None}}
    withdrawn = [key for key in ids if _reached_id(key[1]) is not None]
    verdict.record("withdrawn was reached", len(ids), _unpaired(withdrawn, messages))
    reached = list(_reached(messages))
    verdict.record("reached by the facts", len(reached), _not_borne_out(reached, goals, evidence))
    return _counts(messages, withdrawn)


def _of_feed(messages: _Messages) -> Iterable[str]:
    """Each announced message is there once, in the order of positions, as it was written."""
    times = Counter(key for key, _ in messages.listed)
    yield from (f"{_text(key)} is in the feed {number} times" for key, number in times.items() if number > 1)
    yield from (f"{_text(key)} was announced and is not in the feed" for key in messages.announced if key not in times)
    yield from (f"{_text(key)} is in the feed and was not announced" for key in times if key not in messages.announced)
    both = [key for key in messages.announced if key in times]
    read = [key for key in messages.feed if key in messages.announced]
    for wanted, found in zip(both, read, strict=True):
        if wanted != found:
            yield f"{_text(found)} is in the feed where {_text(wanted)} should be"
            break
    for key in both:
        yield from _differing(key, messages.announced[key], messages.feed[key])


def _differing(key: Key, row: Row, message: Message) -> Iterable[str]:
    written: dict[str, Any] = json.loads(row["payload"], parse_float=Decimal)
    written |= {"id": row["message_id"], "historical": row["historical"]}
    shown = {name: message[name] for name in written}
    if shown != written or shown["type"] != row["type"]:
        yield f"{_text(key)} is shown as {shown}, written was {written} of type {row['type']}"


def _undelivered(messages: _Messages) -> Iterable[str]:
    """Each message that is due was received and taken, and its row says so; there are no other rows."""
    taken = {
        (to.tenant, to.endpoint_id, each.message_id)
        for to, each in messages.received
        if to is not None and each.is_taken
    }
    stored = {
        (row["tenant"], row["endpoint_id"], row["message_id"]): row["status"]
        for row in messages.evidence["deliveries"]
        if _key(row) not in messages.late
    }
    for due, to in messages.due.items():
        if due not in taken:
            yield f"{due[2]} was never taken by {to.path}; stored as {stored.get(due, 'nothing')}"
        if stored.get(due) != "delivered":
            yield f"{due[2]} to {to.path} is stored as {stored.get(due, 'nothing')}"
    yield from (
        f"{' '.join(key)} has a delivery, and the endpoint must not get it" for key in stored.keys() - messages.due
    )


def _unannounced(messages: _Messages) -> Iterable[str]:
    """What was received is in the feed, is not historical, and is of a type that the endpoint takes."""
    for to, each in messages.received:
        key = ("" if to is None else to.tenant, each.message_id)
        if to is None or key not in messages.feed:
            yield f"{_name(each)} is in no feed"
        elif messages.feed[key]["historical"]:
            yield f"{_name(each)} is historical"
        elif not to.takes(messages.feed[key]["type"]):
            yield f"{_name(each)} is {messages.feed[key]['type']}, which the endpoint does not take"


def _other_bodies(messages: _Messages) -> Iterable[str]:
    """Every request has an id and a body that were written, byte for byte."""
    bodies: dict[Key, bytes] = {key: row["payload"].encode() for key, row in messages.announced.items()}
    for to, each in messages.received:
        if to is None or not each.message_id:
            yield f"{_name(each)} has no id, or came to no endpoint"
        elif bodies.setdefault((to.tenant, each.message_id), each.body) != each.body:
            yield f"{_name(each)} has another body: {each.body[:200]!r}"


def _unpaired(withdrawn: Iterable[Key], messages: _Messages) -> Iterable[str]:
    """What is withdrawn was announced before, and historical if the other one is."""
    order = {key: number for number, key in enumerate(messages.feed)}
    for tenant, message_id in withdrawn:
        of = (tenant, _reached_id(message_id) or "")
        if of not in messages.feed:
            yield f"{tenant} {message_id} is withdrawn, and {of[1]} is not in the feed"
        elif (tenant, message_id) not in messages.feed or order[of] > order[tenant, message_id]:
            yield f"{tenant} {message_id} is withdrawn before {of[1]} is in the feed"
        elif messages.feed[of]["historical"] != messages.feed[tenant, message_id]["historical"]:
            yield f"{tenant} {message_id} and {of[1]} are not both historical or both new"


def _reached_id(message_id: str) -> str | None:
    """The id of the message that another one withdraws; None if it withdraws none."""
    happening, colon, rest = message_id.partition(":")
    return happening.removesuffix(_WITHDRAWN) + colon + rest if happening.endswith(_WITHDRAWN) else None


def _reached(messages: _Messages) -> Iterable[tuple[str, str, int | None]]:
    """(tenant, goal id, milestone or None) of each message that says that something was reached, and holds."""
    for tenant, message_id in messages.feed:
        kind, _, rest = message_id.partition(":")
        if kind in ("milestone_reached", "goal_reached") and (tenant, f"{kind}_withdrawn:{rest}") not in messages.feed:
            goal_id, *amount, _times = rest.split(":")
            yield tenant, goal_id, int(amount[0]) if amount else None


def _not_borne_out(
    reached: Iterable[tuple[str, str, int | None]], goals: Sequence[ExpectedGoal], evidence: Evidence
) -> Iterable[str]:
    """What is said to be reached is stored as reached, and the goal's amount was there."""
    by_id = {(each.row["tenant"], each.row["goal_id"]): each for each in goals}
    for tenant, goal_id, milestone in reached:
        each = by_id.get((tenant, goal_id))
        if each is None:
            yield f"{tenant} {goal_id} is said to be at {milestone or 'its target'}, and there is no such goal"
            continue
        milestones = evidence.of_goal("milestones", tenant, goal_id)
        stored = {row["amount_minor"] for row in milestones if row["reached_at"] is not None}
        is_stored = each.row["reached_at"] is not None if milestone is None else milestone in stored
        if not is_stored or never_reached([each.finish_minor if milestone is None else milestone], each, evidence):
            yield f"{each.key} is said to be at {milestone or 'its target'}, and never was"


def _counts(messages: _Messages, withdrawn: Sequence[Key]) -> dict[str, int]:
    known = [(to.endpoint_id, each.message_id) for to, each in messages.received if to is not None]
    return {
        "messages announced": len(messages.announced),
        "messages never announced": sum(row["position"] is None for row in messages.evidence["outbox"]),
        "historical messages": sum(row["historical"] for row in messages.announced.values()),
        "messages withdrawn": len(withdrawn),
        "messages received": len(known),
        "received more than once": len(known) - len(set(known)),
        "received and not taken": sum(not each.is_taken for _, each in messages.received),
    }


def _has_to_get(to: Endpoint, row: Row) -> bool:
    is_after = row["position"] > (to.made_at - _EPOCH) // _MICROSECOND
    return is_after and not row["historical"] and to.takes(row["type"])


def _key(row: Row) -> Key:
    return row["tenant"], row["message_id"]


def _text(key: Key) -> str:
    return " ".join(key)


def _name(request: Received) -> str:
    return f"{request.path} {request.message_id or 'a request without an id'}"
