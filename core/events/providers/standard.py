"""Standard Webhooks from anyone: the payload is our own events."""

from __future__ import annotations

from core.errors import MalformedEvent, ProviderBodyRefused
from core.events.envelope import EVENT_LONGEST_BYTES, Envelope, check_envelope
from core.events.providers.rows import exact_json, rows_of
from core.events.providers.seam import Adapted, AdaptedEvent, Context


def adapt_webhook(body: object, context: Context) -> Adapted:  # noqa: ARG001
    """One event or an array of them; refused as a whole, naming the index, if one has a malformed envelope."""
    events = rows_of(body, "") if isinstance(body, list) else [body]
    return Adapted(events=tuple(_checked(event, f"[{index}]") for index, event in enumerate(events)))


def _checked(event: object, where: str) -> AdaptedEvent:
    try:
        envelope = check_envelope(event)
    except MalformedEvent as error:
        raise ProviderBodyRefused(error.code, error.message, where) from None
    text = exact_json(event, where)
    if len(text) > EVENT_LONGEST_BYTES:
        raise ProviderBodyRefused("too_large", f"an event has at most {EVENT_LONGEST_BYTES:,} bytes", where)
    return AdaptedEvent(spread_by(envelope), text)


def spread_by(envelope: Envelope) -> str:
    """The account, so that one account's events lie on one shard; what has none is spread by its id."""
    accounts = envelope.data.get("account_ids")
    first = accounts[0] if isinstance(accounts, list) and accounts else None
    named = (name for name in (envelope.data.get("account_id"), first) if isinstance(name, str) and name)
    return next(named, envelope.event_id)
