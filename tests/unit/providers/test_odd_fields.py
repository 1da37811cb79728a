"""Each field that an adapter reads: null, absent, of another type. The row has a defined meaning, or a clear reason."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from core.errors import EventRejected, ProviderBodyRefused
from core.events.envelope import Envelope
from core.ingestion.parse import parse_event
from core.providers.contracts import Adapted, Context, KnownAccount, Refresh
from core.providers.registry import Format, Provider, adapt, adapt_webhook
from tests.unit.providers.adapted import PULLED, UTC_ZONE, context, facts, values
from tests.unit.providers.odd_fields import (
    ABSENT,
    TABLES,
    Changed,
    Kept,
    Nothing,
    Refused,
    Table,
    Variant,
    changed,
    variants,
)

VARIANTS = tuple(variants(TABLES))
# A member's state is that of its accounts, so one is registered.
KNOWN = {"ACT-9": KnownAccount("main", connection="MBR-1")}


def said(table: Table) -> Context:
    """What the caller says about the table's body."""
    return context(accounts=KNOWN, **table.said)


def of_row(adapted: Adapted, table: Table) -> dict[str, Any] | None:
    """The data of the event that the odd row became; None if there is none."""
    return next((data for type, data in values(adapted) if type == table.event), None)


def reasons(adapted: Adapted) -> list[str]:
    """Why the rows that were kept whole are not understood."""
    found = []
    for event in adapted.events:
        try:
            facts([event])
        except EventRejected as rejected:
            found.append(rejected.message)
    return found


def test_every_format_has_its_tables() -> None:
    """A new provider must say what its odd fields mean."""
    assert {table.format for table in TABLES} == set(Format)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.format} {table.row} {table.event}")
def test_the_bodies_of_the_table_are_understood(table: Table) -> None:
    """Otherwise the odd fields would prove nothing."""
    adapted = adapt(table.format, table.body, said(table))
    assert of_row(adapted, table) is not None
    assert reasons(adapted) == []


@pytest.mark.parametrize("format", Format)
def test_a_field_that_is_null_absent_or_of_another_type_is_understood_or_named(format: Format) -> None:
    """What the table says: another meaning, no event, a row that is kept with its reason, or a refused body."""
    of_format = [variant for variant in VARIANTS if variant.table.format is format]
    wrong = {variant.name: outcome for variant in of_format if not is_expected(variant, outcome := became(variant))}
    assert (len(of_format) > 0, wrong) == (True, {})


def became(variant: Variant) -> ProviderBodyRefused | tuple[list[str], dict[str, Any] | None]:
    """The refusal of the body; or why rows were not understood, and the data of the odd row's event."""
    table = variant.table
    try:
        adapted = adapt(table.format, variant.body, said(table))
    except ProviderBodyRefused as refused:
        return refused
    return reasons(adapted), of_row(adapted, table)


def is_expected(variant: Variant, found: ProviderBodyRefused | tuple[list[str], dict[str, Any] | None]) -> bool:
    """Whether that is what the table says."""
    table, outcome = variant.table, variant.outcome
    if isinstance(found, ProviderBodyRefused):
        return isinstance(outcome, Refused) and outcome.named in f"{found.where} {found.message}"
    why, data = found
    match outcome:
        case Kept():
            return len(why) == 1 and outcome.named in why[0]
        case Nothing():
            return why == [] and data is None
        case Changed():
            before = of_row(adapt(table.format, table.body, said(table)), table)
            assert before is not None
            return why == [] and data == {k: v for k, v in (before | outcome.values).items() if v is not None}
    return False


@pytest.mark.parametrize(
    ("format", "row", "field", "given"),
    [
        (Format.PLAID_SYNC, "added.0", "merchant_name", {}),
        (Format.TELLER, "0", "details.counterparty.name", {"kind": "asset", "currency": "USD"}),
        (Format.GOCARDLESS, "transactions.booked.0", "remittanceInformationUnstructured", {"account_id": "g1"}),
        (Format.MX, "transactions.0", "description", {}),
        (Format.SIMPLEFIN, "accounts.0.transactions.0", "payee", {"kind": "asset"}),
        (Format.ENABLEBANKING, "transactions.0", "creditor.name", {"account_id": "g1"}),
    ],
)
@pytest.mark.parametrize(
    ("number", "text"), [(1200, "1200"), (Decimal("12.50"), "12.50"), (0, "0"), (10**600, "1" + "0" * 499)]
)
def test_a_description_that_is_a_number_becomes_text(
    format: Format, row: str, field: str, given: dict[str, Any], number: Any, text: str
) -> None:
    """Some banks write a reference there. It is written as it came, and cut like any text."""
    table = next(each for each in TABLES if (each.format, each.row) == (format, row))
    body = changed(table.body, f"{row}.{field}", number)
    adapted = adapt(format, body, context(**given))
    assert next(data for type, data in values(adapted) if type == "transaction.recorded")["description"] == text


PLAID_HOOK = {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE", "item_id": "item-1"}
TELLER_HOOK = {
    "id": "wh_1",
    "type": "transactions.processed",
    "timestamp": "2026-03-10T11:00:00Z",
    "payload": {"enrollment_id": "enr", "transactions": []},
}
MX_HOOK = {"action": "updated", "type": "BALANCE", "member_guid": "MBR-1", "user_guid": "USR-1"}
NO_REFRESH = Adapted()
ASKED_PLAID = Adapted(refreshes=(Refresh("item-1", "transactions", "SYNC_UPDATES_AVAILABLE"),))
ASKED_TELLER = Adapted(refreshes=(Refresh("enr", "transactions", "transactions.processed"),))
ASKED_MX = Adapted(refreshes=(Refresh("MBR-1", "balances", "updated"),))
OF_USER = Adapted(refreshes=(Refresh("USR-1", "balances", "updated"),))
OF_OTHER = Adapted(refreshes=(Refresh("MBR-1", "other", "updated"),))
HOOKS: list[tuple[Provider, dict[str, Any], str, Adapted | str, Adapted | str]] = [
    (Provider.PLAID, PLAID_HOOK, "webhook_type", "webhook_type", "webhook_type"),
    (Provider.PLAID, PLAID_HOOK, "webhook_code", "webhook_code", "webhook_code"),
    (Provider.PLAID, PLAID_HOOK, "item_id", "names nothing", "names nothing"),
    (Provider.TELLER, TELLER_HOOK, "type", "type", "type"),
    (Provider.TELLER, TELLER_HOOK, "timestamp", ASKED_TELLER, "timestamp"),
    (Provider.TELLER, TELLER_HOOK, "payload", "names nothing", "names nothing"),
    (Provider.TELLER, TELLER_HOOK, "payload.transactions", ASKED_TELLER, "payload.transactions"),
    (Provider.TELLER, TELLER_HOOK, "payload.enrollment_id", NO_REFRESH, NO_REFRESH),
    (Provider.MX, MX_HOOK, "action", "action", "action"),
    (Provider.MX, MX_HOOK, "type", OF_OTHER, OF_OTHER),
    (Provider.MX, MX_HOOK, "member_guid", OF_USER, OF_USER),
    (Provider.MX, MX_HOOK, "user_guid", ASKED_MX, ASKED_MX),
]


@pytest.mark.parametrize(("provider", "body", "path", "missing", "other"), HOOKS)
def test_a_webhook_with_an_odd_field_points_to_what_to_pull_or_is_refused_by_name(
    provider: Provider, body: dict[str, Any], path: str, missing: Adapted | str, other: Adapted | str
) -> None:
    """Null and absent are the same; a number, a truth value and an object are none of the texts, times and arrays."""
    for value in (None, ABSENT):
        _check_hook(provider, changed(body, path, value), missing)
    for value in (True, {"a": 1}):
        _check_hook(provider, changed(body, path, value), other)


def _check_hook(provider: Provider, body: dict[str, Any], expected: Adapted | str) -> None:
    if isinstance(expected, Adapted):
        assert adapt_webhook(provider, body, context()) == expected
        return
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt_webhook(provider, body, context())
    assert expected in f"{refused.value.where} {refused.value.message}"


TRANSACTION = {"account_id": "a", "transaction_id": "t", "amount": "5.00", "currency": "USD", "posted_at": "2026-03-09"}
REPORT = {"account_id": "a", "current": "5.00", "currency": "USD", "as_of": "2026-03-09"}
CHANGED = {"account_id": "a", "name": "Main"}
CONNECTION = {"account_ids": ["a"], "state": "healthy"}
NO_TEXTS: tuple[Any, ...] = (5, True, [], {"a": 1})
# type, data, field, what null is, what absent is (the field of the refusal, or None for accepted), other types
OWN: list[tuple[str, dict[str, Any], str, str | None, str | None, tuple[Any, ...]]] = [
    *(("transaction.recorded", TRANSACTION, name, name, name, NO_TEXTS) for name in ("account_id", "transaction_id")),
    ("transaction.recorded", TRANSACTION, "amount", "amount", "amount", (True, "x", [], {"a": 1})),
    ("transaction.recorded", TRANSACTION, "currency", "currency", "currency", NO_TEXTS),
    ("transaction.recorded", TRANSACTION, "posted_at", "posted_at", "posted_at", NO_TEXTS),
    ("transaction.recorded", TRANSACTION, "pending", None, None, ("false", 0, [], {"a": 1})),
    ("transaction.recorded", TRANSACTION, "replaces", None, None, NO_TEXTS),
    ("transaction.recorded", TRANSACTION, "category", None, None, (True, [], {"a": 1})),
    ("transaction.recorded", TRANSACTION, "description", None, None, (True, [], {"a": 1})),
    ("transaction.recorded", TRANSACTION, "user_id", None, None, NO_TEXTS),
    ("transaction.recorded", TRANSACTION, "kind", None, None, (*NO_TEXTS, "both")),
    *(("transaction.removed", TRANSACTION, name, name, name, NO_TEXTS) for name in ("account_id", "transaction_id")),
    ("balance.reported", REPORT, "account_id", "account_id", "account_id", NO_TEXTS),
    ("balance.reported", REPORT, "current", None, "current", (True, "x", [], {"a": 1})),
    ("balance.reported", REPORT, "currency", "currency", "currency", NO_TEXTS),
    ("balance.reported", REPORT, "as_of", "as_of", "as_of", NO_TEXTS),
    ("balance.reported", REPORT, "available", None, None, (True, "x", [], {"a": 1})),
    ("account.changed", CHANGED, "account_id", "account_id", "account_id", NO_TEXTS),
    ("account.changed", CHANGED, "name", None, "name", (True, [], {"a": 1})),
    ("account.changed", CHANGED, "closed", None, None, ("false", 0, [], {"a": 1})),
    ("account.changed", CHANGED, "replaced_by", None, None, NO_TEXTS),
    ("connection.changed", CONNECTION, "account_ids", "account_ids", "account_ids", (5, True, "a", [], {"a": 1})),
    ("connection.changed", CONNECTION, "state", "state", "state", NO_TEXTS),
    ("connection.changed", CONNECTION, "reason", None, None, (True, [], {"a": 1})),
]


@pytest.mark.parametrize(("type", "data", "name", "null", "absent", "others"), OWN)
def test_an_event_of_our_own_with_an_odd_field_is_accepted_or_refused_by_name(
    type: str, data: dict[str, Any], name: str, null: str | None, absent: str | None, others: tuple[Any, ...]
) -> None:
    """What the drain makes of it: facts, or a dead letter whose reason names the field."""
    without = {field: value for field, value in data.items() if field != name}
    cases = [(data | {name: None}, null), (without, absent), *((data | {name: other}, name) for other in others)]
    for odd, named in cases:
        reason = _refusal(type, odd)
        assert reason is None if named is None else named in (reason or ""), odd


def _refusal(type: str, data: dict[str, Any]) -> str | None:
    try:
        parse_event(Envelope("e", "s", f"milepost.{type}", PULLED, None, data), UTC_ZONE, PULLED)
    except EventRejected as rejected:
        return rejected.message
    return None


def test_a_pending_that_is_null_is_false_and_a_number_in_a_text_is_that_text() -> None:
    """No amount depends on the text, and a transaction is posted unless its producer says otherwise."""
    data = TRANSACTION | {"pending": None, "description": 4711, "category": Decimal("1.50")}
    (stated,) = parse_event(Envelope("e", "s", "milepost.transaction.recorded", PULLED, None, data), UTC_ZONE, PULLED)
    assert stated.transaction is not None
    assert stated.transaction.is_posted
    assert (stated.transaction.description, stated.transaction.category) == ("4711", "1.50")


def test_a_report_without_a_current_balance_is_none_whatever_is_available() -> None:
    """What is left of a card's limit is no balance of the card; of an asset it may hold what is pending."""
    for kind in ("liability", "asset", None):
        data = REPORT | {"current": None, "available": "5000.00", "kind": kind}
        assert parse_event(Envelope("e", "s", "milepost.balance.reported", PULLED, None, data), UTC_ZONE, PULLED) == ()


@pytest.mark.parametrize("written", ["2026-03-09T00:00:00Z", "2026-03-09T00:00:00", "2026-03-09T23:30:00-08:00"])
@pytest.mark.parametrize(
    ("format", "path", "more", "given"),
    [
        (Format.PLAID_SYNC, "added.0.date", {"added.0.datetime": None}, {}),
        (Format.TELLER, "0.date", {}, {"kind": "asset", "currency": "USD"}),
        (
            Format.GOCARDLESS,
            "transactions.booked.0.bookingDate",
            {"transactions.booked.0.bookingDateTime": None},
            {"account_id": "g1"},
        ),
        (Format.ENABLEBANKING, "transactions.0.booking_date", {}, {"account_id": "g1"}),
    ],
)
def test_of_a_time_in_the_place_of_a_date_its_date_counts(
    format: Format, path: str, more: dict[str, Any], given: dict[str, Any], written: str
) -> None:
    """The date that is written, not the one that the time has in UTC."""
    table = next(each for each in TABLES if each.format == format and path.startswith(f"{each.row}."))
    body = changed(table.body, path, written)
    for other, value in more.items():
        body = changed(body, other, value)
    recorded = of_row(adapt(format, body, context(**given)), table)
    assert recorded is not None
    assert recorded["posted_at"] == "2026-03-09"
