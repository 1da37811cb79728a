"""A row that was not understood is kept whole, and each replay reads it again as if for the first time."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from core.errors import EventRejected, ProviderBodyRefused
from core.events.envelope import EVENT_LONGEST_BYTES, Envelope, check_envelope, parse_json
from core.ingestion.parse import parse_event
from core.providers.contracts import AdaptedEvent, KnownAccount
from core.providers.registry import Format, adapt
from core.providers.rows import ROW_TYPE
from tests.unit.providers.adapted import PULLED, UTC_ZONE, context, facts

ROW: dict[str, Any] = {"account_id": "a", "transaction_id": "t1", "amount": "1.00", "iso_currency_code": "USD"}
ROW |= {"date": "2026-03-09", "pending": False}
KNOWN = {"a": KnownAccount("main", user_id="u", kind="asset", currency="USD", since=date(2026, 1, 1), connection="i")}


def kept(row: object) -> AdaptedEvent:
    """The event that has the whole row."""
    return adapt(Format.PLAID_SYNC, {"added": [{}, row]}, context(accounts=KNOWN)).events[-1]


def mended(event: AdaptedEvent, **row: Any) -> Envelope:
    """The same event with parts of its row replaced, as if the adapter now understood the row."""
    envelope = check_envelope(parse_json(event.event))
    assert envelope.type == ROW_TYPE
    return envelope._replace(data=envelope.data | {"row": envelope.data["row"] | row})


def test_a_row_that_is_understood_later_states_what_it_would_have_stated_at_first() -> None:
    """Facts, times and ranks are the same, so it does not matter when the adapter was fixed."""
    later = parse_event(mended(kept(ROW | {"date": "9 March"}), date="2026-03-09"), UTC_ZONE, PULLED)
    at_first = facts([adapt(Format.PLAID_SYNC, {"added": [{}, ROW]}, context(accounts=KNOWN)).events[-1]])
    assert list(later) == at_first


def test_a_row_that_is_still_not_understood_says_why() -> None:
    """The reason is about the row, so the dead letter says what to fix."""
    with pytest.raises(EventRejected) as rejected:
        facts([kept(ROW | {"amount": "1.005"})])
    assert rejected.value.code == "bad_amount"
    assert "amount" in rejected.value.message


def test_every_digit_and_letter_of_a_row_is_kept() -> None:
    """Numbers that no float holds, half a surrogate pair, and things that are no row at all."""
    odd = {
        "amount": parse_json(b"0.1000000000000000000000000000001"),
        "name": "\ud800 \u0000 caf\u00e9",
        "more": [None, 7],
    }
    for row in (ROW | odd, None, 5, [], "x"):
        assert check_envelope(parse_json(kept(row).event)).data["row"] == row


def test_a_row_too_large_to_be_kept_refuses_the_body_and_is_named() -> None:
    """No event has more than 65,536 bytes; a row of that size that is understood is another matter."""
    large = ROW | {"location": "x" * EVENT_LONGEST_BYTES}
    assert facts(adapt(Format.PLAID_SYNC, {"added": [large]}, context()).events)
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt(Format.PLAID_SYNC, {"added": [ROW, large | {"amount": None}]}, context())
    assert (refused.value.code, refused.value.where) == ("too_large", "added[1]")


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"part": "plaid/transaction"},
        {"part": "none", "row": ROW, "context": {}},
        {"part": ["x"], "row": ROW, "context": {}},
        {"part": "plaid/transaction", "row": ROW, "context": []},
        {"part": "plaid/transaction", "row": ROW, "context": {"pulled_at": "2026-03-09"}},
        {"part": "plaid/transaction", "row": ROW, "context": {"kind": "both"}},
        {"part": "plaid/transaction", "row": ROW, "context": {"accounts": {"a": {"account_id": ""}}}},
        {"part": "plaid/transaction", "row": ROW, "context": {"accounts": {"a": {"account_id": "m", "since": 5}}}},
        {"part": "plaid/transaction", "row": ROW, "context": {"accounts": {"a": {"account_id": "m", "sign": "minus"}}}},
        {"part": "plaid/transaction", "row": ROW, "order": 7, "context": {"pulled_at": "2026-03-09T12:00:00Z"}},
        {"part": "plaid/transaction", "row": ROW, "order": "x" * 500, "context": {"pulled_at": "2026-03-09T12:00:00Z"}},
        {"part": "plaid/transaction", "row": ROW, "context": {}},
    ],
)
def test_a_kept_row_that_someone_made_up_is_rejected(data: dict[str, Any]) -> None:
    """Anyone may post an event of this type; one that is not in our form states nothing."""
    with pytest.raises(EventRejected):
        parse_event(Envelope("e", "s", ROW_TYPE, PULLED, None, data), UTC_ZONE, PULLED)


def test_a_kept_row_from_the_future_is_rejected_like_any_event() -> None:
    """Its facts get their time from the row's context, which must not be ahead of the arrival either."""
    future = {"part": "plaid/transaction", "row": ROW, "context": {"pulled_at": "2026-04-01T00:00:00Z"}}
    with pytest.raises(EventRejected) as rejected:
        parse_event(Envelope("e", "s", ROW_TYPE, PULLED, None, future), UTC_ZONE, PULLED)
    assert rejected.value.code == "clock_ahead"
