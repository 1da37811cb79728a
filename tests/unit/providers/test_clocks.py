"""A provider's own time that is ahead of the pull: it is of a wrong clock, and no correction has to wait for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from core.errors import EventRejected, ProviderBodyRefused
from core.events.envelope import CLOCK_ALLOWANCE
from core.providers.contracts import Adapted, KnownAccount
from core.providers.registry import Format, Provider, adapt, adapt_webhook
from tests.unit.providers.adapted import PULLED, context, counted, facts, later
from tests.unit.providers.test_gocardless import row as booked
from tests.unit.providers.test_mx import row as mx_row

TELLER = {"acc_1": KnownAccount("acc_1", kind="asset", currency="USD")}
TELLER_ROW = {"id": "txn_1", "account_id": "acc_1", "amount": "5.00", "date": "2026-03-09", "status": "posted"}


def mx(time: datetime, amount: str, hours: float) -> Adapted:
    """A row with the time of its last change."""
    rows = [mx_row(amount, "CREDIT", updated_at=time.isoformat())]
    return adapt(Format.MX, {"transactions": rows, "pagination": {}}, later(hours))


def gocardless(time: datetime, amount: str, hours: float) -> Adapted:
    """A body with the time at which the bank was asked."""
    rows = [booked(amount)]
    body = {"transactions": {"booked": rows, "pending": []}, "last_updated": time.isoformat()}
    return adapt(Format.GOCARDLESS, body, later(hours, account_id="acc_1"))


def teller(time: datetime, amount: str, hours: float) -> Adapted:
    """A webhook with the time at which it was made."""
    rows = [TELLER_ROW | {"amount": amount}]
    body = {"id": "wh_1", "type": "transactions.processed", "timestamp": time.isoformat()}
    return adapt_webhook(Provider.TELLER, body | {"payload": {"transactions": rows}}, later(hours, accounts=TELLER))


TELLING: list[Callable[[datetime, str, float], Adapted]] = [mx, gocardless, teller]


def times(adapted: Adapted) -> set[datetime]:
    """The times of the transactions of a body."""
    return {each.transaction.rank.time for each in facts(adapted.events) if each.transaction is not None}


@pytest.mark.parametrize("telling", TELLING)
def test_a_time_of_the_provider_is_used_if_it_can_be_right(telling: Callable[..., Adapted]) -> None:
    """Before the pull, and up to five minutes after it, since clocks differ."""
    for time in (PULLED - timedelta(hours=6), PULLED, PULLED + CLOCK_ALLOWANCE):
        assert times(telling(time, "5.00", 0)) == {time}


@pytest.mark.parametrize("telling", TELLING)
def test_a_time_that_is_ahead_is_taken_as_that_of_the_pull(telling: Callable[..., Adapted]) -> None:
    """The next pull is later, so what it states wins, though the provider gives both times ahead or only one."""
    ahead = PULLED + timedelta(hours=20)
    wrong = telling(ahead, "100.00", 0)
    assert times(wrong) == {PULLED}
    for time in (ahead, PULLED + timedelta(minutes=30), ahead + timedelta(hours=1)):
        right = telling(time, "10.00", 1)
        (amount,) = counted([*right.events, *wrong.events]).values()
        assert amount == 1000


def test_without_a_time_of_the_pull_a_row_that_is_ahead_becomes_a_dead_letter_alone() -> None:
    """There is nothing else to date it by; the other rows of its body are applied."""
    good = mx_row(guid="TRN-2", updated_at=PULLED.isoformat())
    rows: list[Any] = [good, mx_row(updated_at=(PULLED + timedelta(days=40)).isoformat())]
    adapted = adapt(Format.MX, {"transactions": rows, "pagination": {}}, context(None))
    assert [facts([each]) != [] for each in adapted.events[:-1]] == [True] * (len(adapted.events) - 1)
    with pytest.raises(EventRejected) as rejected:
        facts(adapted.events[-1:])
    assert rejected.value.code == "clock_ahead"


def test_our_own_events_in_a_webhook_are_refused_like_those_of_a_request() -> None:
    """The body names the event whose clock is wrong, and none of its events is accepted."""
    event = {"specversion": "1.0", "id": "e1", "source": "mine", "type": "milepost.transaction.recorded", "data": {}}
    good, bad = event | {"time": PULLED.isoformat()}, event | {"time": (PULLED + timedelta(minutes=6)).isoformat()}
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt_webhook(Provider.STANDARD, [good, bad], context())
    assert (refused.value.code, refused.value.where) == ("clock_ahead", "[1]")
