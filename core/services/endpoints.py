"""Endpoints: the addresses to which a tenant's messages are delivered; their secrets, tests, attempts and recovery.

An endpoint's secrets are shown only when they are made, and never in a log. They are stored sealed.
"""

import secrets as randomness
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core.delivery.addresses import AddressRules, check_url
from core.delivery.signatures import make_secret, read_secret
from core.errors import Conflict, InvalidField, NotFound
from core.goals.goal import NAME_LONGEST, check_text
from core.messages.others import endpoint_ping
from core.messages.types import MessageType
from core.providers.sealing import Sealer, Secret
from core.services.inputs import UNSET, MaybeUnset, check_id, is_id
from core.services.messages import KEPT
from core.services.pages import Page, cut, no_position
from core.services.tenants import require_tenant
from core.services.webhooks import OVERLAP, OVERLAP_LONGEST, NoSecretsKey
from core.store import deliveries
from core.store import endpoints as store
from core.store.deliveries import ListedAttempt
from core.store.driver import Session
from core.store.endpoints import DisabledReason, Endpoint
from core.store.outbox import all_from, position_at, write_messages
from core.store.tenants import list_tenants, lock_tenant, note_operation

ENDPOINTS_MOST = 20
RATE_MOST = 1_000
SECRETS_MOST = 5
CHOSEN_TYPES = tuple(each for each in MessageType if each is not MessageType.ENDPOINT_PING)
"""The types among which an endpoint chooses; a ping goes to the endpoint that it tests."""


@dataclass(frozen=True, slots=True)
class EndpointDraft:
    """An endpoint to be made. `types`: None for all; `rate`: at most so many attempts a second, None for any number.

    `secret` is one that is brought; None: one is made.
    """

    url: str
    types: Sequence[str] | None = None
    description: str | None = None
    rate: int | None = None
    enabled: bool = True
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointChanges:
    """The fields of an endpoint to be changed; UNSET leaves a field as it is, None clears it."""

    url: str | MaybeUnset = UNSET
    types: Sequence[str] | MaybeUnset | None = UNSET
    description: str | MaybeUnset | None = UNSET
    rate: int | MaybeUnset | None = UNSET
    enabled: bool | MaybeUnset = UNSET


@dataclass(frozen=True, slots=True)
class EndpointView:
    """An endpoint, and how many deliveries to it are pending."""

    endpoint: Endpoint
    pending: int


def add_endpoint(
    session: Session,
    sealer: Sealer | None,
    rules: AddressRules,
    tenant: str,
    draft: EndpointDraft,
    now: datetime,
    *,
    actor: str,
) -> tuple[EndpointView, str | None]:
    """Make an endpoint. Returns it, and the secret if one was made here, which cannot be read again.

    It gets what is announced from now on. Raises InvalidField, NoSecretsKey, NoSuchTenant, and Conflict for one
    endpoint too many.
    """
    require_tenant(session, tenant)
    lock_tenant(session, tenant)
    if store.count_endpoints(session, tenant) >= ENDPOINTS_MOST:
        raise Conflict(f"There are {ENDPOINTS_MOST} endpoints already: remove one first")
    made = make_secret() if draft.secret is None else None
    text = read_secret(draft.secret) if draft.secret is not None else made
    assert text is not None, "one is made or given"
    disabled = None if draft.enabled else now
    endpoint = Endpoint(
        tenant,
        f"ep_{randomness.token_hex(12)}",
        check_url(draft.url, rules),
        _description(draft.description),
        _types(draft.types),
        _rate(draft.rate),
        draft.enabled,
        None if draft.enabled else DisabledReason.REQUEST,
        disabled,
        None,
        b"",
        0,
        now,
        now,
    )
    endpoint = _sealed(sealer, endpoint, [Secret(text)])
    store.add_endpoint(session, endpoint)
    _note(session, endpoint, "added", now, actor)
    return EndpointView(endpoint, 0), made


def list_endpoints(session: Session, tenant: str) -> list[EndpointView]:
    """A tenant's endpoints, the oldest first; raises NoSuchTenant."""
    require_tenant(session, tenant)
    pending = deliveries.count_pending(session, tenant)
    found = store.list_endpoints(session, tenant)
    return [EndpointView(each, pending.get(each.endpoint_id, 0)) for each in found]


def get_endpoint(session: Session, tenant: str, endpoint_id: str) -> EndpointView:
    """One endpoint; raises NotFound."""
    found = store.read_endpoint(session, tenant, endpoint_id) if is_id(endpoint_id) else None
    if found is None:
        raise NotFound("Endpoint", endpoint_id)
    return EndpointView(found, deliveries.count_pending(session, tenant).get(endpoint_id, 0))


def change_endpoint(
    session: Session,
    rules: AddressRules,
    tenant: str,
    endpoint_id: str,
    changes: EndpointChanges,
    now: datetime,
    *,
    actor: str,
) -> EndpointView:
    """Change an endpoint. One that is disabled gets nothing, and what is pending has failed until it is recovered.

    Raises InvalidField and NotFound.
    """
    endpoint = _locked(session, tenant, endpoint_id)
    changed = replace(
        endpoint,
        url=endpoint.url if changes.url is UNSET else check_url(changes.url, rules),
        types=endpoint.types if changes.types is UNSET else _types(changes.types),
        description=endpoint.description if changes.description is UNSET else _description(changes.description),
        rate=endpoint.rate if changes.rate is UNSET else _rate(changes.rate),
    )
    if changes.enabled is True and not endpoint.enabled:
        changed = replace(changed, enabled=True, disabled_reason=None, disabled_at=None, failing_since=None)
    if changes.enabled is False and endpoint.enabled:
        deliveries.disable_endpoint(session, (tenant, endpoint_id), DisabledReason.REQUEST, now)
        changed = replace(changed, enabled=False, disabled_reason=DisabledReason.REQUEST, disabled_at=now)
    if changed != endpoint:
        changed = replace(changed, changed_at=now)
        store.write_endpoint(session, changed)
        _note(session, changed, "changed", now, actor)
    return EndpointView(changed, deliveries.count_pending(session, tenant).get(endpoint_id, 0))


def remove_endpoint(session: Session, tenant: str, endpoint_id: str, now: datetime, *, actor: str) -> None:
    """Delete an endpoint at once, with its secrets, its deliveries and their attempts; raises NotFound."""
    endpoint = _locked(session, tenant, endpoint_id)
    store.remove_endpoint(session, tenant, endpoint_id)
    _note(session, endpoint, "removed", now, actor)


def rotate_secret(
    session: Session,
    sealer: Sealer | None,
    tenant: str,
    endpoint_id: str,
    given: str | None,
    now: datetime,
    *,
    overlap: timedelta = OVERLAP,
    actor: str,
) -> tuple[EndpointView, str | None]:
    """Give an endpoint a new secret; the old ones sign too for `overlap`. Returns the same as `add_endpoint`.

    Raises InvalidField, NotFound, NoSecretsKey and CannotUnseal.
    """
    if not timedelta() <= overlap <= OVERLAP_LONGEST:
        raise InvalidField("overlap_hours", f"must be 0 to {OVERLAP_LONGEST // timedelta(hours=1)}")
    endpoint = _locked(session, tenant, endpoint_id)
    if sealer is None:
        raise NoSecretsKey
    made = make_secret() if given is None else None
    text = read_secret(given) if given is not None else made
    assert text is not None, "one is made or given"
    until = now + overlap
    old = [each for each in sealer.open_all(endpoint.sealed_secrets, endpoint.row) if each.is_good(now)]
    kept = [Secret(each.text, min(each.until or until, until)) for each in old if each.text != text and until > now]
    endpoint = replace(_sealed(sealer, endpoint, [*kept, Secret(text)][-SECRETS_MOST:]), changed_at=now)
    store.write_endpoint(session, endpoint)
    _note(session, endpoint, "rotated", now, actor)
    return EndpointView(endpoint, deliveries.count_pending(session, tenant).get(endpoint_id, 0)), made


def ping_endpoint(session: Session, tenant: str, endpoint_id: str, now: datetime) -> str:
    """Send a test message to an endpoint alone; returns the message's id. Raises NotFound, and Conflict if disabled."""
    endpoint = _enabled(session, tenant, endpoint_id)
    (message_id,) = write_messages(session, [endpoint_ping(tenant, endpoint_id, endpoint.description, now)])
    return message_id


def resend_message(session: Session, tenant: str, endpoint_id: str, message_id: str, now: datetime) -> None:
    """Send an announced message to an endpoint, once more if it has it.

    Raises InvalidField for what is no id, NotFound, and Conflict if it is disabled.
    """
    check_id("message_id", message_id)
    _enabled(session, tenant, endpoint_id)
    if not deliveries.resend(session, (tenant, endpoint_id), message_id, now):
        raise NotFound("Message", message_id)


def recover_endpoint(
    session: Session, tenant: str, endpoint_id: str, since: datetime, until: datetime | None, now: datetime
) -> int:
    """Send to an endpoint what was announced from `since` up to `until` (now), and it takes and did not get.

    Returns how many messages that are, at most RECOVERED_MOST. Raises NotFound, InvalidField for times that are
    backwards or older than messages are kept, and Conflict if it is disabled.
    """
    end = now if until is None else until
    if since >= end:
        raise InvalidField("since", "must be before until, which is now unless given")
    if since > now:
        raise InvalidField("since", "must not be after now")
    _enabled(session, tenant, endpoint_id)
    if since < now - KEPT or position_at(since) < all_from(session, tenant):
        raise InvalidField("since", f"must be within the last {KEPT.days} days, for which messages are kept")
    return deliveries.recover(session, (tenant, endpoint_id), position_at(since), position_at(end), now)


def list_attempts(
    session: Session, tenant: str, endpoint_id: str, *, message_id: str | None, limit: int, cursor: str | None
) -> Page[ListedAttempt]:
    """A page of an endpoint's attempts, newest first, of all messages or of one; raises NotFound and InvalidField."""
    get_endpoint(session, tenant, endpoint_id)
    if message_id is not None and not is_id(message_id):
        raise NotFound("Message", message_id)
    rows = deliveries.list_attempts(
        session, tenant, endpoint_id, message_id=message_id, after=_position(cursor), limit=limit + 1
    )
    return cut(rows, limit, lambda row: f"{row.at.isoformat()} {row.attempt} {row.message_id}")


def reseal_endpoints(session: Session, sealer: Sealer | None, now: datetime, *, actor: str) -> int:
    """Seal the secrets of all endpoints of all tenants again, as `core.services.webhooks.reseal_endpoints` does."""
    found = [each for tenant in list_tenants(session) for each in store.list_endpoints(session, tenant.name)]
    if found and sealer is None:
        raise NoSecretsKey
    for seen in found:
        endpoint = store.lock_endpoint(session, seen.tenant, seen.endpoint_id)
        if endpoint is None or sealer is None:
            continue
        secrets = sealer.open_all(endpoint.sealed_secrets, endpoint.row)
        store.write_endpoint(session, _sealed(sealer, endpoint, secrets))
        _note(session, endpoint, "resealed", now, actor)
    return len(found)


def _locked(session: Session, tenant: str, endpoint_id: str) -> Endpoint:
    found = store.lock_endpoint(session, tenant, endpoint_id) if is_id(endpoint_id) else None
    if found is None:
        raise NotFound("Endpoint", endpoint_id)
    return found


def _enabled(session: Session, tenant: str, endpoint_id: str) -> Endpoint:
    endpoint = _locked(session, tenant, endpoint_id)
    if not endpoint.enabled:
        raise Conflict("The endpoint is disabled: enable it first")
    return endpoint


def _sealed(sealer: Sealer | None, endpoint: Endpoint, secrets: Sequence[Secret]) -> Endpoint:
    if sealer is None:
        raise NoSecretsKey
    return replace(endpoint, sealed_secrets=sealer.seal_all(secrets, endpoint.row), secrets=len(secrets))


def _types(types: Sequence[str] | None) -> list[str] | None:
    if types is None:
        return None
    for name in types:
        if name not in CHOSEN_TYPES:
            raise InvalidField("types", f"has {name}, which is none of {', '.join(CHOSEN_TYPES)}")
    if not types:
        raise InvalidField("types", "must name at least one type; leave it out, or give null, for all")
    return sorted(set(types))


def _rate(rate: int | None) -> int | None:
    if rate is not None and not 1 <= rate <= RATE_MOST:
        raise InvalidField("rate", f"must be 1 to {RATE_MOST} a second, or null for any number")
    return rate


def _description(description: str | None) -> str | None:
    return None if description is None else check_text("description", description, longest=NAME_LONGEST)


def _position(cursor: str | None) -> tuple[datetime, str, int] | None:
    if cursor is None:
        return None
    at, _, rest = cursor.partition(" ")
    attempt, _, message_id = rest.partition(" ")
    try:
        return datetime.fromisoformat(at), message_id, int(attempt)
    except ValueError:
        raise no_position() from None


def _note(session: Session, endpoint: Endpoint, what: str, now: datetime, actor: str) -> None:
    note_operation(
        session,
        endpoint.tenant,
        action=f"endpoint.{what}",
        subject=endpoint.endpoint_id,
        at=now,
        actor=actor,
        detail=endpoint.url,
    )
