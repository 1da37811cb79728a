"""The providers: which adapter reads which format, and which scheme signs whose webhooks."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from types import MappingProxyType
from typing import Any

from core.errors import EventRejected, InvalidField, ProviderBodyRefused
from core.events.envelope import ID_LONGEST, SOURCE_LONGEST, Envelope, identifier
from core.goals.money import digits
from core.providers import gocardless, mx, plaid, standard, teller
from core.providers.contracts import (
    Adapted,
    AdaptedEvent,
    Context,
    Format,
    Provider,
    context_from_json,
)
from core.providers.fields import MissingValue, names_of
from core.providers.gocardless import account_in_gocardless
from core.providers.mx import accounts_in_mx, members_in_mx
from core.providers.plaid import accounts_in_plaid
from core.providers.rows import Part, Reading, envelope_of, statements_of
from core.providers.teller import accounts_in_teller
from core.providers.webhooks import Delivery

_PULLED: dict[Format, Callable[[object, Context], Iterator[AdaptedEvent]]] = {
    Format.PLAID_SYNC: plaid.adapt_sync,
    Format.PLAID_BALANCES: plaid.adapt_balances,
    Format.TELLER: teller.adapt_pulled,
    Format.GOCARDLESS: gocardless.adapt_pulled,
    Format.MX: mx.adapt_pulled,
}
_WEBHOOKS: dict[Provider, Callable[[object, Context], Adapted]] = {
    Provider.PLAID: plaid.adapt_webhook,
    Provider.TELLER: teller.adapt_webhook,
    Provider.MX: mx.adapt_webhook,
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
    except MissingValue as missing:
        raise ProviderBodyRefused(missing.code, missing.message, missing.where) from None


def adapt_webhook(provider: Provider, body: object, context: Context) -> Adapted:
    """What a webhook becomes: events, pointers to what is to be pulled, or nothing. Raises as `adapt` does."""
    try:
        return _WEBHOOKS[provider](body, _checked(context))
    except MissingValue as missing:
        raise ProviderBodyRefused(missing.code, missing.message, missing.where) from None


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


def accounts_named(source: Format | Provider, body: object) -> frozenset[str]:
    """The provider's ids of the accounts in a pulled body or a webhook; none for what is not of that form."""
    return names_of(_ACCOUNTS[source.value](body))


def connections_named(source: Format | Provider, body: object) -> frozenset[str]:
    """The items, enrollments or members that a webhook, or a list of members, is about."""
    if not isinstance(body, dict):
        return frozenset()
    payload = body.get("payload")
    find = _CONNECTIONS.get(source.value)
    return frozenset() if find is None else names_of(find(body, payload if isinstance(payload, dict) else {}))


_ACCOUNTS: dict[str, Callable[[object], Iterable[object]]] = {
    "plaid-sync": accounts_in_plaid,
    "plaid-balances": accounts_in_plaid,
    "plaid": accounts_in_plaid,
    "teller": accounts_in_teller,
    "gocardless": account_in_gocardless,
    "mx": accounts_in_mx,
    "standard": lambda _: (),
}
_CONNECTIONS: dict[str, Callable[[dict[str, Any], dict[str, Any]], Iterable[object]]] = {
    "plaid": lambda body, _: (body.get("item_id"),),
    "teller": lambda _, payload: (payload.get("enrollment_id"),),
    "mx": lambda body, _: members_in_mx(body),
}


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a provider's secrets are read, deliveries verified, and what a 401 asks for.

    `decoys` are checked in the place of the secrets of an address that does not exist or has none yet, so that it takes
    as long. They are no secrets: what is signed with one is not to be taken.
    """

    read_secrets: Callable[[str], tuple[str, ...]]
    verify: Callable[[Delivery, Sequence[str]], None]
    decoys: tuple[str, ...]
    challenge: str


def _one(check: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    return lambda text: (check(text),)


_NO_ONES = "no-one-knows-this-secret-since-it-is-checked-in-vain"
SCHEMES = MappingProxyType(
    {
        Provider.PLAID: Scheme(plaid.check_secret, plaid.verify, (json.dumps({"kid": ""}),), "Plaid-Verification"),
        Provider.TELLER: Scheme(_one(teller.check_secret), teller.verify, (_NO_ONES,), "Teller-Signature"),
        Provider.MX: Scheme(_one(mx.check_secret), mx.verify, (f"nobody:{_NO_ONES}",), 'Basic realm="milepost"'),
        Provider.STANDARD: Scheme(
            _one(standard.check_secret),
            standard.verify,
            (standard.SECRET + base64.b64encode(_NO_ONES.encode()).decode(),),
            "Webhook-Signature",
        ),
    }
)
