"""Every example of Plaid's own API description, through the adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import ProviderBodyRefused
from core.events.envelope import parse_json
from core.providers.registry import Format, Provider, adapt, adapt_webhook
from core.providers.rows import ROW_TYPE
from tests.unit.providers.adapted import context, facts, only, values

EXAMPLES = Path(__file__).resolve().parents[4] / "shared" / "data" / "plaid" / "openapi_examples.json"
pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_file(), reason="Plaid's examples are not next to this repository (../shared/data/plaid)"
)
BODIES = {
    "/transactions/sync": (Format.PLAID_SYNC, 5),
    "/transactions/get": (Format.PLAID_SYNC, 4),
    "/accounts/get": (Format.PLAID_BALANCES, 6),
    "/accounts/balance/get": (Format.PLAID_BALANCES, 6),
    "/liabilities/get": (Format.PLAID_BALANCES, 8),
    "/investments/holdings/get": (Format.PLAID_BALANCES, 8),
}
POINTERS = {
    "TransactionsRemovedWebhook": "transactions",
    "ProcessorTransactionsRemovedWebhook": "transactions",
    "DefaultUpdateWebhook": "transactions",
    "ProcessorDefaultUpdateWebhook": "transactions",
    "SyncUpdatesAvailableWebhook": "transactions",
    "ProcessorSyncUpdatesAvailableWebhook": "transactions",
    "RecurringTransactionsUpdateWebhook": "recurring_transactions",
    "ProcessorRecurringTransactionsUpdateWebhook": "recurring_transactions",
    "IdentityDefaultUpdateWebhook": "identity",
    "HistoricalUpdateWebhook": "transactions",
    "ProcessorHistoricalUpdateWebhook": "transactions",
    "AuthDefaultUpdateWebhook": "auth",
    "RecurringNewTransferWebhook": "transfers",
    "RecurringTransferSkippedWebhook": "transfers",
    "RecurringCancelledWebhook": "transfers",
    "InvestmentsDefaultUpdateWebhook": "investments_transactions",
    "InvestmentsHistoricalUpdateWebhook": "investments_transactions",
    "HoldingsDefaultUpdateWebhook": "holdings",
    "LiabilitiesDefaultUpdateWebhook": "liabilities",
}


def example(kind: str, name: str) -> Any:
    """One example, parsed as the API parses a body."""
    parsed: Any = parse_json(EXAMPLES.read_bytes())
    return parsed[kind][name]["example-1"]


@pytest.mark.parametrize(("name", "format", "events"), [(name, *expected) for name, expected in BODIES.items()])
def test_every_body_is_understood_whole(name: str, format: Format, events: int) -> None:
    """No row becomes a dead letter: each is an event that takes effect."""
    adapted = adapt(format, example("responses", name), context())
    assert len(adapted.events) == events
    assert ROW_TYPE not in {f"milepost.{type}" for type, _ in values(adapted)}
    assert len(facts(adapted.events)) == events


def test_a_body_of_neither_form_is_refused() -> None:
    """Recurring streams are guesses about the future, neither balances nor transactions."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt(Format.PLAID_SYNC, example("responses", "/transactions/recurring/get"), context())
    assert refused.value.code == "not_this_form"


def test_a_value_of_shares_is_rounded_to_cents() -> None:
    """A 401k of 24,580.0605 USD is reported as 24,580.06, as its bank would show it."""
    adapted = adapt(Format.PLAID_BALANCES, example("responses", "/investments/holdings/get"), context())
    balances = {data["account_id"]: data["current"] for type, data in values(adapted) if type == "balance.reported"}
    assert balances["k67E4xKvMlhmleEa4pg9hlwGGNnnEeixPolGm"] == "24580.06"


def test_every_webhook_is_a_pointer() -> None:
    """None of the nineteen has a time of its own, so none of them states a fact about a transaction."""
    parsed: Any = parse_json(EXAMPLES.read_bytes())
    assert len(parsed["webhooks"]) == 19
    for name in parsed["webhooks"]:
        adapted = adapt_webhook(Provider.PLAID, example("webhooks", name), context())
        assert [pointer.kind for pointer in adapted.refreshes] == [POINTERS[name]]
        assert adapted.events == ()


def test_the_page_is_read_with_the_signs_and_times_of_plaid() -> None:
    """A purchase of 72.10 lowers worth, at the instant the bank gives, and replaces its pending row."""
    adapted = adapt(Format.PLAID_SYNC, example("responses", "/transactions/sync"), context())
    posted = next(data for type, data in values(adapted) if type == "transaction.recorded" and not data["pending"])
    assert posted["amount"] == "-72.10"
    assert posted["posted_at"] == "2023-09-24T11:01:01+00:00"
    assert posted["replaces"] == "no86Eox18VHMvaOVL7gPUM9ap3aR1LsAVZ5nc"
    assert only(adapted, "balance.reported")["current"] == "110.94"
    assert only(adapted, "transaction.removed")["transaction_id"] == "CmdQTNgems8BT1B7ibkoUXVPyAeehT3Tmzk0l"
