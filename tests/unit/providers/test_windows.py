"""Pulls that are the whole of their days: the window that they become, and when there is none."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from core.errors import ProviderBodyRefused
from core.events.envelope import check_envelope, parse_json
from core.providers.contracts import KnownAccount
from core.providers.registry import Format, adapt
from tests.unit.providers import test_enablebanking as enable_banking
from tests.unit.providers import test_gocardless as gocardless
from tests.unit.providers.adapted import context, values

DAYS = (date(2026, 1, 1), date(2026, 3, 10))


def body_of(format: Format, *rows: dict[str, Any]) -> dict[str, Any]:
    """A pull of booked rows."""
    if format is Format.GOCARDLESS:
        return {"transactions": {"booked": list(rows), "pending": []}}
    return {"transactions": list(rows), "continuation_key": None}


def row_of(format: Format) -> dict[str, Any]:
    """A booked row of the ninth of March."""
    return gocardless.row() if format is Format.GOCARDLESS else enable_banking.row()


def adapted(format: Format, body: Any, **more: Any) -> Any:
    """What a pull becomes that is said to be the whole of its days."""
    given: dict[str, Any] = {"account_id": "g1", "kind": "asset", "complete": DAYS} | more
    return adapt(format, body, context(**given))


def windows(format: Format, body: Any, **more: Any) -> list[dict[str, Any]]:
    """The windows that it becomes."""
    return [data for type, data in values(adapted(format, body, **more)) if type == "window.reported"]


BOTH = pytest.mark.parametrize("format", [Format.GOCARDLESS, Format.ENABLEBANKING])


@BOTH
def test_a_whole_pull_becomes_a_window_at_the_time_of_its_rows(format: Format) -> None:
    """Also one without any row; the same body becomes the same events; without the days there is none."""
    for rows in ([row_of(format)], []):
        body = body_of(format, *rows)
        assert windows(format, body) == [{"account_id": "g1", "from": "2026-01-01", "through": "2026-03-10"}]
        assert adapted(format, body) == adapted(format, body)
        envelopes = [check_envelope(parse_json(each.event)) for each in adapted(format, body).events]
        about_rows = [each for each in envelopes if each.type != "milepost.account.changed"]
        assert len({(each.time, each.source) for each in about_rows}) == 1
        assert windows(format, body, complete=None) == []


def test_the_time_is_that_of_the_rows_if_the_body_gives_one() -> None:
    """A body that GoCardless had stored says what the bank showed then."""
    body = body_of(Format.GOCARDLESS, gocardless.row()) | {"last_updated": "2026-03-10T05:00:00Z"}
    times = {str(check_envelope(parse_json(each.event)).time) for each in adapted(Format.GOCARDLESS, body).events[1:]}
    assert times == {"2026-03-10 05:00:00+00:00"}


@BOTH
@pytest.mark.parametrize(
    ("since", "expected"), [("2025-12-31", "2026-01-01"), ("2026-03-09", "2026-03-09"), ("2026-03-11", None)]
)
def test_days_of_the_former_id_are_not_of_the_window(format: Format, since: str, expected: str | None) -> None:
    """Their rows are left out of the pull, so it can't say that they are gone."""
    known = {"g1": KnownAccount("card", since=date.fromisoformat(since))}
    found = windows(format, body_of(format, row_of(format)), accounts=known)
    assert found == ([] if expected is None else [{"account_id": "card", "from": expected, "through": "2026-03-10"}])


@BOTH
def test_a_pull_with_a_row_that_is_not_understood_has_no_window(format: Format) -> None:
    """The row would count as removed only because nobody could read it."""
    amount = "transactionAmount" if format is Format.GOCARDLESS else "transaction_amount"
    odd = row_of(format) | {amount: {"amount": "a lot", "currency": "EUR"}}
    assert windows(format, body_of(format, row_of(format), odd)) == []
    assert "provider.row" in {type for type, _ in values(adapted(format, body_of(format, odd)))}


def test_pages_in_one_array_are_one_pull() -> None:
    """Of Enable Banking, up to the page without a continuation key."""
    pages = [
        {"transactions": [enable_banking.row()], "continuation_key": "next"},
        {"transactions": [enable_banking.row(reference="ref-2")], "continuation_key": None},
    ]
    assert len(windows(Format.ENABLEBANKING, pages)) == 1


NOT_WHOLE = [
    (Format.ENABLEBANKING, {"transactions": [], "continuation_key": "next"}, "further pages"),
    (Format.ENABLEBANKING, {"balances": []}, "no transactions"),
    (Format.GOCARDLESS, {"balances": []}, "no transactions"),
    (Format.GOCARDLESS, {"transactions": None, "balances": []}, "no transactions"),
    (Format.GOCARDLESS, {"transactions": {"booked": [], "_links": {"next": {"href": "/2"}}}}, "page of several"),
]


@pytest.mark.parametrize(("format", "body", "why"), NOT_WHOLE)
def test_what_is_not_the_whole_of_its_days_is_refused(format: Format, body: Any, why: str) -> None:
    """With the reason."""
    with pytest.raises(ProviderBodyRefused, match=why):
        adapted(format, body)


@BOTH
def test_a_window_needs_the_time_of_the_pull(format: Format) -> None:
    """Named, as for rows without a time of their own."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapted(format, body_of(format), pulled_at=None)
    assert (refused.value.code, refused.value.where) == ("untold", "pulled_at")
