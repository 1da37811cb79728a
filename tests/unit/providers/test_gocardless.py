"""GoCardless Bank Account Data: which rows are one transaction, from pull to pull."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import EventRejected, ProviderBodyRefused
from core.providers.contracts import Adapted, AdaptedEvent, KnownAccount
from core.providers.registry import Format, adapt
from tests.unit.providers.adapted import context, counted, later, only, values


def row(amount: str = "-5.50", internal: str | None = "i1", **more: Any) -> dict[str, Any]:
    """A booked row."""
    booked: dict[str, Any] = {
        "bookingDate": "2026-03-09",
        "valueDate": "2026-03-10",
        "transactionAmount": {"amount": amount, "currency": "EUR"},
        "remittanceInformationUnstructured": "Coffee",
    }
    return booked | ({} if internal is None else {"internalTransactionId": internal}) | more


def adapted_body(body: dict[str, Any], hours: float = 0, **more: Any) -> Adapted:
    """What a body becomes that was pulled so many hours after noon."""
    return adapt(Format.GOCARDLESS, body, later(hours, account_id="g1", **more))


def pull(
    *booked: dict[str, Any], hours: float = 0, pending: list[dict[str, Any]] | None = None
) -> tuple[AdaptedEvent, ...]:
    """The events of a pull of transactions."""
    return adapted_body({"transactions": {"booked": list(booked), "pending": pending or []}}, hours).events


def total(*pulls: tuple[AdaptedEvent, ...]) -> int:
    """The cents that count once all pulls are applied, which must be the same in any order."""
    results = [sum(counted(itertools.chain(*order)).values()) for order in itertools.permutations(pulls)]
    assert len(set(results)) == 1
    return results[0]


def test_an_amount_is_the_holders_whatever_the_account() -> None:
    """Money out is negative, on a card as on a current account."""
    known = {"g1": KnownAccount("card", kind="liability")}
    adapted = adapted_body({"transactions": {"booked": [row("-5.50"), row("20", "i2")], "pending": []}}, accounts=known)
    assert counted(adapted.events) == {"i1": -550, "i2": 2000}


def test_gocardless_own_id_names_a_row() -> None:
    """By it a later pull corrects the row, whatever the bank's id says."""
    before = pull(row("-5.50", transactionId="x"))
    after = pull(row("-6.00", transactionId="y"), hours=24)
    assert counted([*after, *before]) == {"i1": -600}


@pytest.mark.parametrize("bank_id", [None, "", "  ", "STANDING-ORDER-7"])
def test_rows_whose_bank_id_is_blank_or_used_again_all_count(bank_id: str | None) -> None:
    """Three rows, two of them equal, are three transactions, also when the window is pulled again."""
    rows = [row(internal=None, transactionId=bank_id), row(internal=None, transactionId=bank_id)]
    rows.append(row("-7.00", internal=None, transactionId=bank_id))
    assert total(pull(*rows)) == -1800
    assert total(pull(*rows), pull(*rows[::-1], hours=24)) == -1800


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_rows_whose_own_id_is_blank_are_numbered_whatever_their_texts(blank: str | None) -> None:
    """Two purchases of one day and amount both count, though each has a text of its own."""
    rows = [row(internalTransactionId=blank, remittanceInformationUnstructured=each) for each in ("Coffee", "Tea")]
    assert total(pull(*rows)) == -1100


def test_an_id_used_again_beyond_the_window_changes_no_key() -> None:
    """The first window has the id once, the overlapping second one twice; the row in both counts once."""
    january = row(internal=None, transactionId="rent", bookingDate="2026-01-02")
    february = row(internal=None, transactionId="rent", bookingDate="2026-02-02")
    assert total(pull(january), pull(january, february, hours=24)) == -1100


def test_a_description_that_the_bank_changes_makes_no_second_row() -> None:
    """Texts, references and the bank's id may come and go between pulls."""
    before = row(internal=None)
    after = row(internal=None, remittanceInformationUnstructured="COFFEE LTD", transactionId="late", entryReference="9")
    assert total(pull(before), pull(after, hours=24)) == -550


def test_an_equal_row_more_in_a_later_pull_is_one_more_transaction() -> None:
    """The day was not over at the first pull: two coffees then, three in the end."""
    coffee = row(internal=None)
    assert total(pull(coffee, coffee), pull(coffee, coffee, coffee, hours=5)) == -1650


@given(st.lists(st.sampled_from(["-1.00", "-1.0", "-2.50"]), max_size=6), st.randoms())
def test_rows_without_ids_count_as_often_as_they_are_there(amounts: list[str], chance: Any) -> None:
    """Whatever their order in the array, however an amount is spelled, and in how many pulls."""
    rows = [
        row(amount, internal=None, bookingDate=f"2026-03-0{1 + n % 2}", remittanceInformationUnstructured=f"n{n}")
        for n, amount in enumerate(amounts)
    ]
    shuffled = chance.sample(rows, len(rows))
    expected = sum(-100 if amount.startswith("-1") else -250 for amount in amounts)
    assert total(pull(*rows), pull(*shuffled, hours=3)) == expected


def test_a_pending_row_counts_nothing_and_does_not_replace_the_booked_one() -> None:
    """It has no lasting id, so the booked row that follows is a transaction of its own."""
    hold = row(internal=None, transactionId="p")
    assert total(pull(pending=[hold]), pull(row("-5.80"), hours=24)) == -580
    undated = {"transactionAmount": {"amount": "-1", "currency": "EUR"}}
    assert total(pull(pending=[undated])) == 0


@pytest.mark.parametrize(
    ("written", "posted_at"),
    [
        ({"bookingDateTime": "2026-03-09T14:30:00+01:00"}, "2026-03-09T13:30:00+00:00"),
        ({"bookingDateTime": "2026-03-09T23:30:00"}, "2026-03-09"),
        ({"bookingDateTime": "2026-03-09T00:00:00Z"}, "2026-03-09"),
        ({"bookingDateTime": "2026-03-09T01:00:00+01:00"}, "2026-03-09"),
        ({"bookingDateTime": "2026-03-08T19:00:00-05:00"}, "2026-03-09"),
        ({"bookingDateTime": "2026-03-08T22:00:00.000Z"}, "2026-03-09"),
        ({"bookingDateTime": "2026-03-08T18:30:00Z"}, "2026-03-09"),
        ({"bookingDateTime": "2026-03-08T22:00:01Z"}, "2026-03-08T22:00:01+00:00"),
        ({"bookingDateTime": "2026-03-09T02:00:00+01:00"}, "2026-03-09T01:00:00+00:00"),
        ({"bookingDateTime": "2026-03-09T23:00:00-05:00"}, "2026-03-10T04:00:00+00:00"),
        ({"bookingDateTime": "2026-03-10T01:00:00Z"}, "2026-03-10T01:00:00+00:00"),
        ({"bookingDate": None, "valueDateTime": "2026-03-10T08:00:00Z"}, "2026-03-10T08:00:00+00:00"),
        ({"bookingDate": None}, "2026-03-10"),
    ],
)
def test_a_row_counts_from_when_it_was_booked(written: dict[str, Any], posted_at: str) -> None:
    """A local time without its offset is only its day, and so is its midnight, in whichever zone that is written.

    The value date replaces a missing booking date.
    """
    assert only(Adapted(pull(row(**written))), "transaction.recorded")["posted_at"] == posted_at


def test_rows_that_the_former_account_reported_are_left_out() -> None:
    """After a renewed consent the account has a new id, and its history comes again."""
    known = {"g1": KnownAccount("main", since=date(2026, 3, 9))}
    body = {"transactions": {"booked": [row(bookingDate="2026-03-08"), row(internal="i2")], "pending": []}}
    assert counted(adapted_body(body, accounts=known).events) == {"i2": -550}


def entry(type: str, amount: Any = "100.00", **more: Any) -> dict[str, Any]:
    """One of an account's balances."""
    return {"balanceAmount": {"amount": amount, "currency": "EUR"}, "balanceType": type} | more


@pytest.mark.parametrize(
    ("entries", "current", "as_of"),
    [
        ([entry("expected", "1"), entry("interimBooked", "2")], "2.00", "2026-03-10T12:00:00+00:00"),
        (
            [entry("interimAvailable", "1"), entry("closingBooked", "2", referenceDate="2026-03-09")],
            "2.00",
            "2026-03-09",
        ),
        ([entry("closingBooked", "2", referenceDate="2026-03-10")], "2.00", "2026-03-10T12:00:00+00:00"),
        ([entry("closingBooked", "2")], "2.00", "2026-03-10T12:00:00+00:00"),
        ([entry("expected", "1"), entry("openingBooked", "2", referenceDate="2026-03-10")], "2.00", "2026-03-09"),
        ([entry("interimAvailable", "1"), entry("expected", "2")], "2.00", "2026-03-10T12:00:00+00:00"),
        (
            [
                entry("closingBooked", "1", referenceDate="2026-03-06"),
                entry("closingBooked", "2", referenceDate="2026-03-08"),
            ],
            "2.00",
            "2026-03-08",
        ),
        ([entry("interimBooked", None), entry("expected", "2")], "2.00", "2026-03-10T12:00:00+00:00"),
        (
            [entry("interimBooked", "1", creditLimitIncluded=True), entry("expected", "2", creditLimitIncluded=False)],
            "2.00",
            "2026-03-10T12:00:00+00:00",
        ),
    ],
)
def test_the_balance_taken_is_the_booked_one(entries: list[dict[str, Any]], current: str, as_of: str) -> None:
    """Booked before expected before available, never with a credit limit in it, at the moment when it was true."""
    reported = only(adapted_body({"balances": entries}), "balance.reported")
    assert (reported["current"], reported["as_of"]) == (current, as_of)


@pytest.mark.parametrize(
    "entries",
    [[], [entry("interimBooked", None)], [entry("expected", creditLimitIncluded=True)], [entry("forwardAvailable")]],
)
def test_balances_that_do_not_show_the_holders_money_are_no_event(entries: list[dict[str, Any]]) -> None:
    """The amount is null, includes an unknown limit, or is of a day to come."""
    assert adapted_body({"balances": entries}).events == ()


@pytest.mark.parametrize(("kind", "current"), [("asset", "-250.00"), ("liability", "250.00"), (None, "-250.00")])
def test_a_balance_below_zero_is_owed(kind: str | None, current: str) -> None:
    """A bank writes it as negative when the holder owes; our event of a liability says what is owed."""
    known = {"g1": KnownAccount("card", kind=kind)}
    reported = only(adapted_body({"balances": [entry("interimBooked", "-250.00")]}, accounts=known), "balance.reported")
    assert reported["current"] == current


def test_of_an_account_in_several_currencies_the_known_one_is_taken() -> None:
    """The integrator registered the currency of the account; the other balances are other money."""
    dollars = entry("interimBooked", "7") | {"balanceAmount": {"amount": "7", "currency": "USD"}}
    known = {"g1": KnownAccount("main", currency="USD")}
    reported = only(adapted_body({"balances": [entry("interimBooked"), dollars]}, accounts=known), "balance.reported")
    assert reported["current"] == "7.00"


def test_rows_out_of_gocardless_store_are_as_old_as_they_are() -> None:
    """`last_updated` says when the bank was asked; a pull of an hour later states the same."""
    body = {"transactions": {"booked": [row()], "pending": []}, "last_updated": "2026-03-10T06:00:00Z"}
    assert adapted_body(body).events == adapted_body(body, hours=1).events


def test_details_and_metadata_state_the_account_and_its_consent() -> None:
    """A card is a liability; an expired consent is a broken connection of the account that the body names."""
    details = {
        "account": {"iban": "DE1", "currency": "EUR", "name": "Visa", "cashAccountType": "CARD", "status": "enabled"}
    }
    stated = {"account_id": "g1", "kind": "liability", "name": "Visa", "currency": "EUR", "closed": False}
    assert values(adapted_body(details)) == [("account.changed", stated)]
    metadata = {"id": "g2", "iban": "DE1", "status": "EXPIRED", "institution_id": "BANK"}
    assert values(adapted_body(metadata)) == [
        ("connection.changed", {"account_ids": ["g2"], "state": "broken", "reason": "EXPIRED"})
    ]


def test_a_body_that_names_no_account_needs_one() -> None:
    """GoCardless has the account only in the URL, so only the caller knows it."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt(Format.GOCARDLESS, {"transactions": {"booked": [row()]}}, context())
    assert (refused.value.code, refused.value.where) == ("untold", "transactions.booked[0].account_id")


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"summary": "x"}, {"transactions": []}, {"transactions": {"booked": {}}}, {"last_updated": 5}],
)
def test_a_body_of_another_form_is_refused(body: Any) -> None:
    """It is an error that GoCardless answered, or has something else where an array must be."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapted_body(body)
    assert refused.value.code == "not_this_form"


def test_a_date_may_be_where_a_time_is_expected() -> None:
    """The bank gives no other date; what is neither a date nor a time is named."""
    dated = row(bookingDate=None, bookingDateTime="2026-03-09")
    assert only(Adapted(pull(dated)), "transaction.recorded")["posted_at"] == "2026-03-09"
    with pytest.raises(EventRejected, match="bookingDateTime"):
        counted(pull(row(bookingDate=None, bookingDateTime="soon")))


@pytest.mark.parametrize(
    ("written", "posted_at"),
    [
        ("2026-03-09T00:00:00Z", "2026-03-09"),
        ("2026-03-09T00:00:00", "2026-03-09"),
        ("2026-03-09T00:00:00+02:00", "2026-03-09"),
        ("2026-03-09T23:59:59-11:00", "2026-03-09"),
        ("2026-03-09t14:30:00.000z", "2026-03-09"),
    ],
)
def test_of_a_date_with_a_time_the_date_counts(written: str, posted_at: str) -> None:
    """As it is written: some banks fill the field with a midnight, and in UTC it may be another day."""
    undated = row(bookingDate=None, valueDate=written)
    for dated in (row(bookingDate=written), undated):
        assert only(Adapted(pull(dated)), "transaction.recorded")["posted_at"] == posted_at
    assert total(pull(row(internal=None)), pull(row(internal=None, bookingDate=written), hours=24)) == -550
    reported = only(
        adapted_body({"balances": [entry("closingBooked", "2", referenceDate=written)]}), "balance.reported"
    )
    assert reported["as_of"] == posted_at
