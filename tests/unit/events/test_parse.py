"""What an event states, once it is parsed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import EventRejected, MalformedEvent
from core.events.envelope import Envelope, check_envelope, parse_json, parse_moment
from core.ingestion.parse import parse_event

PRAGUE = ZoneInfo("Europe/Prague")
ARRIVED = datetime(2026, 3, 10, 12, tzinfo=UTC)
SPENT = {"account_id": "a", "transaction_id": "t", "amount": Decimal("-12.30"), "currency": "CZK"}


def envelope(type: str, data: dict[str, Any]) -> Envelope:
    """A well-formed envelope of that type."""
    return Envelope("e1", "bank", f"milepost.{type}", datetime(2026, 3, 10, 11, tzinfo=UTC), None, data)


def test_numbers_keep_every_digit() -> None:
    """A JSON number that no double holds is parsed as it stands."""
    assert parse_json(b'{"a": 12345678901234567.89, "b": 1.10}') == {
        "a": Decimal("12345678901234567.89"),
        "b": Decimal("1.10"),
    }


@pytest.mark.parametrize(
    "raw", [b"", b"nul", b"[" * 200_000, b'{"a": NaN}', b"\xff", b"1" * 5000, b'{"a": 1e99999999999999999999}']
)
def test_what_is_no_json_is_refused_by_name(raw: bytes) -> None:
    """No parser error of any kind comes through."""
    with pytest.raises(MalformedEvent) as refused:
        parse_json(raw)
    assert refused.value.code == "unparseable"


@pytest.mark.parametrize(
    "raw", [b'{"amount": 1, "amount": 2}', b'{"a": {"b": 1, "c": 2, "\\u0062": 1}}', b'[{"": 1, "": 1}]']
)
def test_a_key_that_is_there_twice_is_refused(raw: bytes) -> None:
    """Which of the two counts would be the parser's choice; the same value, or another spelling, is no excuse."""
    with pytest.raises(MalformedEvent, match="is there twice in one object"):
        parse_json(raw)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-10T11:00:00Z", "2026-03-10T11:00:00+00:00"),
        ("2026-03-10t12:00:00.123456789+01:00", "2026-03-10T11:00:00.123456+00:00"),
        ("2026-03-10T11:00:00", "2026-03-10T11:00:00+00:00"),
    ],
)
def test_times_become_utc(text: str, moment: str) -> None:
    """Any offset becomes UTC, none is UTC already, and what is finer than a microsecond is cut."""
    whole = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "time": text, "data": {}}
    assert check_envelope(whole).time == datetime.fromisoformat(moment)


@pytest.mark.parametrize("text", ["2026-02-30", "2026-13-01", "2026-11-31T10:00:00Z", "2026-11-30T25:00:00Z"])
def test_a_day_that_does_not_exist_is_called_that(text: str) -> None:
    """In our own words, and with the field, whatever the version of Python says."""
    with pytest.raises(ValueError, match=r"^is a date or a time that does not exist$"):
        parse_moment(text)
    with pytest.raises(EventRejected, match=r"^posted_at is a date or a time that does not exist$"):
        parse_event(envelope("transaction.recorded", SPENT | {"posted_at": text}), PRAGUE, ARRIVED)


def test_what_is_no_envelope_is_told_what_one_is() -> None:
    """A bare transaction is what a new producer sends first."""
    with pytest.raises(MalformedEvent, match=r"an event is a CloudEvents 1\.0 object with specversion, id, source"):
        check_envelope(SPENT)


@pytest.mark.parametrize(
    ("time", "as_of"),
    [
        (datetime(2026, 3, 10, 12, tzinfo=UTC), datetime(2026, 3, 10, 12, tzinfo=UTC)),
        (datetime(2026, 3, 9, 12, tzinfo=UTC), datetime(2026, 3, 9, 23, tzinfo=UTC)),
        (datetime(2026, 3, 10, 23, tzinfo=UTC), datetime(2026, 3, 10, 22, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_a_date_stays_a_date_and_a_balance_of_a_day_has_the_time_of_its_event(time: datetime, as_of: datetime) -> None:
    """Where in its local day a transaction is placed is found out later; a balance is placed within its day."""
    (spent,) = parse_event(envelope("transaction.recorded", SPENT | {"posted_at": "2026-03-10"}), PRAGUE, ARRIVED)
    assert spent.transaction is not None
    assert (spent.transaction.posted_at, spent.transaction.dated) == (None, date(2026, 3, 10))
    assert spent.transaction.amount_minor == -1230
    report_data = {"account_id": "a", "current": 5, "currency": "CZK", "as_of": "2026-03-10"}
    stated = envelope("balance.reported", report_data)._replace(time=time)
    (report,) = parse_event(stated, PRAGUE, time)
    assert report.report is not None
    assert report.report.as_of == as_of


def test_user_and_kind_inside_a_fact_count_at_its_time() -> None:
    """Both become attributes of the account with the event's rank; a null says nothing."""
    data = SPENT | {"posted_at": "2026-03-10", "user_id": "u", "kind": "liability"}
    (facts,) = parse_event(envelope("transaction.recorded", data), PRAGUE, ARRIVED)
    assert [(a.name, a.value) for a in facts.attributes] == [("user_id", "u"), ("kind", "liability")]
    (facts,) = parse_event(envelope("transaction.recorded", data | {"user_id": None, "kind": None}), PRAGUE, ARRIVED)
    assert facts.attributes == ()


def test_a_clock_may_be_five_minutes_ahead_and_no_more() -> None:
    """An event with a later `time` than that is refused, however its facts are dated."""
    event = envelope("transaction.recorded", SPENT | {"posted_at": "2026-03-10"})
    assert parse_event(event._replace(time=ARRIVED + timedelta(minutes=5)), PRAGUE, ARRIVED)
    with pytest.raises(EventRejected, match="set the clock that gave it") as refused:
        parse_event(event._replace(time=ARRIVED + timedelta(minutes=5, microseconds=1)), PRAGUE, ARRIVED)
    assert refused.value.code == "clock_ahead"


@pytest.mark.parametrize(
    ("posted_at", "due_at"),
    [
        ("2026-03-10", None),
        ("2026-03-11", "2026-03-10T23:00:00+00:00"),
        ("2026-03-11T12:00:00Z", None),
        ("2026-03-11T12:00:01Z", "2026-03-10T12:00:01+00:00"),
        ("2027-04-14T11:00:00Z", "2027-04-13T11:00:00+00:00"),
    ],
)
def test_a_fact_that_is_dated_ahead_says_when_it_is_due(posted_at: str, due_at: str | None) -> None:
    """A date when its local day begins, an instant a day before; what has begun on arrival is due. Pending rows are."""
    due = None if due_at is None else datetime.fromisoformat(due_at)
    (facts,) = parse_event(envelope("transaction.recorded", SPENT | {"posted_at": posted_at}), PRAGUE, ARRIVED)
    assert facts.transaction is not None
    assert (facts.transaction.due_at, facts.transaction.is_posted) == (due, due is None)
    pending = SPENT | {"posted_at": posted_at, "pending": True}
    (facts,) = parse_event(envelope("transaction.recorded", pending), PRAGUE, ARRIVED)
    assert facts.transaction is not None
    assert facts.transaction.due_at is None


def test_what_is_dated_more_than_400_days_after_its_time_is_refused() -> None:
    """It is a mistake of a year or a century, whenever it arrives."""
    ahead = envelope("transaction.recorded", SPENT | {"posted_at": "2027-04-14T11:00:01Z"})
    for arrived_at in (ARRIVED, ARRIVED + timedelta(days=500)):
        with pytest.raises(EventRejected, match="more than 400 days after the event's time") as refused:
            parse_event(ahead, PRAGUE, arrived_at)
        assert refused.value.code == "far_future"


@given(st.booleans(), st.sampled_from(["2026-03-12", "2026-03-11T23:00:00Z", "2026-03-12T23:00:00Z"]))
def test_a_statement_wins_over_itself_once_it_is_due(is_pending: bool, posted_at: str) -> None:
    """So it counts whenever it is read again after its time has come, and never stops counting when read as before."""
    stated = envelope("transaction.recorded", SPENT | {"posted_at": posted_at, "pending": is_pending})
    (early,) = parse_event(stated, PRAGUE, ARRIVED)
    (late,) = parse_event(stated, PRAGUE, ARRIVED + timedelta(days=5))
    assert early.transaction is not None
    assert late.transaction is not None
    assert (late.transaction.precedence > early.transaction.precedence) is not is_pending
    assert early.transaction.precedence <= late.transaction.precedence
