"""Webhook endpoints: add, list and remove them, rotate their secrets, and seal the secrets of all again.

An endpoint's secrets are shown only when they are set, and never in a log. They are stored sealed, and the objects that
have them in clear leave them out of their representation.
"""

import secrets as randomness
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from core.errors import Conflict, InvalidField, NotFound, SecretsUnreadable
from core.goals.goal import NAME_LONGEST, check_text
from core.providers.provider import Scheme
from core.providers.registry import scheme_of
from core.providers.sealing import Sealer, Secret
from core.services.inputs import is_id
from core.services.tenants import require_tenant
from core.settings import SECRETS_KEY_SHORTEST, Settings
from core.store import providers as store
from core.store.driver import Session
from core.store.providers import Endpoint
from core.store.tenants import list_tenants, lock_tenant, note_operation

ENDPOINTS_MOST = 10
OVERLAP = timedelta(hours=24)
OVERLAP_LONGEST = timedelta(days=30)


class NoSecretsKey(SecretsUnreadable):
    """There is no key to seal secrets with."""

    def __init__(self) -> None:
        super().__init__(
            f"MILEPOST_SECRETS_KEY is not set: give every process the same {SECRETS_KEY_SHORTEST} characters or more, "
            "such as `openssl rand -hex 32` makes"
        )


def sealer_of(settings: Settings) -> Sealer | None:
    """The sealer that seals and opens secrets; None if no key is set."""
    return Sealer(settings.secrets_keys) if settings.secrets_keys else None


def add_endpoint(
    session: Session,
    sealer: Sealer | None,
    tenant: str,
    provider: str,
    label: str,
    given: str | None,
    now: datetime,
    *,
    actor: str,
) -> tuple[Endpoint, str | None]:
    """Make an endpoint for a provider. Returns it, and the secret if one was made here, which cannot be read again.

    Where the provider chooses the secret (Plaid, Teller) there may be none yet; until there is one, all deliveries are
    refused. Raises NotFound for a provider that posts nothing, NoSecretsKey, NoSuchTenant, InvalidField, and Conflict
    for one endpoint too many.
    """
    scheme = scheme_of(provider)
    named = check_text("label", label, longest=NAME_LONGEST)
    require_tenant(session, tenant)
    lock_tenant(session, tenant)
    if len(store.endpoints_of(session, provider, tenant)) >= ENDPOINTS_MOST:
        raise Conflict(f"tenant {tenant} has {ENDPOINTS_MOST} endpoints for {provider} already; remove one first")
    made, texts = _read_or_made(scheme, given)
    endpoint = Endpoint(tenant, f"whe_{randomness.token_urlsafe(24)}", provider, named, b"", 0, now, now)
    endpoint = _sealed(sealer, endpoint, [Secret(each) for each in texts], now)
    store.add_endpoint(session, endpoint)
    _note(session, endpoint, "added", now, actor)
    return endpoint, made


def list_endpoints(session: Session, tenant: str) -> list[Endpoint]:
    """A tenant's endpoints, the oldest first, without their secrets; raises NoSuchTenant."""
    require_tenant(session, tenant)
    return store.list_endpoints(session, tenant)


def rotate_secrets(
    session: Session,
    sealer: Sealer | None,
    tenant: str,
    endpoint_id: str,
    given: str | None,
    now: datetime,
    *,
    overlap: timedelta = OVERLAP,
    actor: str,
) -> tuple[Endpoint, str | None]:
    """Give an endpoint a new secret; the old ones stay valid for `overlap`. Returns the same as add_endpoint.

    Plaid has several keys at a time and says itself when one expires. There a new key replaces the one with its name,
    and the others stay as they are. Raises NoSecretsKey, CannotUnseal, NotFound and InvalidField.
    """
    if not timedelta() <= overlap <= OVERLAP_LONGEST:
        raise InvalidField("overlap", f"must be 0 to {OVERLAP_LONGEST // timedelta(hours=1)} hours")
    endpoint = store.lock_endpoint(session, tenant, endpoint_id) if is_id(endpoint_id) else None
    if endpoint is None:
        raise NotFound("Webhook endpoint", endpoint_id)
    scheme = scheme_of(endpoint.provider)
    made, texts = _read_or_made(scheme, given)
    if not texts:
        raise InvalidField("secret", f"is needed: {endpoint.provider} chooses it, and it can't be made up here")
    old = [each for each in secrets_of(sealer, endpoint) if each.is_good(now)]
    endpoint = _sealed(sealer, endpoint, _renewed(scheme, old, texts, now + overlap), now)
    store.change_secrets(session, endpoint)
    _note(session, endpoint, "rotated", now, actor)
    return endpoint, made


def remove_endpoint(session: Session, tenant: str, endpoint_id: str, now: datetime, *, actor: str) -> None:
    """Delete an endpoint at once, with its secrets; raises NotFound."""
    provider = store.remove_endpoint(session, tenant, endpoint_id) if is_id(endpoint_id) else None
    if provider is None:
        raise NotFound("Webhook endpoint", endpoint_id)
    note_operation(session, tenant, action="webhook.removed", subject=endpoint_id, at=now, actor=actor, detail=provider)


def reseal_endpoints(session: Session, sealer: Sealer | None, now: datetime, *, actor: str) -> int:
    """Seal the secrets of all tenants again with the first of the keys, so that the other keys can be removed.

    Returns the number of endpoints. Raises NoSecretsKey, and CannotUnseal if the key that sealed one of them is not
    among the keys; the caller then rolls back, so that none is changed.
    """
    found = [each for tenant in list_tenants(session) for each in store.list_endpoints(session, tenant.name)]
    for seen in found:
        endpoint = store.lock_endpoint(session, seen.tenant, seen.endpoint_id)
        if endpoint is None:
            continue
        store.change_secrets(session, _sealed(sealer, endpoint, secrets_of(sealer, endpoint), endpoint.changed_at))
        _note(session, endpoint, "resealed", now, actor)
    return len(found)


def secrets_of(sealer: Sealer | None, endpoint: Endpoint) -> list[Secret]:
    """The secrets of an endpoint in clear; raises NoSecretsKey and CannotUnseal."""
    if sealer is None:
        raise NoSecretsKey
    return sealer.open_all(endpoint.sealed_secrets, endpoint.row)


def _sealed(sealer: Sealer | None, endpoint: Endpoint, secrets: Sequence[Secret], now: datetime) -> Endpoint:
    if sealer is None:
        raise NoSecretsKey
    sealed = sealer.seal_all(secrets, endpoint.row)
    return replace(endpoint, sealed_secrets=sealed, secrets=len(secrets), changed_at=now)


def _renewed(scheme: Scheme, old: Sequence[Secret], texts: Sequence[str], until: datetime) -> list[Secret]:
    """The secrets after a rotation, the newest last; at most `secrets_most`, since a delivery is checked with each."""
    if scheme.key_id is None:
        kept = [Secret(each.text, min(each.until or until, until)) for each in old if each.text not in texts]
    else:
        fresh = {scheme.key_id(text) for text in texts}
        kept = [each for each in old if scheme.key_id(each.text) not in fresh]
    return [*kept, *(Secret(text) for text in texts)][-scheme.secrets_most :]


def _read_or_made(scheme: Scheme, given: str | None) -> tuple[str | None, tuple[str, ...]]:
    """The secret that was made here, if none is given and the provider lets us choose one, and the secrets to store."""
    made = scheme.make_secret() if given is None and scheme.make_secret is not None else None
    text = given if made is None else made
    return made, () if text is None else scheme.read_secrets(text)


def _note(session: Session, endpoint: Endpoint, what: str, now: datetime, actor: str) -> None:
    detail = f"{endpoint.provider}: {endpoint.secrets} secrets"
    subject = endpoint.endpoint_id
    note_operation(
        session, endpoint.tenant, action=f"webhook.{what}", subject=subject, at=now, actor=actor, detail=detail
    )
