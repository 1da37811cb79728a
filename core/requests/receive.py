"""The acts on what providers send: admit_delivery, take_delivery, read_pulled.

A delivery, with what a crash after each step leaves behind:

1. BEGIN; find the address, verify the signature     nothing
2. read the body, record what it points to, COMMIT   the request to refresh; the next try asks for it once more
3. XADD its events                                   the events; the provider has no answer and delivers again
4. answer 202                                        nothing

Repeated deliveries state the same facts, which have keys; there is no table of deliveries seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from core.events.providers import (
    Adapted,
    Context,
    Format,
    Provider,
    accounts_named,
    adapt,
    adapt_webhook,
    connections_named,
)
from core.requests.check_id import is_id
from core.requests.provider_accounts import AccountProvider, know_accounts
from core.requests.refresh_requests import ask_for_key, record_refreshes
from core.requests.webhooks import NoSecretsKey, secrets_of
from core.signatures.delivery import Delivery, SignatureRefused, UnknownVerificationKey
from core.signatures.schemes import SCHEMES
from core.signatures.seal import Sealer
from core.store import webhook_endpoints as store
from core.store.tenants import Tenant
from core.store.webhook_endpoints import Endpoint

_PROVIDERS = {
    Format.PLAID_SYNC: AccountProvider.PLAID,
    Format.PLAID_BALANCES: AccountProvider.PLAID,
    Format.TELLER: AccountProvider.TELLER,
    Format.GOCARDLESS: AccountProvider.GOCARDLESS,
    Format.MX: AccountProvider.MX,
}
Candidates = Sequence[tuple[Endpoint, Tenant]]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A delivery that is signed as the address asks: whose it is."""

    tenant: Tenant
    endpoint_id: str


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """A delivery that is refused; why is for our log alone, since a sender who is nobody must learn nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Told:
    """What the caller tells of a body that was pulled."""

    pulled_at: datetime | None = None
    account_id: str | None = None
    user_id: str | None = None
    currency: str | None = None
    kind: str | None = None


def find_addresses(
    session: Session, provider: Provider, *, endpoint_id: str | None, tenant: Tenant | None
) -> Candidates:
    """The addresses that a delivery may be for: the one it names, those of the tenant it names, or the only one."""
    if endpoint_id is not None:
        return store.find_endpoint(session, provider, endpoint_id) if is_id(endpoint_id) else []
    if tenant is not None:
        return store.endpoints_of(session, provider, tenant.name)
    return store.sole_endpoint(session, provider)


def admit_delivery(
    session: Session, sealer: Sealer | None, provider: Provider, candidates: Candidates, delivery: Delivery
) -> Admitted | NotAdmitted:
    """Whose a delivery is, by the first of the addresses whose secrets it is signed with.

    Where there is none, or an address has no secret yet, it is checked all the same, in vain. A key that it names and
    that is not known is asked for; that is to be committed though the delivery is refused. Raises NoSecretsKey and
    CannotUnseal.
    """
    if sealer is None:
        raise NoSecretsKey
    refusals: list[tuple[Tenant, SignatureRefused]] = []
    for endpoint, tenant in candidates:
        held = [each.text for each in secrets_of(sealer, endpoint) if each.is_good(delivery.arrived_at)]
        refusal = _refusal(provider, delivery, held)
        if refusal is None:
            return Admitted(tenant, endpoint.endpoint_id)
        refusals.append((tenant, refusal))
    if not refusals:
        return NotAdmitted(f"{provider}: there is no such address ({_refusal(provider, delivery, [])})")
    tenant, refusal = refusals[0]
    if isinstance(refusal, UnknownVerificationKey):
        ask_for_key(session, tenant.name, provider, refusal.key_id, delivery.arrived_at)
    return NotAdmitted(f"{provider} of {tenant.name}: {refusal}")


def take_delivery(
    session: Session, admitted: Admitted, provider: Provider, body: object, now: datetime
) -> tuple[Adapted, int]:
    """What a delivery's body becomes; what it points to is recorded, and counted. Raises ProviderBodyRefused."""
    tenant = admitted.tenant.name
    names, connections = accounts_named(provider, body), connections_named(provider, body)
    known = {} if provider is Provider.STANDARD else know_accounts(session, tenant, provider, names, connections)
    adapted = adapt_webhook(provider, body, Context(pulled_at=now, source=provider.value, accounts=known))
    return adapted, record_refreshes(session, tenant, provider, adapted.refreshes, now)


def read_pulled(session: Session, tenant: Tenant, format: Format, body: object, told: Told) -> Adapted:
    """What a body that was pulled becomes; raises ProviderBodyRefused."""
    provider = _PROVIDERS[format]
    names = set(accounts_named(format, body)) | ({told.account_id} if told.account_id is not None else set())
    context = Context(
        pulled_at=told.pulled_at,
        source=provider.value,
        accounts=know_accounts(session, tenant.name, provider, names, connections_named(format, body)),
        account_id=told.account_id,
        user_id=told.user_id,
        currency=told.currency,
        kind=told.kind,
    )
    return adapt(format, body, context)


def _refusal(provider: Provider, delivery: Delivery, held: Sequence[str]) -> SignatureRefused | None:
    """Why a delivery is not taken, None if it is.

    Where there is no secret it is checked all the same, so that it takes as long, but in vain: anyone can read in the
    code what it is checked against, so that what fits is not taken either.
    """
    scheme = SCHEMES[provider]
    try:
        scheme.verify(delivery, held or scheme.decoys)
    except SignatureRefused as refused:
        return refused
    return None if held else SignatureRefused("it is signed with what is checked in vain where there is no secret")
