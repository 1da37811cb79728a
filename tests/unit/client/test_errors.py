"""What an answer of status 400 or above becomes: a ValueError, a KeyError, or one that says that Milepost is away."""

from __future__ import annotations

import pickle

import httpx2
import pytest
import tenacity

from milepost.client import errors
from milepost.client.arguments import GOALS, account_path, goal_path, milestone_path
from milepost.client.errors import Closed, InvalidField, MilepostError, NotFound, Unavailable, refusal
from milepost.client.http_connections import server_at, unreachable
from milepost.client.models import Goal
from milepost.client.transport import Answer, ApiRequest, Patience, may_try_again, response_of

SERVER = server_at("http://milepost.test/", "/goals", "mp_secret", {"X-Of-Mine": "hidden"}, 1.0)


def answer(status: int, content: bytes = b"", **headers: str) -> Answer:
    """An answer, with the underscores of header names for dashes."""
    return Answer(status, {name.replace("_", "-").lower(): value for name, value in headers.items()}, content)


@pytest.mark.parametrize(
    ("status", "kind", "builtin"),
    [
        (400, errors.AllocationExceeded, ValueError),
        (401, errors.NotAllowed, PermissionError),
        (403, errors.NotAllowed, PermissionError),
        (404, errors.NotFound, KeyError),
        (409, errors.Conflict, ValueError),
        (412, errors.GoalMoved, ValueError),
        (413, errors.InvalidField, ValueError),
        (422, errors.InvalidField, ValueError),
        (429, errors.Unavailable, ConnectionError),
        (500, errors.ServerFault, Exception),
        (502, errors.Unavailable, ConnectionError),
        (503, errors.Unavailable, ConnectionError),
        (418, errors.ServerFault, Exception),
    ],
)
def test_each_refusal_has_its_kind(status: int, kind: type[MilepostError], builtin: type[Exception]) -> None:
    """The kind is also the builtin exception that callers catch, and the text is the answer's detail."""
    error = refusal(status, {"detail": "Total allocation would exceed 100%"})
    assert type(error) is kind
    assert isinstance(error, builtin)
    assert isinstance(error, MilepostError)
    assert str(error) == "Total allocation would exceed 100%"


def test_an_invalid_field_names_the_first_one() -> None:
    """`field` is where the first problem is."""
    problems = [{"loc": ["body", "target_amount"], "msg": "must be ...", "type": "value_error"}]
    error = refusal(422, {"detail": "target_amount: must be ...", "errors": problems})
    assert isinstance(error, InvalidField)
    assert error.field == "target_amount"
    for odd in (None, [], "text", {"detail": [1]}, {"errors": [{"loc": []}]}, {"errors": [{"loc": ["body"]}]}):
        found = refusal(422, odd)
        assert isinstance(found, InvalidField)
        assert (str(found), found.field) == ("Milepost answered 422", None)


def test_a_body_that_is_too_long_is_told_from_other_refusals() -> None:
    """So that it can be divided, and sent in parts."""
    for status, is_too_long in ((413, True), (422, False)):
        error = refusal(status, {"detail": "no"})
        assert isinstance(error, InvalidField)
        assert error.is_too_long is is_too_long


@pytest.mark.parametrize(
    ("path", "text", "id"),
    [
        (goal_path("goal_1"), "Goal not found", "goal_1"),
        (goal_path("goal_1", "progress"), "Goal not found", "goal_1"),
        (milestone_path("goal_1", "m"), "Goal not found", "goal_1"),
        (milestone_path("goal_1", "m"), "Milestone not found", "m"),
        (account_path("goal_1", "goals"), "Account not found", "goals"),
        (goal_path("goal_1"), "Not Found", None),
        (GOALS, "there is no tenant acme", None),
        (("relinks",), "Old account not found", None),
    ],
)
def test_what_is_not_found_has_its_id(path: tuple[str, ...], text: str, id: str | None) -> None:
    """That of the request's path which the text is about; the text stays as it is."""
    error = refusal(404, {"detail": text})
    assert isinstance(error, NotFound)
    assert errors.with_id(error, ApiRequest("GET", path).ids) is error
    assert (str(error), error.id) == (text, id)
    assert type(error.id) in (str, type(None))


def test_a_closed_manager_is_an_error_of_ours() -> None:
    """It is the RuntimeError that it was, and is not tried again."""
    for error in (Closed(), pickle.loads(pickle.dumps(Closed()))):
        assert isinstance(error, MilepostError)
        assert isinstance(error, RuntimeError)
        assert (str(error), may_try_again(error)) == ("this manager is closed", False)


def test_a_request_has_a_key_if_it_could_be_carried_out_twice() -> None:
    """A GET changes nothing, and a PUT sets the same again."""
    with_key = {method for method in ("GET", "PUT", "POST", "PATCH", "DELETE") if ApiRequest(method, ()).takes_key}
    assert with_key == {"POST", "PATCH", "DELETE"}


def test_a_good_answer_is_its_body_with_exact_numbers() -> None:
    """Numbers keep their digits, nothing is None, and the next page is the query of its address."""
    found = response_of(answer(200, b'[{"amount": 10000.10}]', Link='</goals?limit=2&cursor=a.b%3D>; rel="next"'))
    assert str(found.body[0]["amount"]) == "10000.10"
    assert found.following == {"limit": "2", "cursor": "a.b="}
    assert (response_of(answer(204)).body, response_of(answer(200, b"null")).body) == (None, None)


@pytest.mark.parametrize("status", [200, 301, 404, 502])
def test_what_is_not_milepost_is_told(status: int) -> None:
    """An answer that is no JSON, or leads elsewhere, becomes an error of ours, never one of a parser."""
    with pytest.raises(MilepostError, match=r"Milepost answered"):
        response_of(answer(status, b"<html>"))


@pytest.mark.parametrize(
    ("status", "retry_after", "again", "pause_s"),
    [
        (503, None, True, None),
        (503, "2", True, 2.0),
        (503, "30", True, 30.0),
        (429, "31", False, 31.0),
        (503, "Fri, 31 Dec 1999 23:59:59 GMT", True, None),
        (429, None, True, None),
        (408, None, True, None),
        (409, "1", True, 1.0),
        (409, None, False, None),
        (422, None, False, None),
        (404, None, False, None),
        (500, None, False, None),
    ],
)
def test_when_another_try_may_help(status: int, retry_after: str | None, again: bool, pause_s: float | None) -> None:
    """After 429 and what passes of 5xx, and where Retry-After says when; not if it says more than half a minute."""
    headers = {} if retry_after is None else {"Retry_After": retry_after}
    with pytest.raises(MilepostError) as refused:
        response_of(answer(status, b'{"detail": "no"}', **headers))
    assert may_try_again(refused.value) is again
    found = Patience(6, 45.0, 0.2).pause_s(after(refused.value, 1))
    assert found == pause_s if pause_s is not None else 0.1 <= found <= 0.2


def test_pauses_grow() -> None:
    """Each may be twice as long as the one before, up to five seconds, and no answer at all is tried again."""
    patience = Patience(20, 45.0, 0.2)
    for tries in range(1, 10):
        most_s = min(0.1 * 2**tries, 5.0)
        slow = unreachable(httpx2.ReadTimeout("slow"), SERVER)
        assert most_s / 2 <= patience.pause_s(after(slow, tries)) <= most_s
    assert may_try_again(unreachable(httpx2.ConnectError("refused"), SERVER))
    assert not may_try_again(unreachable(httpx2.LocalProtocolError("bad header"), SERVER))
    assert not may_try_again(RuntimeError("ours"))


def after(error: Exception, attempt: int) -> tenacity.RetryCallState:
    """What is known after so many tries, the last of which met an error."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = attempt
    state.outcome = tenacity.Future.construct(attempt, error, has_exception=True)
    return state


def test_an_outcome_that_is_not_known_is_told() -> None:
    """The error has the key under which the call can be made again, and neither it nor the server tells the API key."""
    error = errors.with_key(unreachable(httpx2.ReadTimeout("timed out"), SERVER), "key-1")
    assert (type(error), error.idempotency_key) == (Unavailable, "key-1")
    assert "http://milepost.test " in str(error)
    assert "may have been done" in str(error)
    assert "may have" not in str(errors.with_key(unreachable(httpx2.ReadTimeout(""), SERVER), None))
    refused = errors.with_key(InvalidField.of("name", "must not be blank"), "key-1")
    assert (str(refused), refused.idempotency_key) == ("name: must not be blank", "key-1")
    assert not {"mp_secret", "hidden"} & set(repr(SERVER).replace("'", " ").split())


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b'{"a": 1}', b'{"id": "goal_1", "target_amount": "x"}'])
def test_a_body_that_is_no_goal_is_a_fault(body: bytes) -> None:
    """Whatever answers in the place of Milepost, no error of a parser comes out."""
    with pytest.raises(errors.ServerFault, match=r"^Milepost answered with "):
        Goal.of(response_of(answer(200, body)).body)
    with pytest.raises(errors.ServerFault, match=r"^Milepost answered with what is no list"):
        Goal.all_of(response_of(answer(200, b'{"a": 1}')).body)


@pytest.mark.parametrize(
    ("base_url", "prefix", "key", "field"),
    [
        ("milepost.test", "/goals", None, "base_url"),
        ("ftp://milepost.test", "/goals", None, "base_url"),
        ("http://", "/goals", None, "base_url"),
        ("http://milepost.test?x=1", "/goals", None, "base_url"),
        ("http://milepost.test:port", "/goals", None, "base_url"),
        ("http://[::1", "/goals", None, "base_url"),
        ("http://milepost.test\n", "/goals", None, "base_url"),
        ("http://user:secret@milepost.test", "/goals", None, "base_url"),
        ("http://milepost.test", "goals", None, "prefix"),
        ("http://milepost.test", "/goals", "", "api_key"),
        ("http://milepost.test", "/goals", "two words", "api_key"),
        ("http://milepost.test", "/goals", "line\r\nbreak", "api_key"),
    ],
)
def test_an_address_that_can_be_none_is_refused(base_url: str, prefix: str, key: str | None, field: str) -> None:
    """A client is refused at once, by the name of what is wrong, and no key is shown."""
    with pytest.raises(InvalidField) as refused:
        server_at(base_url, prefix, key, {}, 1.0)
    assert refused.value.field == field
    assert "secret" not in str(refused.value)
    with pytest.raises(InvalidField, match=r"^headers: X-Mine must be printable ASCII$"):
        server_at("http://milepost.test", "/goals", None, {"X-Mine": "a\r\nb"}, 1.0)
