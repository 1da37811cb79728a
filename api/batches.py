"""Splits the body of POST /events into events, each kept as exactly the text that was sent."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import simplejson

from api.bodies import BodyRefused
from core.errors import MalformedEvent
from core.events.envelope import (
    EVENT_LONGEST_BYTES,
    Envelope,
    begins_with_mark,
    check_clock,
    check_envelope,
    parse_json,
)
from core.ingestion.decode import StreamEntry, decode_batch
from core.services.inputs import is_id
from core.store.tenants import Tenant

MAX_EVENTS = 10_000
NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

# It only finds where each element ends. `parse_json` reads the elements, so numbers may stay text here.
_SPLITTER = simplejson.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
_SPACE = " \t\n\r"


def read_events(raw: bytes, content_type: str, now: datetime) -> list[tuple[str, bytes]]:
    """The events of a body, each as its shard key and its JSON text.

    The body is one event, an array of them, or NDJSON if `content_type` says so. Raises BodyRefused, naming
    the index of the event, if one of them is too large, has a malformed envelope or a `time` that is ahead of `now`;
    also for no event or too many.
    """
    events: list[tuple[str, bytes]] = []
    for text in _texts(raw, content_type):
        if len(events) == MAX_EVENTS:
            message = f"At most {MAX_EVENTS} events are taken at once"
            raise BodyRefused.at([], message, "too_many_events")
        events.append((_shard_key(_check_event(text, len(events), now)), text))
    if not events:
        raise BodyRefused.at([], "The body holds no event", "missing")
    return events


def check_events(events: Sequence[tuple[str, bytes]], tenant: Tenant, now: datetime) -> None:
    """Raise BodyRefused, with the index and the code, for the first event that would become a dead letter."""
    entries = [StreamEntry(0, str(index), now, tenant.name, text) for index, (_, text) in enumerate(events)]
    for entry, rejection in decode_batch(entries, {tenant.name: tenant.zone}).refused:
        raise BodyRefused.at([int(entry.entry_id)], rejection.message, rejection.code)


def _texts(raw: bytes, content_type: str) -> Iterator[bytes]:
    if content_type.partition(";")[0].strip().lower() in NDJSON:
        return _lines(raw)
    if raw.lstrip()[:1] == b"[":
        return _elements(raw)
    return iter([raw.strip()] if raw.strip() else [])


def _lines(raw: bytes) -> Iterator[bytes]:
    """The lines, one at a time: a body of eight million empty lines must not become a list."""
    start = 0
    while start < len(raw):
        end = raw.find(b"\n", start)
        end = len(raw) if end < 0 else end
        line = raw[start:end].strip()
        if line:
            yield line
        start = end + 1


def _elements(raw: bytes) -> Iterator[bytes]:
    """The texts of an array's elements."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BodyRefused.at([], f"The body is not UTF-8 (byte {error.start})", "not_utf8") from None
    at, index = _skip_space(text, text.index("[") + 1), 0
    if text[at : at + 1] != "]":
        while True:
            end = _end_of_element(text, at, index)
            yield text[at:end].encode()
            at, index = _skip_space(text, end), index + 1
            if text[at : at + 1] != ",":
                break
            at = _skip_space(text, at + 1)
    if text[at : at + 1] != "]" or text[at + 1 :].strip(_SPACE):
        raise BodyRefused.at([index], f"The body is not a JSON array (character {at})", "not_json")


def _end_of_element(text: str, at: int, index: int) -> int:
    if begins_with_mark(text, at):
        raise BodyRefused.at([index], "not JSON: it begins with a byte order mark", "unparseable")
    try:
        return _SPLITTER.raw_decode(text, at)[1]
    except simplejson.JSONDecodeError as error:
        raise BodyRefused.at([index], f"not JSON: {error}", "unparseable") from None
    except RecursionError:
        raise BodyRefused.at([index], "nested too deeply", "unparseable") from None


def _skip_space(text: str, at: int) -> int:
    while text[at : at + 1] in _SPACE and at < len(text):
        at += 1
    return at


def _check_event(text: bytes, index: int, now: datetime) -> Envelope:
    if len(text) > EVENT_LONGEST_BYTES:
        raise BodyRefused.at([index], f"An event must have at most {EVENT_LONGEST_BYTES} bytes", "event_too_large")
    try:
        envelope = check_envelope(parse_json(text))
        check_clock(envelope.time, now)
    except MalformedEvent as error:
        raise BodyRefused.at([index], error.message, error.code) from None
    return envelope


def _shard_key(event: Envelope) -> str:
    """The account, so that one account's events stay in order on one shard; the event's id if it names no account."""
    accounts = event.data.get("account_ids")
    first = accounts[0] if isinstance(accounts, list) and accounts else None
    named = (name for name in (event.data.get("account_id"), first) if isinstance(name, str) and is_id(name))
    return next(named, event.event_id)
