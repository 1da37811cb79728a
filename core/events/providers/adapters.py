"""The adapters by format and by provider, and the way back to a row that was kept whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC

from core.errors import EventRejected, InvalidField, ProviderBodyRefused
from core.events.envelope import ID_LONGEST, SOURCE_LONGEST, Envelope, identifier
from core.events.providers import gocardless, mx, mx_webhooks, plaid, plaid_webhooks, standard, teller
from core.events.providers.fields import Untold
from core.events.providers.kept_context import context_from_json
from core.events.providers.rows import Part, Reading, statements_of
from core.events.providers.seam import Adapted, AdaptedEvent, Context, Format, Provider
from core.events.providers.statements import envelope_of
from core.goals.money import digits

_PULLED: dict[Format, Callable[[object, Context], Iterator[AdaptedEvent]]] = {
    Format.PLAID_SYNC: plaid.adapt_sync,
    Format.PLAID_BALANCES: plaid.adapt_balances,
    Format.TELLER: teller.adapt_pulled,
    Format.GOCARDLESS: gocardless.adapt_pulled,
    Format.MX: mx.adapt_pulled,
}
_WEBHOOKS: dict[Provider, Callable[[object, Context], Adapted]] = {
    Provider.PLAID: plaid_webhooks.adapt_webhook,
    Provider.TELLER: teller.adapt_webhook,
    Provider.MX: mx_webhooks.adapt_webhook,
    Provider.STANDARD: standard.adapt_webhook,
}
_PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        *(plaid.ACCOUNT, plaid.TRANSACTION, plaid.REMOVED),
        *(teller.ACCOUNT, teller.BALANCES, teller.TRANSACTION),
        *(gocardless.BOOKED, gocardless.PENDING, gocardless.BALANCES, gocardless.DETAILS, gocardless.METADATA),
        *mx.PARTS.values(),
    )
}
ORDER_LONGEST = 100


def adapt(format: Format, body: object, context: Context) -> Adapted:
    """What a pulled body becomes: accounts and balances first, then what moved.

    Raises ProviderBodyRefused, and nothing else, for a body that is not of the form, and for one that lacks what only
    the caller can tell (`untold`).
    """
    try:
        return Adapted(events=tuple(_PULLED[format](body, _checked(context))))
    except Untold as untold:
        raise ProviderBodyRefused(untold.code, untold.message, untold.where) from None


def adapt_webhook(provider: Provider, body: object, context: Context) -> Adapted:
    """What a webhook becomes: events, pointers to what is to be pulled, or nothing. Raises as `adapt` does."""
    try:
        return _WEBHOOKS[provider](body, _checked(context))
    except Untold as untold:
        raise ProviderBodyRefused(untold.code, untold.message, untold.where) from None


def envelopes_of_row(kept: Envelope) -> tuple[Envelope, ...]:
    """Read a row that was kept whole (`milepost.provider.row`) again: the events that it would become today.

    They have the ids and times that they would have had at first, so it does not matter when a row was understood.
    Raises EventRejected with the reason why it still is not.
    """
    data = kept.data
    name, order = data.get("part"), data.get("order", "")
    part = _PARTS.get(name) if isinstance(name, str) else None
    if part is None or not isinstance(order, str) or len(order) > ORDER_LONGEST or "row" not in data:
        raise EventRejected("bad_value", "not a provider's row as it was kept: part, order and row are needed")
    context = context_from_json(data.get("context"), kept.source)
    statements = statements_of(part, data["row"], Reading(context, order))
    return tuple(envelope_of(statement, kept.source, order) for statement in statements)


def _checked(context: Context) -> Context:
    """The caller's words as rows will use them: one that cannot be is no row's fault. The pull is in UTC."""
    for name, longest in (("source", SOURCE_LONGEST), ("account_id", ID_LONGEST), ("user_id", ID_LONGEST)):
        value = getattr(context, name)
        try:
            if value is not None:
                identifier(value, name, longest)
        except EventRejected as error:
            raise ProviderBodyRefused("not_this_form", error.message, name) from None
    if context.kind not in (None, "asset", "liability"):
        raise ProviderBodyRefused("not_this_form", "must be asset or liability", "kind")
    try:
        if context.currency is not None:
            digits(context.currency)
    except InvalidField as error:
        raise ProviderBodyRefused("not_this_form", error.message, "currency") from None
    return context if context.pulled_at is None else replace(context, pulled_at=context.pulled_at.astimezone(UTC))
