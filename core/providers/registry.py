"""The list of all providers, and what is looked up in it by the name of a provider or of a format."""

from dataclasses import replace
from datetime import UTC
from enum import StrEnum

from core.errors import EventRejected, InvalidField, NotFound, ProviderBodyRefused
from core.events.envelope import ID_LONGEST, SOURCE_LONGEST, Envelope, identifier
from core.goals.money import digits
from core.providers.contracts import Adapted, Context, context_from_json
from core.providers.enablebanking import ENABLE_BANKING
from core.providers.fields import MissingValue, names_of
from core.providers.gocardless import GOCARDLESS
from core.providers.mx import MX
from core.providers.plaid import PLAID
from core.providers.provider import ProviderSpec, Scheme, Webhook
from core.providers.rows import Reading, envelope_of, statements_of
from core.providers.simplefin import SIMPLEFIN
from core.providers.standard import STANDARD
from core.providers.teller import TELLER

PROVIDERS: tuple[ProviderSpec, ...] = (PLAID, TELLER, GOCARDLESS, MX, SIMPLEFIN, ENABLE_BANKING, STANDARD)
ORDER_LONGEST = 100

Format = StrEnum(  # type: ignore[misc]  # made from the records
    "Format", {name.upper().replace("-", "_"): name for provider in PROVIDERS for name in provider.formats}
)
Format.__doc__ = "The form of a body that was pulled from a provider: `POST /events?format=`."

Provider = StrEnum(  # type: ignore[misc]  # made from the records
    "Provider", {provider.name.upper(): provider.name for provider in PROVIDERS if provider.webhook is not None}
)
Provider.__doc__ = "Who posts a webhook: `POST /webhooks/{provider}`."


def provider_of(format: str) -> ProviderSpec:
    """The provider whose pulled bodies have this format; raises NotFound."""
    found = next((provider for provider in PROVIDERS if format in provider.formats), None)
    if found is None:
        raise NotFound("Format", format)
    return found


def check_has_windows(format: str) -> None:
    """Raise InvalidField if a pull of this format can't be the whole of its days."""
    if not provider_of(format).has_windows:
        formats = sorted(name for provider in PROVIDERS if provider.has_windows for name in provider.formats)
        raise InvalidField("complete_from", f"is for {', '.join(formats)} only: leave it out")


def webhook_of(provider: str) -> Webhook:
    """The webhook of the provider of this name; raises NotFound, also for a provider that has none."""
    found = next((each.webhook for each in PROVIDERS if each.name == provider), None)
    if found is None:
        raise NotFound("Provider", provider)
    return found


def scheme_of(provider: str) -> Scheme:
    """How the provider of this name signs; raises NotFound as `webhook_of` does."""
    return webhook_of(provider).scheme


def has_accounts(provider: str) -> bool:
    """Whether there is a provider of this name that has account ids of its own."""
    return any(each.name == provider and each.accounts_in is not None for each in PROVIDERS)


def adapt(format: str, body: object, context: Context) -> Adapted:
    """Turn a pulled body into events: accounts and balances first, then transactions.

    Raises ProviderBodyRefused, and nothing else, for a body that is not of the format, and for one where something is
    missing that only the caller can supply (code `untold`).
    """
    try:
        return Adapted(events=tuple(provider_of(format).formats[format](body, _checked(context))))
    except MissingValue as missing:
        raise ProviderBodyRefused(missing.code, missing.message, missing.where) from None


def adapt_webhook(provider: str, body: object, context: Context) -> Adapted:
    """Turn a webhook into events, refreshes (what is to be pulled), or nothing. Raises as `adapt` does."""
    try:
        return webhook_of(provider).adapt(body, _checked(context))
    except MissingValue as missing:
        raise ProviderBodyRefused(missing.code, missing.message, missing.where) from None


def envelopes_of_row(stored: Envelope) -> tuple[Envelope, ...]:
    """Read a row again that was stored whole (`milepost.provider.row`), and return the events that it becomes today.

    They have the ids and times that they would have had at first, so it does not matter when a row was understood.
    Raises EventRejected with the reason if it is still not understood.
    """
    data = stored.data
    name, order = data.get("part"), data.get("order", "")
    part = next((part for provider in PROVIDERS for part in provider.parts if part.name == name), None)
    if part is None or not isinstance(order, str) or len(order) > ORDER_LONGEST or "row" not in data:
        raise EventRejected("bad_value", "not a provider's row as it was stored: part, order and row are needed")
    context = context_from_json(data.get("context"), stored.source)
    statements = statements_of(part, data["row"], Reading(context, order))
    return tuple(envelope_of(statement, stored.source, order) for statement in statements)


def _checked(context: Context) -> Context:
    """The context with `pulled_at` in UTC. Refuses an invalid value here, where it is not blamed on a row."""
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


def accounts_named(source: str, body: object) -> frozenset[str]:
    """The provider's ids of the accounts in a pulled body or a webhook; none for a body of another form.

    `source` is the body's format, or the name of the provider that posted it.
    """
    find = _of_source(source).accounts_in
    return frozenset() if find is None else names_of(find(body))


def connections_named(source: str, body: object) -> frozenset[str]:
    """The items, enrollments or members that a webhook, or a list of members, is about; `source` as above."""
    find = _of_source(source).connections_in
    return frozenset() if find is None else names_of(find(body))


def _of_source(source: str) -> ProviderSpec:
    found = next((each for each in PROVIDERS if source == each.name or source in each.formats), None)
    if found is None:
        raise NotFound("Provider", source)
    return found
