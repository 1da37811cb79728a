"""What providers send: it verifies deliveries, turns them and pulled bodies into events, and requests refreshes."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from core.errors import InvalidField, NotFound
from core.messages.others import refresh_requested
from core.providers.contracts import Adapted, Context, Refresh
from core.providers.registry import (
    accounts_named,
    adapt,
    adapt_webhook,
    connections_named,
    has_accounts,
    provider_of,
    scheme_of,
)
from core.providers.sealing import Sealer
from core.providers.webhooks import Delivery, SignatureRefused, UnknownVerificationKey
from core.services.inputs import is_id
from core.services.pages import Page, cut, moment_and_id_after
from core.services.provider_accounts import read_known_accounts
from core.services.webhooks import NoSecretsKey, secrets_of
from core.store import providers as store
from core.store.driver import Session
from core.store.outbox import write_messages
from core.store.providers import Endpoint, OpenPosition, RefreshRow
from core.store.tenants import Tenant

Candidates = Sequence[tuple[Endpoint, Tenant]]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A delivery with a valid signature: the tenant and the endpoint that it belongs to."""

    tenant: Tenant
    endpoint_id: str


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """A delivery that is refused. The reason is only for our log: an unknown sender must learn nothing from it."""

    reason: str


@dataclass(frozen=True, slots=True)
class PullDetails:
    """What the caller states about a body that was pulled from a provider; see Context for what it means."""

    pulled_at: datetime | None = None
    account_id: str | None = None
    user_id: str | None = None
    currency: str | None = None
    kind: str | None = None
    complete: tuple[date, date] | None = None


def find_endpoints(session: Session, provider: str, *, endpoint_id: str | None, tenant: Tenant | None) -> Candidates:
    """The endpoints that a delivery may be for: the one it names, those of the tenant it names, or the only one."""
    if endpoint_id is not None:
        return store.find_endpoint(session, provider, endpoint_id) if is_id(endpoint_id) else []
    if tenant is not None:
        return store.endpoints_of(session, provider, tenant.name)
    return store.sole_endpoint(session, provider)


def admit_delivery(
    session: Session, sealer: Sealer | None, provider: str, candidates: Candidates, delivery: Delivery
) -> Admitted | NotAdmitted:
    """Whether and for whom a delivery is accepted: for the first candidate with a secret that it is signed with.

    If there is no candidate, or a candidate has no secret yet, the signature is checked against a decoy, so that the
    answer takes as long. If the delivery names an unknown verification key, this function requests that key: the
    caller has to commit the request although the delivery is refused. Raises NoSecretsKey and CannotUnseal.
    """
    if sealer is None:
        raise NoSecretsKey
    refusals: list[tuple[Tenant, SignatureRefused]] = []
    for endpoint, tenant in candidates:
        secrets = [each.text for each in secrets_of(sealer, endpoint) if each.is_good(delivery.arrived_at)]
        refusal = _refusal(provider, delivery, secrets)
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
    session: Session, admitted: Admitted, provider: str, body: object, now: datetime
) -> tuple[Adapted, int]:
    """The events of a delivery's body, and how many things it points to.

    A refresh request is recorded for each of these things. Raises ProviderBodyRefused.
    """
    tenant = admitted.tenant.name
    names, connections = accounts_named(provider, body), connections_named(provider, body)
    known = read_known_accounts(session, tenant, provider, names, connections) if has_accounts(provider) else {}
    adapted = adapt_webhook(provider, body, Context(pulled_at=now, source=provider, accounts=known))
    return adapted, record_refreshes(session, tenant, provider, adapted.refreshes, now)


def read_pulled(session: Session, tenant: Tenant, format: str, body: object, details: PullDetails) -> Adapted:
    """The events of a body that was pulled from a provider; raises ProviderBodyRefused."""
    provider = provider_of(format).name
    names = set(accounts_named(format, body)) | ({details.account_id} if details.account_id is not None else set())
    context = Context(
        pulled_at=details.pulled_at,
        source=provider,
        accounts=read_known_accounts(session, tenant.name, provider, names, connections_named(format, body)),
        account_id=details.account_id,
        user_id=details.user_id,
        currency=details.currency,
        kind=details.kind,
        complete=details.complete,
    )
    return adapt(format, body, context)


def _refusal(provider: str, delivery: Delivery, secrets: Sequence[str]) -> SignatureRefused | None:
    """Why a delivery is refused; None if it is accepted.

    Without a secret the signature is checked against decoys, so that the check takes as long. The decoys are in the
    code, which anyone can read, so a delivery that is signed with a decoy is refused too.
    """
    scheme = scheme_of(provider)
    try:
        scheme.verify(delivery, secrets or scheme.decoys)
    except SignatureRefused as refused:
        return refused
    return None if secrets else SignatureRefused("it is signed with what is checked in vain where there is no secret")


VERIFICATION_KEY = "verification_key"
# Limited, because anyone who knows an endpoint can name keys that do not exist. Those that were named last stay open:
# so invented ones do not keep out the key with which Plaid signs from now on, and which every delivery names.
KEYS_ASKED_MOST = 20


def record_refreshes(session: Session, tenant: str, provider: str, refreshes: Iterable[Refresh], now: datetime) -> int:
    """Record a refresh request for each thing that a delivery points to, and return how many there are.

    A request that is open already counts once more. A message says so each time.
    """
    rows = {row.request_id: row for each in refreshes for row in [_row(tenant, provider, each, now)]}
    # In the order of ids, so that two deliveries with the same pointers wait for each other and do not deadlock.
    # The counters of messages are locked after them, in the same order.
    asked = [store.ask_refresh(session, rows[request_id]) for request_id in sorted(rows)]
    write_messages(session, [refresh_requested(each, now) for each in asked])
    return len(rows)


def ask_for_key(session: Session, tenant: str, provider: str, key_id: str, now: datetime) -> None:
    """Open a refresh request for an unknown verification key that a delivery named, once for each key.

    A message says so, unless as many keys are open as may be: else invented ones would fill the feed.
    """
    refresh = Refresh(key_id, VERIFICATION_KEY, "unknown_key")
    opened = store.ask_refresh_once(session, _row(tenant, provider, refresh, now), most=KEYS_ASKED_MOST)
    if opened is not None:
        write_messages(session, [refresh_requested(opened, now)])


def list_open(
    session: Session, tenant: str, *, provider: str | None, kind: str | None, limit: int, cursor: str | None
) -> Page[RefreshRow]:
    """A page of a tenant's open refresh requests, the longest waiting first; raises InvalidField."""
    position = moment_and_id_after(cursor)
    if not all(is_id(each) for each in (provider, kind) if each is not None):
        return Page((), None)
    after = None if position is None else OpenPosition(*position)
    rows = store.list_open(session, tenant, provider=provider, kind=kind, after=after, limit=limit + 1)
    return cut(rows, limit, lambda row: f"{row.opened_at.isoformat()} {row.request_id}")


def mark_done(session: Session, tenant: str, request_id: str, count: int, now: datetime) -> RefreshRow:
    """Mark a refresh request as done up to the `count` that the caller read before the pull, and return the request.

    It stays open if it was asked for again since. Marking it twice changes nothing. Raises NotFound and InvalidField.
    """
    row = store.lock_refresh(session, tenant, request_id) if is_id(request_id) else None
    if row is None:
        raise NotFound("Refresh request", request_id)
    if not 1 <= count <= row.count:
        raise InvalidField("count", f"must be 1 to {row.count}, the count that was read before the pull")
    store.mark_refreshed(session, row, count, now)
    found = store.lock_refresh(session, tenant, request_id)
    assert found is not None, "it is locked"
    return found


def _row(tenant: str, provider: str, refresh: Refresh, now: datetime) -> RefreshRow:
    identity = "\x00".join((provider, refresh.kind, refresh.subject))
    request_id = f"refresh_{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
    return RefreshRow(
        tenant, request_id, provider, refresh.subject, refresh.kind, refresh.reason, now, now, count=1, done_count=0
    )
