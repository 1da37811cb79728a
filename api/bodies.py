"""Bodies of requests: read within bounds and parsed exactly, and the refusals of those that are not as they should be.

A process holds so many bytes of bodies at once: many that are allowed one by one are too much together. What is small
is not counted: whoever holds all the room with large bodies keeps out large ones, never the others.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, TypeVar

from anyio import fail_after
from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import TypedDict

from api.context import Contexts, NoContexts
from core.errors import MalformedEvent, MilepostError
from core.events.envelope import DuplicateKey, one_of_each, parse_json

SMALL_BYTES = 65_536
LARGEST_AT_ONCE = 8
# Some ten times what the longest pages of the providers have.
OBJECTS_MOST, VALUES_MOST = 100_000, 500_000
READ_LONGEST_S = 60
_LONGEST_INTEGER = 40
Model = TypeVar("Model", bound="Body")


class TooManyBodies(MilepostError):
    """Bodies that others send fill the room; the same body may be taken a moment later."""

    def __init__(self) -> None:
        super().__init__("Too many large bodies at once")


class BodyRoom:
    """The room of a process. Only its event loop comes here, so there is nothing to lock."""

    def __init__(self) -> None:
        self.taken = 0

    @contextmanager
    def hold(self, longest: int) -> Iterator[Held]:
        """Hold room while the block runs; all together hold some bodies of the longest that is allowed."""
        held = Held(self, LARGEST_AT_ONCE * longest)
        try:
            yield held
        finally:
            self.taken -= held.counted


@dataclass(slots=True)
class Held:
    """What one request holds of the room; to be told how long its body has become."""

    room: BodyRoom
    most: int
    counted: int = 0

    def grow(self, body_bytes: int) -> None:
        """Hold as much as the body has now; raises TooManyBodies, and then holds what it held."""
        wanted = max(body_bytes - SMALL_BYTES, 0)
        if self.room.taken - self.counted + wanted > self.most:
            raise TooManyBodies
        self.room.taken += wanted - self.counted
        self.counted = wanted


class FieldProblem(TypedDict):
    """What is wrong with one field, or with one event of a batch."""

    loc: list[str | int]
    msg: str
    type: str


class RequestRefused(MilepostError):
    """A request that does not parse or does not fit; `problems` names every place."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(_described(problem) for problem in problems))
        self.problems = problems


class BodyRefused(RequestRefused):
    """The body does not parse or does not fit."""

    @classmethod
    def at(cls, loc: list[str | int], message: str, type: str) -> BodyRefused:
        """The refusal for one place in the body, such as the index of an event."""
        return cls([{"loc": ["body", *loc], "msg": message, "type": type}])


class HeaderRefused(RequestRefused):
    """A header does not parse or does not fit."""

    @classmethod
    def at(cls, name: str, message: str) -> HeaderRefused:
        """The refusal of one header."""
        return cls([{"loc": ["header", name], "msg": message, "type": "value_error"}])


class QueryRefused(RequestRefused):
    """A parameter of the query does not parse or does not fit."""

    @classmethod
    def at(cls, name: str, message: str, type: str = "value_error") -> QueryRefused:
        """The refusal of one parameter."""
        return cls([{"loc": ["query", name], "msg": message, "type": type}])


class BodyTooLarge(MilepostError):
    """The body goes beyond the limit, by what it declares or by what came."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body must have at most {limit} bytes")


class BodyTooSlow(MilepostError):
    """The body did not come in time; its sender would hold room and a connection for as long as it likes."""

    def __init__(self) -> None:
        super().__init__(f"The body did not come within {READ_LONGEST_S} s")


class EncodingRefused(MilepostError):
    """The body is compressed. What it would become is anybody's guess, and a few bytes may become gigabytes."""

    def __init__(self, encoding: str) -> None:
        super().__init__(f"Send the body as it is: Content-Encoding {_shown(encoding)} is not taken")


class Body(BaseModel):
    """What the models of all request bodies share. `second_names`: what a field may be called too, and its name."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    second_names: ClassVar[Mapping[str, str]] = {}


ROOM = BodyRoom()
"""The process's own, as its memory is."""


async def _read(request: Request, contexts: Contexts) -> AsyncIterator[bytes]:
    """Read the body; stops at the door's limit, whether the size was declared or the body comes in chunks.

    Nothing is read at a door that is shut: FastAPI goes on to here when the app's own auth does not validate.
    """
    if isinstance(contexts, NoContexts):
        yield b""
        return
    async with read_body(request, contexts.max_body_bytes) as body:
        yield body


RawBody = Annotated[bytes, Depends(_read)]


@asynccontextmanager
async def read_body(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body of a request, of at most `limit` bytes; its room is held while the block runs.

    Raises EncodingRefused and BodyTooLarge, where it can before anything is read, TooManyBodies and BodyTooSlow.
    """
    encodings = ",".join(request.headers.getlist("content-encoding"))
    if not {part.strip().lower() for part in encodings.split(",")} <= {"", "identity"}:
        raise EncodingRefused(encodings)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > len(str(limit)) or int(declared) > limit):
        raise BodyTooLarge(limit)
    with ROOM.hold(limit) as held:
        try:
            with fail_after(READ_LONGEST_S):
                body = await _read_chunks(request, limit, held)
        except TimeoutError:
            raise BodyTooSlow from None
        yield body


def parse_provider_body(raw: bytes) -> object:
    """Read the JSON of a provider; numbers keep their digits. Raises BodyRefused, also for more values than any has.

    The values take many times the bytes that they are written with, so they are counted before they are made.
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
    try:
        return model.model_validate(_by_first_names(model, value))
    except ValidationError as error:
        raise BodyRefused([field_problem(found, "body") for found in _errors(error)]) from None


def field_problem(found: Any, *place: str) -> FieldProblem:
    """A problem that pydantic found, without the value: that may be secret, or not fit for JSON."""
    loc = [*place, *found["loc"]]
    return {"loc": loc, "msg": found["msg"].removeprefix("Value error, "), "type": found["type"]}


def takes(model: type[Body]) -> dict[str, Any]:
    """The OpenAPI text of a request body with its example, since we read bodies ourselves."""
    schema = model.model_json_schema(by_alias=True)
    content = {"example": schema.pop("example"), "schema": schema}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


async def _read_chunks(request: Request, limit: int, held: Held) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > limit:
            raise BodyTooLarge(limit)
        held.grow(len(body) + len(chunk))
        body += chunk
    return bytes(body)


def _by_first_names(model: type[Body], value: dict[str, object]) -> dict[str, object]:
    """The object with each field under its own name; raises BodyRefused where two spellings say two things."""
    for second, first in model.second_names.items():
        if second in value:
            given = value.pop(second)
            if value.setdefault(first, given) != given:
                raise BodyRefused.at([second], f"differs from {first}: give one of the two", "value_error")
    return value


def _described(problem: FieldProblem) -> str:
    """The problem in words: `target_amount: must be ...`, `event 2: ...`, or what is wrong with the whole."""
    _, *place = problem["loc"]
    names = [f"event {part}" if isinstance(part, int) else part for part in place]
    return f"{'.'.join(names)}: {problem['msg']}" if names else problem["msg"]


def _shown(header: str) -> str:
    """A header's value, fit for an answer."""
    return repr(header[:60])


def _errors(error: ValidationError) -> Sequence[Any]:
    return error.errors(include_url=False, include_context=False, include_input=False)


def _parse_json(raw: bytes) -> object:
    if not raw.strip():
        raise BodyRefused.at([], "The body is missing", "missing")
    try:
        return json.loads(
            raw.decode(),
            object_pairs_hook=one_of_each,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=Decimal,
        )
    except UnicodeDecodeError as error:
        raise BodyRefused.at([], f"The body is not UTF-8 (byte {error.start})", "not_utf8") from None
    except json.JSONDecodeError as error:
        message = f"The body is not JSON (character {error.pos}: {error.msg})"
        raise BodyRefused.at([], message, "not_json") from None
    except DuplicateKey as error:
        raise BodyRefused.at([], f"In the body {error}", "not_json") from None
    except RecursionError:
        raise BodyRefused.at([], "The body is nested too deeply", "not_json") from None


def _decimal(text: str) -> Decimal:
    """NaN, like the infinities, is let through: the check of the field refuses it by name."""
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return Decimal("Infinity")


def _integer(text: str) -> int | Decimal:
    """int() refuses thousands of digits with an error of its own; the check of the field says it better."""
    return int(text) if len(text) <= _LONGEST_INTEGER else Decimal(text)
