"""Standard Webhooks: their payload is our own events."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import ProviderBodyRefused
from core.events.envelope import parse_json
from core.providers.registry import Provider, accounts_named, adapt_webhook
from tests.unit.providers.adapted import context, counted

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e1",
    "source": "mine",
    "type": "milepost.transaction.recorded",
    "time": "2026-03-10T11:00:00Z",
    "data": {"account_id": "a", "transaction_id": "t", "amount": "-1.10", "currency": "USD", "posted_at": "2026-03-09"},
}


def test_one_event_or_an_array_of_them_comes_through_as_it_is() -> None:
    """Each goes to the shard of its account and keeps every digit."""
    precise = EVENT | {"data": EVENT["data"] | {"amount": parse_json(b"123456789012.10"), "note": "caf\u00e9"}}
    adapted = adapt_webhook(Provider.STANDARD, [EVENT, precise], context())
    assert [event.account_id for event in adapted.events] == ["a", "a"]
    assert [parse_json(event.event) for event in adapted.events] == [EVENT, precise]
    assert counted(adapt_webhook(Provider.STANDARD, EVENT, context()).events) == {"t": -110}
    assert accounts_named(Provider.STANDARD, EVENT) == frozenset()


@pytest.mark.parametrize(
    "bad", [None, 5, {}, EVENT | {"time": "soon"}, EVENT | {"data": "x" * 70_000}, EVENT | {"id": ""}]
)
def test_a_malformed_event_refuses_the_body_and_is_named(bad: object) -> None:
    """None of its events is accepted."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt_webhook(Provider.STANDARD, [EVENT, bad], context())
    assert refused.value.where == "[1]"


def test_an_event_beyond_the_limit_is_refused() -> None:
    """No event has more than 65,536 bytes, however it comes."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt_webhook(Provider.STANDARD, EVENT | {"data": EVENT["data"] | {"note": "x" * 66_000}}, context())
    assert refused.value.code == "too_large"
