"""Events as they are sent: encoded exactly, and divided into batches of which each is one request."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from numbers import Integral
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeAlias

from anyio.to_thread import run_sync

from milepost.client import arguments
from milepost.client.errors import InvalidField, MilepostError, ServerFault
from milepost.client.records import read_float
from milepost.client.transport import encode

Event: TypeAlias = Mapping[str, Any] | bytes | str
"""One event: a dictionary, or its JSON."""
Json: TypeAlias = Mapping[str, Any] | Sequence[Any] | bytes | str
"""A body: what a JSON parser made of it, or the JSON itself."""

NDJSON = "application/x-ndjson"
MOST_EVENTS = 1_000
MOST_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one request, each with its number among all; `unit` is what is counted, `event` or `line`.

    `name` tells the batches of a call apart, and is the same when the call is made again.
    """

    name: str
    unit: str
    numbers: tuple[int, ...]
    texts: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """The events, one a line."""
        return b"\n".join(self.texts)

    def key(self, key: str) -> str:
        """The idempotency key of its request, made from that of the call."""
        return hashlib.sha256(f"{key}\n{self.name}".encode()).hexdigest()

    def halves(self) -> list[Batch]:
        """Two batches instead of this one; none if it has a single event."""
        middle = len(self.texts) // 2
        parts = [slice(middle), slice(middle, None)] if middle else []
        return [
            replace(self, name=f"{self.name}.{number}", numbers=self.numbers[part], texts=self.texts[part])
            for number, part in enumerate(parts)
        ]

    def describe(self, error: MilepostError, key: str) -> None:
        """Make the error of its request that of the call, with the key of the call and the numbers of the events."""
        for index, number in enumerate(self.numbers):
            name_event(error, index, f"{self.unit} {number}")
        error.idempotency_key = key
        add_range(error, self.unit, self.numbers[0], self.numbers[-1])


class SyncFile:
    """The batches of a file that has an event a line, read as they are asked for; empty lines are left out."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self._batches = batches("line", _lines(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._batches.close()

    def __iter__(self) -> Iterator[Batch]:
        return self._batches


class AsyncFile(SyncFile):
    """The same; it is read in a thread, since a disk may be slow."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        batch = await run_sync(lambda: next(self._batches, None))
        if batch is None:
            raise StopAsyncIteration
        return batch


def batches(unit: str, events: Iterable[tuple[int, Event]]) -> Generator[Batch, None, None]:
    """Numbered events in batches of at most MOST_EVENTS and MOST_BYTES; raises InvalidField for what is no event."""
    names = count()
    numbers: list[int] = []
    texts: list[bytes] = []
    size = 0
    for number, event in events:
        try:
            text = encode_event(f"{unit} {number}", event)
        except InvalidField as error:
            add_range(error, unit, numbers[0] if numbers else number, number)
            raise
        if texts and (len(texts) == MOST_EVENTS or size + len(text) > MOST_BYTES):
            yield Batch(str(next(names)), unit, tuple(numbers), tuple(texts))
            numbers, texts, size = [], [], 0
        numbers.append(number)
        texts.append(text)
        size += len(text) + 1
    if texts:
        yield Batch(str(next(names)), unit, tuple(numbers), tuple(texts))


def encode_event(name: str, event: Event) -> bytes:
    """An event as one line of JSON; raises InvalidField, by the name that the event has here."""
    text = encode_body(name, event).strip()
    if not text:
        raise InvalidField.of(name, "is empty")
    if len(text) > MOST_BYTES:
        raise InvalidField.of(name, f"has more than {MOST_BYTES} bytes")
    # A line break between the values of JSON is a space, and within them there can be none.
    return text.replace(b"\n", b" ")


def encode_body(name: str, body: Json) -> bytes:
    """A body as JSON: decimals with all their digits, floats as `read_float` reads them, times in UTC.

    What is JSON already stays as it is. Raises InvalidField, by the name that the body has here.
    """
    try:
        if isinstance(body, bytes):
            return body
        if isinstance(body, str):
            return body.encode()
        if isinstance(body, Mapping | list | tuple):
            return encode(_exact(body, ()))
    except UnicodeEncodeError:
        raise InvalidField.of(name, "must not contain broken Unicode") from None
    except InvalidField as error:
        raise InvalidField.of(name, error.message) from None
    except RecursionError:
        raise InvalidField.of(name, "is nested too deeply") from None
    raise InvalidField.of(name, "must be a dictionary, or JSON as text or bytes")


def name_event(error: MilepostError, index: int, name: str) -> None:
    """Give the event at an index of a request, if the error refuses that one, the name that it has for the caller."""
    if isinstance(error, InvalidField) and error.field == str(index):
        error.message = f"{name}: {error.message.removeprefix(f'event {index}: ')}"
        error.field = name


def add_range(error: MilepostError, unit: str, first: int, last: int) -> None:
    """Let the error say which events were not accepted, or if nobody knows that: those of its request."""
    is_one, is_in_doubt = first == last, error.may_pass or isinstance(error, ServerFault)
    verb = "may not have been" if is_in_doubt else "was not" if is_one else "were not"
    these = f"{unit} {first}" if is_one else f"{unit}s {first} to {last}"
    error.message += f"; {these} {verb} accepted, and later ones were not sent"


def _exact(value: Any, path: tuple[str, ...]) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Decimal | float):
        number = read_float(value) if isinstance(value, float) else value
        if not number.is_finite():
            raise InvalidField.of(".".join(path), "must be a finite number")
        return number
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, datetime):
        aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        return arguments.moment(".".join(path), aware)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_exact(each, (*path, str(index))) for index, each in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _exact(each, (*path, name)) for name, each in value.items()}
    raise InvalidField.of(".".join(path), f"JSON has nothing for a {type(value).__name__}")


def _lines(path: str | PathLike[str]) -> Iterator[tuple[int, bytes]]:
    with open(path, "rb") as file:
        number = 0
        # A file that is no NDJSON may be a single line of any length.
        while line := file.readline(MOST_BYTES + 2):
            number += 1
            if line.strip():
                yield number, line
