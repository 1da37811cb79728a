"""What may be passed to the Python face: made into the form of the REST interface, or refused by the name it had."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from milepost.client import arguments
from milepost.client.errors import InvalidField, NotFound
from milepost.client.models import GoalStatus, GoalType
from milepost.client.records import Exact

CET = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (10000.00, Decimal(10000)),
        (0.1 + 0.2, Decimal("0.3")),
        (sum([0.1] * 300), Decimal("30.000000")),
        (33.333333333333336, Decimal("33.333333")),
        (10.005, Decimal("10.005")),
        (10, Decimal(10)),
        pytest.param(10**5000, Decimal(10**5000), id="a huge one"),
        (Decimal("1.50"), Decimal("1.50")),
        (Exact("1.50"), Decimal("1.50")),
        ("1.50", "1.50"),
        ("twelve", "twelve"),
    ],
)
def test_numbers_are_taken_exactly(given: object, taken: object) -> None:
    """Floats by what they stand for, integers and decimals as they are, text for the server to read."""
    found = arguments.number("amount", given)
    assert found == taken
    assert type(found) is type(taken)


@pytest.mark.parametrize(
    "given", [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")]
)
def test_numbers_that_are_not_finite_are_refused(given: object) -> None:
    """NaN and the infinities are refused by the name of the argument."""
    with pytest.raises(ValueError, match=r"^amount: must be a finite number$"):
        arguments.number("amount", given)


@pytest.mark.parametrize("given", [True, None, [], b"1", object(), Fraction(1, 3), 1j])
def test_what_is_no_number_is_refused(given: object) -> None:
    """Other kinds are refused by the name of the argument, a bool among them."""
    with pytest.raises(ValueError, match=r"^amount: must be a number or a decimal string$"):
        arguments.number("amount", given)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (None, None),
        (datetime(2026, 11, 9), "2026-11-09T00:00:00"),  # noqa: DTZ001
        (datetime(2026, 11, 9, 1, tzinfo=CET), "2026-11-09T00:00:00Z"),
        (datetime(2026, 11, 9, 0, 0, 0, 5, tzinfo=UTC), "2026-11-09T00:00:00.000005Z"),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
        (date(2026, 11, 9), "2026-11-09"),
        ("2026-11-09T00:00:00+01:00", "2026-11-09T00:00:00+01:00"),
    ],
)
def test_moments_go_as_utc_or_without_a_time_zone(given: object, taken: object) -> None:
    """An aware datetime is turned to UTC; a naive one, a date and text go as they are."""
    assert arguments.moment("deadline", given) == taken


@pytest.mark.parametrize("given", [datetime.min.replace(tzinfo=CET), 20261109, timedelta(days=1), b"2026-11-09"])
def test_what_is_no_moment_is_refused(given: object) -> None:
    """Other kinds, and moments before the first year of UTC, are refused by name."""
    with pytest.raises(ValueError, match=r"^deadline: "):
        arguments.moment("deadline", given)


def test_choices_are_members_or_their_text() -> None:
    """Both are taken; anything else is refused with the list."""
    assert arguments.choice("type", GoalType, GoalType.DEBT) == arguments.choice("type", GoalType, "debt") == "debt"
    for wrong in ("Debt", "", None, 7, GoalStatus.ACTIVE):
        with pytest.raises(ValueError, match=r"^type: must be one of savings, debt, investment, net_worth, "):
            arguments.choice("type", GoalType, wrong)


def test_two_spellings_are_one_argument() -> None:
    """Either may be given, or both with one meaning; two meanings are refused, naming the second."""
    assert arguments.one_of("type", "debt", "goal_type", None) == "debt"
    assert arguments.one_of("type", None, "goal_type", "debt") == "debt"
    assert arguments.one_of("type", GoalType.DEBT, "goal_type", "debt") == "debt"
    assert arguments.one_of("type", None, "goal_type", None) is None
    with pytest.raises(ValueError, match=r"^goal_type: is another spelling of type, which says something else$"):
        arguments.one_of("type", "debt", "goal_type", "savings")


@pytest.mark.parametrize("goal_id", [None, 7, "", ".", "..", "goal_1/..", "a b", "goal_\0", "é", "g" * 201, b"goal_1"])
def test_what_can_be_no_goal_is_not_there(goal_id: Any) -> None:
    """A goal id that no goal can have never becomes part of an address."""
    with pytest.raises(KeyError, match="Goal not found"):
        arguments.goal_path(goal_id, "progress")


@pytest.mark.parametrize("account_id", [None, 7, "", ".", "..", "a/..", "../b", "a/./b", "a\ud800"])
def test_an_account_that_would_be_another_address_is_not_there(account_id: Any) -> None:
    """An account id that clients resolve in a URL can be none: it would lead to the goal itself."""
    with pytest.raises(NotFound, match="Account not found") as missing:
        arguments.account_path("goal_1", account_id)
    assert missing.value.id == (account_id if isinstance(account_id, str) else None)
    with pytest.raises(KeyError, match="Milestone not found"):
        arguments.milestone_path("goal_1", account_id)


def test_only_ids_of_accounts_have_slashes() -> None:
    """A slash in another id would lead to another address."""
    with pytest.raises(KeyError, match="Milestone not found"):
        arguments.milestone_path("goal_1", "a/b")
    assert arguments.milestone_path("goal_1", "a b") == ("goals", "goal_1", "milestones", "a b")


def test_account_ids_are_free_otherwise() -> None:
    """Slashes, spaces and other scripts are no matter."""
    assert arguments.account_path("goal_1", "DE/12 ü") == ("goals", "goal_1", "funding", "DE/12 ü")


def test_changes_are_those_that_there_are() -> None:
    """What cannot change is refused by name with the list of what can; what can is taken in its form."""
    given = {"target_amount": 5.5, "deadline": None, "status": GoalStatus.PAUSED, "name": "A", "version": 3}
    taken = {"target_amount": Decimal("5.5"), "deadline": None, "status": "paused", "name": "A", "version": 3}
    assert arguments.changes(given) == taken
    with pytest.raises(ValueError, match=r"^user_id: is not something that can change; there are: name, description, "):
        arguments.changes({"user_id": "other"})
    for name in ("target_amount", "current_amount", "status"):
        with pytest.raises(InvalidField) as refused:
            arguments.changes({name: None})
        assert refused.value.field == name


@pytest.mark.parametrize(
    "name", ["user_id", "type", "goal_type", "currency", "tracking", "start_date", "auto_complete"]
)
def test_what_a_goal_keeps_is_refused_by_name(name: str) -> None:
    """It is a field, and stays what it was at creation."""
    with pytest.raises(InvalidField, match=rf"^{name}: is not something that can change; there are: name, ") as refused:
        arguments.changes({name: None, "name": "Other"})
    assert refused.value.field == name


@pytest.mark.parametrize("name", ["colour", "id", "milestones", "allocation_percent"])
def test_what_was_never_an_argument_is_a_type_error(name: str) -> None:
    """As Python says it where a method declares its arguments."""
    with pytest.raises(TypeError, match=rf"^Goals\.update_goal\(\) got an unexpected keyword argument '{name}'$"):
        arguments.changes({name: "red"})
    with pytest.raises(TypeError, match=rf"^Goals\.update_milestone\(\) got an unexpected keyword argument '{name}'$"):
        arguments.milestone_changes({name: "red"})


def test_changes_of_a_milestone_are_taken_in_their_form() -> None:
    """None clears, and what cannot be is refused by name."""
    given = {"amount": 5.5, "description": None, "target_date": date(2026, 11, 9)}
    taken = {"amount": Decimal("5.5"), "description": None, "target_date": "2026-11-09"}
    assert arguments.milestone_changes(given) == taken
    assert arguments.milestone_changes({}) == {}
    for name, wrong in {"amount": None, "description": 5, "target_date": 5}.items():
        with pytest.raises(InvalidField) as refused:
            arguments.milestone_changes({name: wrong})
        assert refused.value.field == name


@pytest.mark.parametrize(("share", "shown"), [(60, "60"), (60.0, "60.0"), (Decimal("33.3"), "33.3")])
def test_a_share_in_the_place_of_a_name_is_told(share: Any, shown: str) -> None:
    """The third argument of link_account_to_goal is the name, as documented; many people write the share there."""
    with pytest.raises(InvalidField) as refused:
        arguments.account_name(share)
    assert str(refused.value) == f"account_name: must be text; the share is allocation_percent={shown}"
    for other in (True, b"a"):
        with pytest.raises(InvalidField, match=r"^account_name: must be text$"):
            arguments.account_name(other)
    assert (arguments.account_name("60"), arguments.account_name(None)) == ("60", None)


def test_a_query_has_what_is_given() -> None:
    """Values as text, by the names that REST has for them; text that no URL can hold is refused."""
    assert arguments.query(a="1", b=None, c=True, d=False, e=5, from_="") == {
        "a": "1",
        "c": "true",
        "d": "false",
        "e": "5",
        "from": "",
    }
    with pytest.raises(InvalidField, match=r"^user_id: must not contain broken Unicode$"):
        arguments.query(user_id="\ud800")


@pytest.mark.parametrize("wrong", [1.0, "1", True, None])
def test_a_whole_number_is_no_other_kind(wrong: Any) -> None:
    """Neither a float nor text nor a bool."""
    with pytest.raises(InvalidField, match=r"^limit: must be a whole number$"):
        arguments.whole_number("limit", wrong)
    assert arguments.whole_number("limit", 5) == 5


@pytest.mark.parametrize("key", ["", "k" * 201, "ключ", "a\n", 7])
def test_an_idempotency_key_is_printable(key: Any) -> None:
    """One that could be no header is refused by name."""
    with pytest.raises(ValueError, match=r"^idempotency_key: must be 1 to 200 printable ASCII characters$"):
        arguments.idempotency_key(key)


def test_not_found_shows_its_text_without_quotes() -> None:
    """A KeyError usually shows what was looked for in quotes; this one tells a person."""
    assert str(NotFound("Goal not found")) == "Goal not found"


def test_a_missing_argument_is_named() -> None:
    """An argument that is needed and not given is refused by name."""
    with pytest.raises(ValueError, match=r"^target_amount: is missing$"):
        arguments.needed("target_amount", None)
    assert arguments.needed("target_amount", 0) == 0
