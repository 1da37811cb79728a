"""Request bodies: reading them within limits of size, time and memory, parsing them exactly, and refusing bad ones.

Only events and what providers send may be large. Many such bodies, each within the limit, could be too much together,
so a process limits how many bytes it holds at once. Small bodies do not count: whoever fills the memory with large ones
keeps out other large ones, never small ones. And each sender has only a share of the room: a key, or all those together
whose signature can be checked only when the body is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, TypeVar

import simplejson
from anyio import fail_after
from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from api.context import Contexts, NoContexts
from api.names import unknown_names
from core.errors import MalformedEvent, MilepostError
from core.events.envelope import DuplicateKey, begins_with_mark, one_of_each, parse_json

SMALL_BYTES = 65_536
LARGEST_AT_ONCE, OF_ONE_SENDER = 8, 4
# About ten times what the longest pages of the providers hold.
OBJECTS_MOST, VALUES_MOST = 100_000, 500_000
READ_LONGEST_S = 60
_LONGEST_INTEGER = 40
Model = TypeVar("Model", bound="Body")


class TooManyBodies(MilepostError):
    """Bodies of other requests fill the room; the same body may be accepted a moment later."""

    def __init__(self) -> None:
        super().__init__("Too many large bodies at once")


class BodyRoom:
    """The memory for large bodies in a process. Only the event loop calls this, so there is nothing to lock."""

    def __init__(self) -> None:
        self._reserved_bytes: Counter[str] = Counter()

    @property
    def reserved_bytes(self) -> int:
        """How much is reserved by all requests together."""
        return self._reserved_bytes.total()

    @contextmanager
    def reserve(self, longest_bytes: int, sender: str) -> Iterator[Reservation]:
        """Reserve room while the block runs.

        All requests together get room for LARGEST_AT_ONCE longest bodies, those of one sender for OF_ONE_SENDER.
        """
        reservation = Reservation(self, longest_bytes, sender)
        try:
            yield reservation
        finally:
            if reservation.own_bytes:
                self.add(sender, -reservation.own_bytes)

    def has_room(self, more_bytes: int, longest_bytes: int, sender: str) -> bool:
        """Whether a sender may reserve so many bytes more."""
        own_bytes = self._reserved_bytes[sender] + more_bytes
        return (
            self.reserved_bytes + more_bytes <= LARGEST_AT_ONCE * longest_bytes
            and own_bytes <= OF_ONE_SENDER * longest_bytes
        )

    def add(self, sender: str, more_bytes: int) -> None:
        """Note how much more a sender has reserved, or less."""
        self._reserved_bytes[sender] += more_bytes
        if not self._reserved_bytes[sender]:
            del self._reserved_bytes[sender]


@dataclass(slots=True)
class Reservation:
    """What one request has reserved of the room; `grow` reports how long its body has become."""

    room: BodyRoom
    longest_bytes: int
    sender: str
    own_bytes: int = 0

    def grow(self, body_bytes: int) -> None:
        """Reserve as much as the body has now; raises TooManyBodies, and then the reservation stays as it was."""
        more_bytes = max(body_bytes - SMALL_BYTES, 0) - self.own_bytes
        if not more_bytes:
            return
        if not self.room.has_room(more_bytes, self.longest_bytes, self.sender):
            raise TooManyBodies
        self.room.add(self.sender, more_bytes)
        self.own_bytes += more_bytes


class FieldProblem(TypedDict):
    """What is wrong with one field, or with one event of a batch."""

    loc: Annotated[
        list[str | int],
        Field(description="its place: body, query, path or header, then names, and the numbers of items, from 0"),
    ]
    msg: Annotated[str, Field(description="what is wrong with it, as text for a person")]
    type: Annotated[str, Field(description="the same as a short code; of a refused event that of its dead letter")]


class RequestRefused(MilepostError):
    """A request does not parse or has values that cannot be; `problems` lists each with its place."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(_describe(problem) for problem in problems))
        self.problems = problems


class BodyRefused(RequestRefused):
    """The body does not parse or has values that cannot be."""

    @classmethod
    def at(cls, loc: list[str | int], message: str, type: str) -> BodyRefused:
        """The refusal for one place in the body, such as the index of an event."""
        return cls([{"loc": ["body", *loc], "msg": message, "type": type}])


class HeaderRefused(RequestRefused):
    """A header does not parse or has a value that cannot be."""

    @classmethod
    def at(cls, name: str, message: str) -> HeaderRefused:
        """The refusal of one header."""
        return cls([{"loc": ["header", name], "msg": message, "type": "value_error"}])


class QueryRefused(RequestRefused):
    """A parameter of the query does not parse or has a value that cannot be."""

    @classmethod
    def at(cls, name: str, message: str, type: str = "value_error") -> QueryRefused:
        """The refusal of one parameter."""
        return cls([{"loc": ["query", name], "msg": message, "type": type}])


class BodyTooLarge(MilepostError):
    """The body is longer than the limit, by its Content-Length or by what has come so far."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body must have at most {limit} bytes")


class BodyTooSlow(MilepostError):
    """The body did not come in time. Without a limit its sender could keep memory and a connection forever."""

    def __init__(self) -> None:
        super().__init__(f"The body did not come within {READ_LONGEST_S} s")


class EncodingRefused(MilepostError):
    """The body is compressed. Nobody knows how long it is unpacked: a few bytes may become gigabytes."""

    def __init__(self, encoding: str) -> None:
        super().__init__(f"Send the body as it is: Content-Encoding {_excerpt(encoding)} is not taken")


class Body(BaseModel):
    """The base of the models of request bodies.

    `second_names` maps the second spelling of a field to its name. `fixed` are names of what cannot be changed.
    `nested` has the models of what is in the fields that are lists of objects.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)
    second_names: ClassVar[Mapping[str, str]] = {}
    fixed: ClassVar[Collection[str]] = ()
    nested: ClassVar[Mapping[str, type[Body]]] = {}

    @classmethod
    def known_names(cls) -> set[str]:
        """The names that its fields have in a body."""
        return {field.alias or name for name, field in cls.model_fields.items()} | set(cls.second_names)


ROOM = BodyRoom()
"""That of this process: its requests share one memory."""


async def _read(request: Request, contexts: Contexts) -> AsyncIterator[bytes]:
    """Read a body that names fields, of at most SMALL_BYTES, whether the size was declared or it comes in chunks.

    The key is checked first, so that nobody without one keeps us waiting. Nothing is read for a request that the
    hosting app has not let in: FastAPI calls this even when the app's own auth does not validate.
    """
    if isinstance(contexts, NoContexts):
        yield b""
        return
    sender = await contexts.admit(None)
    async with read_body(request, min(contexts.max_body_bytes, SMALL_BYTES), sender) as body:
        yield body


RawBody = Annotated[bytes, Depends(_read)]


@asynccontextmanager
async def read_body(request: Request, limit: int, sender: str) -> AsyncIterator[bytes]:
    """The body of a request, of at most `limit` bytes; `sender`'s room is reserved for it while the block runs.

    Raises EncodingRefused and BodyTooLarge (before anything is read, where the headers show it), TooManyBodies and
    BodyTooSlow.
    """
    encodings = ",".join(request.headers.getlist("content-encoding"))
    if not {part.strip().lower() for part in encodings.split(",")} <= {"", "identity"}:
        raise EncodingRefused(encodings)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > len(str(limit)) or int(declared) > limit):
        raise BodyTooLarge(limit)
    with ROOM.reserve(limit, sender) as reservation:
        try:
            with fail_after(READ_LONGEST_S):
                body = await _read_chunks(request, limit, reservation)
        except TimeoutError:
            raise BodyTooSlow from None
        yield body


def parse_provider_body(raw: bytes) -> object:
    """Read the JSON of a provider; numbers keep their digits. Raises BodyRefused, also for too many values.

    Parsed values take many times the bytes of their text, so they are counted before they are parsed. No provider's
    page has as many as are refused here.
    """
    objects = raw.count(b"{")
    if objects > OBJECTS_MOST or objects + raw.count(b",") + raw.count(b"[") > VALUES_MOST:
        message = f"The body has more than {OBJECTS_MOST} objects or {VALUES_MOST} values: send it in parts"
        raise BodyRefused.at([], message, "too_many_values")
    if not raw.strip():
        raise BodyRefused.at([], "The body is missing", "missing")
    try:
        return parse_json(raw)
    except MalformedEvent as error:
        raise BodyRefused.at([], f"The body is not JSON as we take it: {error.message}", "not_json") from None


def parse_body(model: type[Model], raw: bytes) -> Model:
    """Read a JSON object as `model`; numbers keep their digits. Raises BodyRefused with every problem."""
    value = _parse_json(raw)
    if not isinstance(value, dict):
        raise BodyRefused.at([], "The body must be a JSON object", "not_an_object")
    problems = _unknown_fields(model, value)
    try:
        parsed = model.model_validate(_use_first_names(model, value))
    except ValidationError as error:
        raise BodyRefused([*problems, *[field_problem(found, "body") for found in _errors(error)]]) from None
    if problems:
        raise BodyRefused(problems)
    return parsed


def field_problem(found: Any, *place: str) -> FieldProblem:
    """A problem that pydantic found, without the value, which may be secret or impossible in JSON."""
    loc = [*place, *found["loc"]]
    return {"loc": loc, "msg": found["msg"].removeprefix("Value error, "), "type": found["type"]}


def document_body(model: type[Body]) -> dict[str, Any]:
    """The OpenAPI text of a request body with its example; FastAPI has none, since we read bodies ourselves.

    It needs nothing else of the text, so that it is right in any app. In our own, `api.openapi` has a name for it.
    """
    schema = model.model_json_schema(by_alias=True)
    schema = _in_place(schema, schema.pop("$defs", {}))
    content = {"example": schema.pop("example"), "schema": schema}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def _in_place(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """The schema with the definitions in the place of what refers to them."""
    if isinstance(schema, list):
        return [_in_place(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {key: _in_place(value, definitions) for key, value in schema.items() if key != "$ref"}
    if "$ref" not in schema:
        return copied
    return {**_in_place(definitions[schema["$ref"].rpartition("/")[2]], definitions), **copied}


async def _read_chunks(request: Request, limit: int, reservation: Reservation) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > limit:
            raise BodyTooLarge(limit)
        reservation.grow(len(body) + len(chunk))
        body += chunk
    return bytes(body)


def _use_first_names(model: type[Body], value: dict[str, object]) -> dict[str, object]:
    """The object with each field under its first name; raises BodyRefused where two spellings differ."""
    for second, first in model.second_names.items():
        if second in value:
            given = value.pop(second)
            if value.setdefault(first, given) != given:
                raise BodyRefused.at([second], f"differs from {first}: give one of the two", "value_error")
    return value


def _unknown_fields(model: type[Body], value: Mapping[str, object]) -> list[FieldProblem]:
    problems = [_not_to_change(name) for name in value if name in model.fixed]
    for name, message in unknown_names(value.keys() - set(model.fixed), model.known_names()):
        problems.append({"loc": ["body", name], "msg": message, "type": "unknown_field"})
    for name, inner in model.nested.items():
        items = value.get(name)
        for number, item in enumerate(items if isinstance(items, list) else ()):
            for field, message in unknown_names(item, inner.known_names()) if isinstance(item, dict) else ():
                problems.append({"loc": ["body", name, number, field], "msg": message, "type": "unknown_field"})
    return problems


def _not_to_change(name: str) -> FieldProblem:
    return {"loc": ["body", name], "msg": "stays what it was at creation", "type": "fixed_field"}


def _describe(problem: FieldProblem) -> str:
    """The problem in words: `target_amount: must be ...`, or what is wrong with the whole.

    Only a batch of events is a list itself, so a number that comes first is that of an event: `event 2: ...`.
    """
    _, *place = problem["loc"]
    names = [f"event {part}" if isinstance(part, int) and not at else str(part) for at, part in enumerate(place)]
    return f"{'.'.join(names)}: {problem['msg']}" if names else problem["msg"]


def _excerpt(header: str) -> str:
    """A header's value, cut and quoted for an answer."""
    return repr(header[:60])


def _errors(error: ValidationError) -> Sequence[Any]:
    return error.errors(include_url=False, include_context=False, include_input=False)


def _parse_json(raw: bytes) -> object:
    if not raw.strip():
        raise BodyRefused.at([], "The body is missing", "missing")
    try:
        text = raw.decode()
        if begins_with_mark(text):
            raise BodyRefused.at([], "The body is not JSON: it begins with a byte order mark", "not_json")
        return simplejson.loads(
            text, object_pairs_hook=one_of_each, parse_float=_decimal, parse_int=_integer, parse_constant=Decimal
        )
    except UnicodeDecodeError as error:
        raise BodyRefused.at([], f"The body is not UTF-8 (byte {error.start})", "not_utf8") from None
    except simplejson.JSONDecodeError as error:
        raise BodyRefused.at([], f"The body is not JSON: {error}", "not_json") from None
    except DuplicateKey as error:
        raise BodyRefused.at([], f"In the body {error}", "not_json") from None
    except RecursionError:
        raise BodyRefused.at([], "The body is nested too deeply", "not_json") from None


def _decimal(text: str) -> Decimal:
    """NaN and the infinities pass here: the check of the field refuses them and names the field."""
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return Decimal("Infinity")


def _integer(text: str) -> int | Decimal:
    """A long number becomes a Decimal: int() would refuse it, and the check of the field does so in better words."""
    return int(text) if len(text) <= _LONGEST_INTEGER else Decimal(text)
