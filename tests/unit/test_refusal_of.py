"""Which answer an error gets, without a request or an app."""

from __future__ import annotations

from decimal import Decimal

import pytest
from psycopg import IntegrityError, OperationalError
from starlette.exceptions import HTTPException

from api.auth import ScopeMissing, Unauthenticated
from api.bodies import BodyRefused, BodyTooLarge
from api.context import DatabaseAway, as_database_away
from api.errors import refusal_of
from core.errors import (
    AllocationExceeded,
    GoalIsFinal,
    GoalMoved,
    InvalidField,
    KeyReused,
    NotFound,
    SettingsError,
    StreamUnavailable,
)
from core.services.keys import Scope


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Unauthenticated(), 401, "A valid API key is needed: Authorization: Bearer KEY"),
        (ScopeMissing(Scope.ADMIN), 403, "This key lacks the scope admin"),
        (NotFound("Goal", "goal_1"), 404, "Goal not found"),
        (GoalIsFinal("completed"), 409, "The goal is completed, which is final; reopen it first"),
        (GoalMoved("g", 7), 412, "The goal has changed since it was read: it is at version 7 now; read it again"),
        (BodyTooLarge(5), 413, "The body must have at most 5 bytes"),
        (
            StreamUnavailable("the stream is full"),
            503,
            "The event stream is not available: the stream is full; try again",
        ),
        (DatabaseAway(), 503, "The database is not available; try again"),
    ],
)
def test_a_refusal_has_its_status_and_a_text(error: Exception, status: int, detail: str) -> None:
    """The body is the text alone, whatever the method."""
    for method in ("GET", "POST"):
        refusal = refusal_of(error, method=method)
        assert refusal is not None
        assert (refusal.status, refusal.problem) == (status, {"detail": detail})


def test_an_exceeded_allocation_says_what_is_left() -> None:
    """What the goal's other accounts have, and what they leave, in percent."""
    refusal = refusal_of(AllocationExceeded(601_000), method="POST")
    assert refusal is not None
    assert refusal.status == 400
    assert refusal.problem == {
        "detail": "Total allocation would exceed 100%",
        "allocated_percent": Decimal("60.1"),
        "left_percent": Decimal("39.9"),
    }


@pytest.mark.parametrize(
    ("error", "method", "loc"),
    [
        (InvalidField("limit", "is odd"), "GET", ["query", "limit"]),
        (InvalidField("name", "is odd"), "PATCH", ["body", "name"]),
        (KeyReused(), "POST", ["header", "Idempotency-Key"]),
        (BodyRefused.at(["name"], "is odd", "value_error"), "POST", ["body", "name"]),
    ],
)
def test_a_422_names_the_place(error: Exception, method: str, loc: list[str]) -> None:
    """A field is looked for in the query of a GET, and in the body of all else."""
    refusal = refusal_of(error, method=method)
    assert refusal is not None
    assert refusal.status == 422
    assert [problem["loc"] for problem in refusal.problem["errors"]] == [loc]
    assert loc[-1] in refusal.problem["detail"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_parameter_of_the_route_is_where_the_route_has_it(method: str) -> None:
    """Whatever the method; what is inside another field has the whole way to it."""
    places = {"account_id": "path", "since": "query"}
    for field, place in places.items():
        refusal = refusal_of(InvalidField(field, "is odd"), method=method, places=places)
        assert refusal is not None
        assert refusal.problem["errors"][0]["loc"] == [place, field]
    refusal = refusal_of(InvalidField("amount", "is odd", inside=("milestones", 0)), method="POST", places=places)
    assert refusal is not None
    assert refusal.problem["errors"][0]["loc"] == ["body", "milestones", 0, "amount"]
    assert refusal.problem["detail"] == "milestones.0.amount: is odd"


def test_some_refusals_have_headers() -> None:
    """401 says how to ask, 412 has the present ETag, 503 says when to try again."""
    errors = (Unauthenticated(), GoalMoved("g", 7), DatabaseAway(), NotFound("Goal", "g"))
    found = [refusal.headers for error in errors if (refusal := refusal_of(error, method="PATCH"))]
    assert found == [{"WWW-Authenticate": "Bearer"}, {"ETag": '"g.7"'}, {"Retry-After": "2"}, {}]


@pytest.mark.parametrize("error", [ValueError("x"), HTTPException(404), SettingsError("x"), OperationalError()])
def test_other_errors_are_not_ours(error: Exception) -> None:
    """What no caller can mend, what others raise, and trouble of a database that may be another's, get no answer."""
    assert refusal_of(error, method="GET") is None


def test_what_a_database_says_is_for_the_log_alone() -> None:
    """Trouble in a door is DatabaseAway: its first line is the cause, and none of it is in the answer."""
    with pytest.raises(DatabaseAway) as caught, as_database_away():
        raise OperationalError("no route to db-7\nsecond line")
    refusal = refusal_of(caught.value, method="GET")
    assert refusal is not None
    assert refusal.cause == "OperationalError: no route to db-7"
    assert refusal.problem == {"detail": "The database is not available; try again"}


def test_a_value_that_the_database_refuses_is_no_trouble_of_its_own() -> None:
    """It leaves the door as it is, to be a 500: a fault of ours."""
    with pytest.raises(IntegrityError), as_database_away():
        raise IntegrityError("not unique")
