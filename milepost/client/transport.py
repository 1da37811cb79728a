"""Requests and answers in REST terms, what carries them, and how often a request is sent."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import simplejson
import tenacity

from milepost.client.errors import MilepostError, ServerFault, refusal

_WITHOUT_KEY = frozenset({"GET", "PUT"})
_LONGEST_PAUSE_S = 5.0
_LONGEST_RETRY_AFTER_S = 30.0


class Id(str):
    """An id in a path; `what` is what it names, in the words of a refusal: Goal."""

    what: str

    def __new__(cls, what: str, id: str) -> Self:
        """The id of a goal: Id("Goal", "goal_1")."""
        self = super().__new__(cls, id)
        self.what = what
        return self


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One operation as a request. `path` has the segments of its address, such as ("goals", "goal_1", "progress")."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | bytes | None = None
    content_type: str = "application/json"
    idempotency_key: str | None = None

    @property
    def takes_key(self) -> bool:
        """Whether it may have a key: it changes something, and sent again it could change it twice."""
        return self.method not in _WITHOUT_KEY

    @property
    def address(self) -> str:
        """The path: /goals/goal_1/funding/savings%2F1."""
        return "".join(f"/{quote(segment, safe='')}" for segment in self.path)

    @property
    def raw_body(self) -> bytes:
        """The body as it is sent: JSON in which a Decimal is a number with all its digits; empty if there is none."""
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else encode(self.body)

    @property
    def ids(self) -> Mapping[str, str]:
        """The ids in its path by what they name: {"Goal": "goal_1"}."""
        return {segment.what: segment for segment in self.path if isinstance(segment, Id)}

    def on_page(self, query: Mapping[str, str]) -> ApiRequest:
        """The same request for another page of its answer."""
        return replace(self, query=query)


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """The body of an answer of success, and the query of the next page, if there is one."""

    body: Any
    following: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One HTTP request. `target` is its path and query below the address of the server; `headers` are its own."""

    method: str
    target: str
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came for a message, whatever its status. The names of `headers` are in small letters."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class AsyncSender(Protocol):
    """Carries messages to a server or to an application in this process."""

    async def send(self, message: Message) -> Answer:
        """The answer, whatever its status; raises the errors of milepost.client.errors if there is none."""
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...


class SyncSender(Protocol):
    """As AsyncSender, but it blocks."""

    def send(self, message: Message) -> Answer:
        """The answer, whatever its status; raises the errors of milepost.client.errors if there is none."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is sent, for how long in all, and how long the first pause is; each pause doubles.

    `heeds_server`: a pause is as long as the server says instead, if it does.
    """

    attempts: int = 6
    total_s: float = 45.0
    first_pause_s: float = 0.2
    heeds_server: bool = True

    @property
    def stop(self) -> tenacity.stop.stop_base:
        """The rule that ends the tries: enough of them, or no time for another."""
        return tenacity.stop_after_attempt(self.attempts) | tenacity.stop_before_delay(self.total_s)

    def pause_s(self, state: tenacity.RetryCallState) -> float:
        """How long to wait after a try: as the server said, else longer each time, and random to spread the clients."""
        error = state.outcome.exception() if state.outcome is not None else None
        if self.heeds_server and isinstance(error, MilepostError) and error.retry_after_s is not None:
            return error.retry_after_s
        pause_s: float = self.first_pause_s * 2 ** (state.attempt_number - 1)
        return min(pause_s, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)


def may_try_again(error: BaseException) -> bool:
    """Whether the same request may succeed at another try, before anybody has waited too long for it."""
    if not isinstance(error, MilepostError) or not error.may_pass:
        return False
    return error.retry_after_s is None or error.retry_after_s <= _LONGEST_RETRY_AFTER_S


def response_of(answer: Answer) -> ApiResponse:
    """The response in an answer of success; raises the error of any other answer."""
    is_success = 200 <= answer.status < 300
    body = _parse(answer.content, is_success=is_success)
    if is_success:
        following = _next_page(answer.headers.get("link", ""))
        query = None if following is None else dict(parse_qsl(urlsplit(following).query, keep_blank_values=True))
        return ApiResponse(body, query)
    if answer.status < 400:
        raise ServerFault(f"Milepost answered {answer.status}: is base_url its own address?")
    raise refusal(answer.status, body, answer.headers.get("retry-after"))


def encode(body: object) -> bytes:
    """A body as JSON; Decimals become numbers with all their digits."""
    return simplejson.dumps(body, use_decimal=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def decode(raw: bytes) -> Any:
    """Parsed JSON; numbers with a point become Decimals. Raises ValueError."""
    return simplejson.loads(raw, parse_float=Decimal)


def target_of(request: ApiRequest) -> str:
    """The path and the query of a request."""
    return f"{request.address}?{urlencode(request.query)}" if request.query else request.address


def _next_page(link: str) -> str | None:
    """The address in a Link header of the form `<address>; rel="next"`, the only one that Milepost sends."""
    address, separator, relation = link.partition(">;")
    return address.removeprefix("<") if separator and relation.strip() == 'rel="next"' else None


def _parse(content: bytes, *, is_success: bool) -> Any:
    if not content:
        return None
    try:
        return decode(content)
    except ValueError:
        if is_success:
            raise ServerFault("Milepost answered with what is no JSON: is base_url its own address?") from None
        return None
