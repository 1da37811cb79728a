"""Enable Banking: which rows are one transaction, from pull to pull; which balance is the holder's money."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ProviderBodyRefused
from core.providers.contracts import Adapted, AdaptedEvent, KnownAccount
from core.providers.registry import Format, adapt
from tests.unit.providers.adapted import counted, later, only, values


def row(amount: Any = "5.50", reference: str | None = "ref-1", **more: Any) -> dict[str, Any]:
    """A booked transaction: money that left the account."""
    return {
        "entry_reference": reference,
        "transaction_id": "opaque",
        "transaction_amount": {"amount": amount, "currency": "EUR"},
        "credit_debit_indicator": "DBIT",
        "status": "BOOK",
        "booking_date": "2026-03-09",
        "value_date": "2026-03-10",
        "transaction_date": "2026-03-08",
        "creditor": {"name": "Coffee Shop"},
        "debtor": {"name": "The Holder"},
        "remittance_information": ["CARD 1234", "COFFEE"],
    } | more


def adapted_body(body: Any, hours: float = 0, **given: Any) -> Adapted:
    """What a body becomes that was pulled so many hours after noon, of an asset unless registered."""
    return adapt(Format.ENABLEBANKING, body, later(hours, **{"account_id": "hash", "kind": "asset"} | given))


def pull(*rows: dict[str, Any], hours: float = 0, **given: Any) -> tuple[AdaptedEvent, ...]:
    """The events of a pull of one page."""
    return adapted_body({"transactions": list(rows), "continuation_key": None}, hours, **given).events


def total(*pulls: tuple[AdaptedEvent, ...]) -> int:
    """The cents that count once all pulls are applied, which must be the same in any order."""
    results = [sum(counted(itertools.chain(*order)).values()) for order in itertools.permutations(pulls)]
    assert len(set(results)) == 1
    return results[0]


@pytest.mark.parametrize(("indicator", "cents"), [("DBIT", -550), ("CRDT", 550)])
@pytest.mark.parametrize("kind", ["asset", "liability"])
def test_the_indicator_says_whether_the_holder_gains(indicator: str, cents: int, kind: str) -> None:
    """The amount has no sign; money out is negative on a card as on a current account."""
    assert total(pull(row(credit_debit_indicator=indicator), kind=kind)) == cents


def test_an_amount_below_zero_is_not_guessed() -> None:
    """Beside an indicator it could mean either."""
    assert [type for type, _ in values(Adapted(pull(row("-5.50"))))][-1] == "provider.row"


def test_the_reference_names_a_row() -> None:
    """It never changes; `transaction_id` is another one in each pull."""
    before, after = pull(row(transaction_id="x")), pull(row("6.00", transaction_id="y"), hours=24)
    assert counted([*after, *before]) == {"ref-1": -600}


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_rows_without_a_reference_count_as_often_as_they_are_there(blank: str | None) -> None:
    """Two equal rows of a day are two transactions, in any order, with any texts and other ids."""
    rows = [row(reference=blank), row(reference=blank, creditor={"name": "Tea"}), row("7.00", blank)]
    again = [each | {"transaction_id": str(number)} for number, each in enumerate(rows)]
    assert total(pull(*rows), pull(*again[::-1], hours=24)) == -1800


def test_a_reference_that_comes_later_makes_no_second_row() -> None:
    """Some banks give it only days after the row: first it has none, then one of two equal rows has, then both."""
    first, second = row(reference=None), row(reference=None, creditor={"name": "Tea"})
    with_one, with_both = row(reference="2026-03-09.0"), row(reference="2026-03-09.1", creditor={"name": "Tea"})
    pulls = [pull(first), pull(with_one, second, hours=24), pull(with_one, with_both, hours=48)]
    assert total(*pulls[:1]) == -550
    assert total(*pulls[:2]) == -1100
    assert total(*pulls) == -1100


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=4), st.randoms())
def test_whichever_rows_have_a_reference_they_count_once(pulls: list[list[bool]], chance: Any) -> None:
    """Four equal rows in every pull, of which once a reference is there it stays."""
    known = [False] * 4
    events = []
    for hours, given_now in enumerate(pulls):
        known = [before or now for before, now in zip(known, given_now, strict=True)]
        rows = [row(reference=f"ref-{n}" if known[n] else None, note=str(n)) for n in range(4)]
        events.append(pull(*chance.sample(rows, 4), hours=hours))
    chance.shuffle(events)
    assert sum(counted(itertools.chain(*events)).values()) == -2200


@pytest.mark.parametrize("other", [{}, {"booking_date": "2026-03-08"}], ids=["same day", "other day"])
def test_a_reference_that_several_rows_share_names_none_of_them(other: dict[str, Any]) -> None:
    """A transfer and its fee: both count, whether the bank shows them together from the first pull on or later."""
    transfer, fee = row("250"), row("1.50", **other)
    assert total(pull(transfer, fee)) == -25150
    assert total(pull(transfer), pull(fee, transfer, hours=24), pull(transfer, fee, hours=48)) == -25150
    assert total(pull(transfer, fee), pull(fee, hours=24)) == -25150


@pytest.mark.parametrize("status", ["CNCL", "RJCT"])
def test_a_void_row_removes_no_other_that_shares_its_reference(status: str) -> None:
    """A fee that was refused takes back no transfer; the same row, void beside the booked one, does."""
    transfer, fee = row("250"), row("1.50", status=status)
    assert total(pull(transfer, fee)) == total(pull(fee, transfer)) == -25000
    assert total(pull(transfer), pull(fee, transfer, hours=24)) == -25000
    assert total(pull(transfer, row("250", status=status))) == 0
    assert total(pull(transfer), pull(fee, hours=24)) == 0


def test_a_row_that_is_told_twice_under_its_reference_counts_once() -> None:
    """On the seam of two pages, say: it is one row, with one day and amount."""
    assert total(pull(row(), row(transaction_id="y"))) == -550


@given(st.lists(st.sampled_from([None, "a", "b"]), min_size=4, max_size=4), st.permutations(range(4)), st.randoms())
def test_whichever_rows_share_a_reference_they_count_once(
    references: list[str | None], appearing: list[int], chance: Any
) -> None:
    """Four rows, one more in each pull."""
    rows = [row(f"{number + 1}.00", reference) for number, reference in enumerate(references)]
    pulls = [pull(*(rows[each] for each in appearing[:many]), hours=many) for many in range(1, 5)]
    chance.shuffle(pulls)
    assert sum(counted(itertools.chain(*pulls)).values()) == -1000


@pytest.mark.parametrize("filler", ["0", "000", "-", "--- ", "NOTPROVIDED", "nonref"])
def test_what_a_bank_writes_for_no_reference_is_none(filler: str) -> None:
    """Every row of the bank has it, in this pull and in those of other days, and a cancelled one cancels no other."""
    first, second = row(reference=filler), row("7.00", filler, booking_date="2026-03-10")
    assert total(pull(first), pull(second, hours=24), pull(row("1", filler, status="CNCL"), hours=48)) == -1250


@pytest.mark.parametrize("status", ["PDNG", "HOLD", "SCHD", "OTHR"])
def test_only_what_is_booked_counts(status: str) -> None:
    """Other rows have no lasting reference: the booked row that follows is a transaction of its own."""
    waiting = row(status=status, booking_date=None, value_date=None, transaction_date=None)
    assert total(pull(waiting)) == 0
    assert total(pull(waiting), pull(row("5.80"), hours=24)) == -580


@pytest.mark.parametrize("status", ["CNCL", "RJCT"])
def test_a_cancelled_row_counts_no_more(status: str) -> None:
    """If it has a reference, the row that was booked under it is removed; otherwise it says nothing."""
    assert total(pull(row()), pull(row(status=status), hours=24)) == 0
    assert pull(row(reference=None, status=status), kind=None) == ()


@pytest.mark.parametrize(
    ("dates", "posted_at"),
    [
        ({}, "2026-03-09"),
        ({"booking_date": None}, "2026-03-10"),
        ({"booking_date": "", "value_date": None}, "2026-03-08"),
    ],
)
def test_a_row_counts_from_when_it_was_booked(dates: dict[str, Any], posted_at: str) -> None:
    """Its value date, then its transaction date replaces a missing booking date."""
    assert only(Adapted(pull(row(**dates))), "transaction.recorded")["posted_at"] == posted_at


def test_the_other_party_describes_a_row() -> None:
    """The creditor of money that left, the debtor of money that came, else the first line of the payment."""
    rows = [row(), row(reference="2", credit_debit_indicator="CRDT"), row(reference="3", creditor=None)]
    texts = [data["description"] for type, data in values(Adapted(pull(*rows))) if type == "transaction.recorded"]
    assert texts == ["Coffee Shop", "The Holder", "CARD 1234"]


def test_rows_that_the_former_account_reported_are_left_out() -> None:
    """Where an account got another id, its history comes again."""
    known = {"hash": KnownAccount("main", since=date(2026, 3, 9))}
    assert counted(pull(row(booking_date="2026-03-08"), row(reference="2"), accounts=known)) == {"2": -550}


def test_the_pages_of_a_pull_are_one_body() -> None:
    """Equal rows on two pages are numbered together, so both count."""
    pages = [
        {"transactions": [row(reference=None)], "continuation_key": "more"},
        {"transactions": [row(reference=None)], "continuation_key": None},
    ]
    assert adapted_body(pages).events == pull(row(reference=None), row(reference=None))
    assert total(adapted_body(pages).events) == -1100


PAGE: dict[str, Any] = {"transactions": [row()]}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (PAGE | {"continuation_key": "more"}, "continuation_key"),
        ([PAGE | {"continuation_key": "more"}], "[0].continuation_key"),
        ([PAGE, PAGE], "[0].continuation_key"),
        ([PAGE | {"continuation_key": "more"}, {"balances": []}], "[1]"),
        ([PAGE | {"continuation_key": "more"}, None], "[1]"),
        ([PAGE | {"continuation_key": "more"}, {"transactions": 5}], "[1].transactions"),
    ],
)
def test_a_part_of_a_pull_is_refused(body: Any, where: str) -> None:
    """Alone, a page would number its rows anew, and equal rows of two pages would count once."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapted_body(body)
    assert (refused.value.code, refused.value.where) == ("not_this_form", where)


def entry(type: str, amount: Any = "100.00", **more: Any) -> dict[str, Any]:
    """One of an account's balances."""
    return {"name": "Balance", "balance_amount": {"amount": amount, "currency": "EUR"}, "balance_type": type} | more


@pytest.mark.parametrize(
    ("entries", "current", "as_of"),
    [
        ([entry("XPCD", "1"), entry("ITBD", "2")], "2.00", "2026-03-10T12:00:00+00:00"),
        ([entry("ITAV", "1"), entry("CLBD", "2", reference_date="2026-03-09")], "2.00", "2026-03-09"),
        ([entry("CLBD", "2", reference_date="2026-03-10")], "2.00", "2026-03-10T12:00:00+00:00"),
        ([entry("CLBD", "2", reference_date=None)], "2.00", "2026-03-10T12:00:00+00:00"),
        ([entry("OPBD", "2", reference_date="2026-03-10")], "2.00", "2026-03-09"),
        ([entry("ITAV", "1"), entry("XPCD", "2")], "2.00", "2026-03-10T12:00:00+00:00"),
        ([entry("OTHR", "1"), entry("ITAV", "2")], "2.00", "2026-03-10T12:00:00+00:00"),
        ([entry("CLBD", None), entry("XPCD", "2")], "2.00", "2026-03-10T12:00:00+00:00"),
    ],
)
def test_the_balance_taken_is_the_booked_one(entries: list[dict[str, Any]], current: str, as_of: str) -> None:
    """Booked before expected before available, at the moment when it was true: as for GoCardless."""
    reported = only(adapted_body({"balances": entries}), "balance.reported")
    assert (reported["current"], reported["as_of"]) == (current, as_of)


@pytest.mark.parametrize(("kind", "current"), [("asset", "-250.00"), ("liability", "250.00")])
def test_a_balance_below_zero_is_owed(kind: str, current: str) -> None:
    """A bank writes it as negative when the holder owes; our event of a liability says what is owed."""
    assert (
        only(adapted_body({"balances": [entry("CLBD", "-250")]}, kind=kind), "balance.reported")["current"] == current
    )


def test_an_available_balance_of_a_liability_is_none() -> None:
    """It is what is left of the limit of a card: alone it is no balance, beside one it is left out."""
    alone = values(adapted_body({"balances": [entry("ITAV", "750")]}, kind="liability"))
    assert [type for type, _ in alone] == ["account.changed"]
    both = {"balances": [entry("ITAV", "750"), entry("XPCD", "-250")]}
    assert "available" not in only(adapted_body(both, kind="liability"), "balance.reported")
    assert only(adapted_body(both), "balance.reported")["available"] == "750.00"


@pytest.mark.parametrize("entries", [[], [entry("CLBD", None)], [entry("FWAV")], [entry("OTHR")], [entry("VALU")]])
def test_balances_that_do_not_show_the_holders_money_are_no_event(entries: list[dict[str, Any]]) -> None:
    """The amount is null, of a day to come, or of a type that nobody explains."""
    assert [type for type, _ in values(adapted_body({"balances": entries}))] == ["account.changed"]


@pytest.mark.parametrize(
    ("type", "kind"),
    [("CACC", "asset"), ("SVGS", "asset"), ("CARD", "liability"), ("LOAN", "liability"), ("OTHR", None)],
)
def test_details_state_the_name_and_the_kind(type: str, kind: str | None) -> None:
    """So a balance that follows has its sign without a word of the caller."""
    details = {"uid": "u", "identification_hash": "hash", "name": "The Holder", "details": "Gold", "product": "Card"}
    changed = only(adapted_body(details | {"cash_account_type": type}, kind=None), "account.changed")
    assert (changed["name"], changed.get("kind")) == ("Gold", kind)


@pytest.mark.parametrize(
    ("body", "given", "where"),
    [
        ({"transactions": [row()]}, {"account_id": None}, "transactions[0].account_id"),
        ({"balances": [entry("CLBD")]}, {"account_id": None}, "balances.account_id"),
        ({"balances": [entry("CLBD")]}, {"kind": None}, "balances.kind"),
    ],
)
def test_what_only_the_caller_knows_must_be_given(body: Any, given: dict[str, Any], where: str) -> None:
    """No body names its account, and the sign of a balance depends on the kind."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapted_body(body, **given)
    assert (refused.value.code, refused.value.where) == ("untold", where)


@pytest.mark.parametrize("body", [None, [], {}, {"message": "x"}, {"transactions": {}}, [5]])
def test_a_body_of_another_form_is_refused(body: Any) -> None:
    """It is an error that Enable Banking answered, or has something else where an array must be."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapted_body(body)
    assert refused.value.code == "not_this_form"
