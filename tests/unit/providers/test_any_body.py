"""Whatever a body has in it, it becomes events, pointers or one typed refusal; no row is lost, no amount inexact."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import EventRejected, ProviderBodyRefused
from core.events.envelope import EVENT_LONGEST_BYTES, Envelope, check_envelope, identifier, parse_json
from core.ingestion.parse import parse_event
from core.providers.contracts import Adapted, AdaptedEvent, Context, KnownAccount
from core.providers.registry import Format, Provider, accounts_named, adapt, adapt_webhook, connections_named
from core.providers.rows import ROW_TYPE
from tests.budget import examples
from tests.unit.providers import (
    test_enablebanking,
    test_gocardless,
    test_mx,
    test_plaid,
    test_plaid_webhooks,
    test_simplefin,
    test_standard,
    test_teller,
)
from tests.unit.providers.adapted import PULLED, UTC_ZONE, context
from tests.unit.providers.mutations import anything, mutated

BODIES: dict[Format, list[Any]] = {
    Format.PLAID_SYNC: [
        {
            "accounts": [test_plaid.account("credit", "1.50")],
            "added": [test_plaid.row(), test_plaid.row("t2", datetime="2026-03-09T10:00:00Z")],
            "modified": [test_plaid.row("t3", pending=True)],
            "removed": [{"account_id": "a", "transaction_id": "t4"}],
        }
    ],
    Format.PLAID_BALANCES: [
        {"accounts": [test_plaid.account("depository", 5, last_updated_datetime="2026-03-10T06:00:00Z")]}
    ],
    Format.TELLER: [
        [test_teller.row(), test_teller.row("txn_2", status="pending")],
        [{"id": "acc", "enrollment_id": "enr", "name": "A", "type": "credit", "status": "open"}],
        {"account_id": "acc", "ledger": "1.00", "available": "2.00"},
    ],
    Format.GOCARDLESS: [
        {
            "transactions": {
                "booked": [test_gocardless.row(), test_gocardless.row(internal=None)],
                "pending": [test_gocardless.row()],
            }
        },
        {
            "balances": [
                test_gocardless.entry("interimAvailable"),
                test_gocardless.entry("closingBooked", referenceDate="2026-03-09"),
            ]
        },
        {"account": {"name": "A", "cashAccountType": "CARD", "status": "enabled"}},
        {"id": "acc", "iban": "DE1", "status": "READY", "last_updated": "2026-03-09T12:00:00Z"},
    ],
    Format.MX: [
        {"transactions": [test_mx.row(), test_mx.row(guid="TRN-2", posted_at=test_mx.NOON)]},
        {"transactions": [test_mx.row(has_been_split=True), test_mx.row(guid="TRN-3", parent_guid="TRN-1")]},
        {"account": {"guid": "ACT-1", "type": "LOAN", "balance": "5", "currency_code": "USD", "is_closed": False}},
        {"members": [{"guid": "enr", "connection_status": "CONNECTED"}]},
    ],
    Format.SIMPLEFIN: [
        {"errors": [], "accounts": [test_simplefin.account(test_simplefin.row(), id="acc")]},
        test_simplefin.second_version({"code": "con.auth", "msg": "Sign in again", "conn_id": "CON-1"}),
    ],
    Format.ENABLEBANKING: [
        {"transactions": [test_enablebanking.row(), test_enablebanking.row(reference=None)]},
        [
            {"transactions": [test_enablebanking.row(status="PDNG")], "continuation_key": "more"},
            {"transactions": [test_enablebanking.row(status="CNCL")], "continuation_key": None},
        ],
        {"balances": [test_enablebanking.entry("ITAV"), test_enablebanking.entry("CLBD", reference_date="2026-03-09")]},
        {"identification_hash": "acc", "cash_account_type": "CARD", "details": "Gold"},
    ],
}
HOOKS: dict[Provider, list[Any]] = {
    Provider.PLAID: [
        test_plaid_webhooks.hook("ERROR", error={"error_code": "X"}),
        {
            "webhook_type": "TRANSACTIONS",
            "webhook_code": "TRANSACTIONS_REMOVED",
            "account_id": "a",
            "removed_transactions": ["t"],
        },
    ],
    Provider.TELLER: [
        {
            "id": "w",
            "type": "transactions.processed",
            "timestamp": "2026-03-10T11:00:00Z",
            "payload": {"enrollment_id": "enr", "transactions": [test_teller.row()]},
        },
        {
            "id": "w",
            "type": "enrollment.disconnected",
            "timestamp": "2026-03-10T11:00:00Z",
            "payload": {"enrollment_id": "enr", "reason": "x"},
        },
    ],
    Provider.MX: [
        test_mx.hook(),
        {"type": "BALANCE", "action": "member_data_updated", "member_guid": "enr"},
        {"guid": "enr", "action": "updated", "connection_status": "DENIED"},
    ],
    Provider.STANDARD: [test_standard.EVENT, [test_standard.EVENT]],
}
KNOWN = {
    "acc": KnownAccount("main", "u", "liability", "USD", date(2026, 3, 1), "enr"),
    "a": KnownAccount("other", recorded_kind="asset", sign="reversed"),
}
contexts = st.sampled_from(
    [
        context(accounts=KNOWN, account_id="acc", currency="EUR"),
        context(account_id="acc", user_id="u", currency="USD", kind="asset"),
        context(None),
    ]
)


def rejection_of(envelope: Envelope) -> str | None:
    """The code with which the drain makes an event a dead letter, or None."""
    try:
        parse_event(envelope, UTC_ZONE, PULLED)
    except EventRejected as rejected:
        return rejected.code
    return None


def adapted_or_refused(adapt_body: Callable[[], Adapted]) -> Adapted:
    """What a body becomes; nothing if it is refused with one of the four codes."""
    try:
        return adapt_body()
    except ProviderBodyRefused as refused:
        if refused.code not in ("not_this_form", "untold", "too_large", "clock_ahead"):
            raise
    return Adapted()


def check(events: tuple[AdaptedEvent, ...]) -> list[str]:
    """Assert that the drain accepts every event, or that it is a row kept whole; returns the types of the events."""
    types = []
    for event in events:
        assert len(event.event) <= EVENT_LONGEST_BYTES
        envelope = check_envelope(parse_json(event.event))
        types.append(envelope.type)
        rejected = rejection_of(envelope)
        assert (rejected is not None) == (envelope.type == ROW_TYPE) or rejected in ("far_future", "clock_ahead")
    return types


@pytest.mark.parametrize("format", list(Format))
@settings(max_examples=examples(40))
@given(data=st.data(), said=contexts)
def test_any_pulled_body_is_events_or_refused(format: Format, data: st.DataObject, said: Context) -> None:
    """A body with anything anywhere in it."""
    body = data.draw(st.one_of(mutated(BODIES[format]), anything))
    accounts_named(format, body)
    adapted = adapted_or_refused(lambda: adapt(format, body, said))
    check(adapted.events)
    assert adapted_or_refused(lambda: adapt(format, body, said)) == adapted


@pytest.mark.parametrize("provider", [provider for provider in Provider if provider is not Provider.STANDARD])
@settings(max_examples=examples(40))
@given(data=st.data(), said=contexts)
def test_any_webhook_is_events_or_pointers_or_refused(provider: Provider, data: st.DataObject, said: Context) -> None:
    """A webhook with anything anywhere in it."""
    body = data.draw(st.one_of(mutated(HOOKS[provider]), anything))
    accounts_named(provider, body)
    connections_named(provider, body)
    adapted = adapted_or_refused(lambda: adapt_webhook(provider, body, said))
    check(adapted.events)
    for pointer in adapted.refreshes:
        for said_of_it in (pointer.subject, pointer.kind, pointer.reason):
            identifier(said_of_it, "what a database takes")


@settings(max_examples=examples(40))
@given(st.one_of(mutated(HOOKS[Provider.STANDARD]), anything))
def test_any_payload_of_standard_webhooks_is_events_with_good_envelopes_or_refused(body: Any) -> None:
    """Only the drain checks what such an event states, as for any event."""
    try:
        adapted = adapt_webhook(Provider.STANDARD, body, context())
    except ProviderBodyRefused:
        return
    for event in adapted.events:
        check_envelope(parse_json(event.event))


@settings(max_examples=examples(40))
@given(mutated(BODIES[Format.PLAID_SYNC]))
def test_no_row_of_a_page_is_lost(body: Any) -> None:
    """Each row of a section becomes a transaction, a removal or a row that is kept whole."""
    try:
        types = check(adapt(Format.PLAID_SYNC, body, context(currency="USD", account_id="a")).events)
    except ProviderBodyRefused:
        return
    rows = sum(len(body.get(section) or []) for section in ("added", "modified", "removed"))
    accounts = len(body.get("accounts") or [])
    stated = sum(type.startswith("milepost.transaction.") for type in types)
    assert rows <= stated + types.count(ROW_TYPE) <= rows + accounts


@settings(max_examples=examples(40))
@given(data=st.data())
def test_any_kept_row_is_facts_or_rejected(data: st.DataObject) -> None:
    """Anyone may post such an event; the parser answers with facts or with a reason."""
    adapted = adapt(Format.PLAID_SYNC, {"added": [test_plaid.row() | {"amount": "x"}]}, context(accounts=KNOWN))
    kept = check_envelope(parse_json(adapted.events[-1].event))
    data_of_row = data.draw(mutated([kept.data, kept.data | {"row": test_plaid.row()}]))
    if not isinstance(data_of_row, dict):
        return
    rejection_of(Envelope("e", "s", ROW_TYPE, PULLED, None, data_of_row))


@pytest.mark.parametrize(
    ("format", "body"),
    [
        (Format.PLAID_SYNC, {"added": [0] * 10_001}),
        (Format.TELLER, [test_teller.row(), *[0] * 10_000]),
        (Format.GOCARDLESS, {"transactions": {"booked": [0] * 10_001}}),
        (Format.MX, {"transactions": [0] * 10_001}),
        (Format.SIMPLEFIN, {"accounts": [0] * 10_001}),
        (Format.SIMPLEFIN, {"accounts": [{"transactions": [0] * 10_001}]}),
        (Format.ENABLEBANKING, {"transactions": [0] * 10_001}),
    ],
)
def test_more_rows_than_any_provider_gives_at_once_are_refused(format: Format, body: Any) -> None:
    """Otherwise each of a million tiny rows would become an event."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt(format, body, context(account_id="a"))
    assert refused.value.code == "too_large"
