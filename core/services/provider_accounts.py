"""Provider accounts: register, read, list and remove them, and read what is known of accounts for the adapters.

With a registration the integrator gives an account an id of its own, adds what the provider leaves out, turns the signs
of a bank that writes them the other way, and says from which day on an account counts that has a new id at the
provider. An account that is not registered has the provider's id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from core.errors import InvalidField, NotFound
from core.events.facts import AccountFacts, AccountKind, Attribute, Rank, attribute_rank, replacement
from core.goals.money import digits
from core.ingestion.due import apply_facts
from core.providers.contracts import KnownAccount, Sign
from core.providers.registry import has_accounts
from core.services.inputs import check_id, is_id
from core.services.pages import Page, cut, no_position
from core.store import providers as store
from core.store.driver import Session
from core.store.providers import ProviderAccount
from core.store.spans import read_spanned
from core.store.tenants import Tenant, note_operation


@dataclass(frozen=True, slots=True)
class AccountDraft:
    """What is registered about a provider's account; without `account_id` it has the provider's id."""

    account_id: str | None = None
    user_id: str | None = None
    kind: str | None = None
    currency: str | None = None
    since: date | None = None
    connection: str | None = None
    sign: str | None = None


def put_account(
    session: Session, tenant: Tenant, provider: str, name: str, draft: AccountDraft, now: datetime, *, actor: str
) -> ProviderAccount:
    """Register an account; this replaces an earlier registration. Its currency is stated for the account from now on.

    What came under the provider's id before goes on as the account that is registered for it, as an event `replaced_by`
    says. Raises NotFound for a provider without accounts, and InvalidField.
    """
    if not has_accounts(provider):
        raise NotFound("Provider", provider)
    account = ProviderAccount(
        tenant=tenant.name,
        provider=provider,
        provider_account_id=check_id("provider_account_id", name),
        account_id=check_id("account_id", name if draft.account_id is None else draft.account_id),
        user_id=_checked("user_id", draft.user_id),
        kind=check_kind(draft.kind),
        currency=check_currency(draft.currency),
        since=draft.since,
        connection=_checked("connection", draft.connection),
        sign=_check_sign(draft.sign),
        updated_at=now,
    )
    before = store.read_provider_account(session, tenant.name, provider, name)
    store.put_provider_account(session, account)
    rank = attribute_rank(Rank(now, False, f"provider-accounts/{provider}", account.provider_account_id))
    stated = _going_on(session, tenant, name, name if before is None else before.account_id, account.account_id, rank)
    if account.currency is not None:
        currency = Attribute("stated_currency", account.currency, rank)
        stated.append(AccountFacts(account.account_id, (currency,)))
    _state(session, tenant, stated, now)
    _note(session, account, "told", now, actor, account.account_id)
    return account


def read_account(session: Session, tenant: str, provider: str, name: str) -> ProviderAccount:
    """A registered account; raises NotFound."""
    known = is_id(name) and has_accounts(provider)
    found = store.read_provider_account(session, tenant, provider, name) if known else None
    if found is None:
        raise NotFound("Provider account", name)
    return found


def remove_account(session: Session, tenant: Tenant, provider: str, name: str, now: datetime, *, actor: str) -> None:
    """Remove a registration; raises NotFound. The facts that were recorded under its account id stay.

    If the provider's id was said to go on as that account, it no longer does.
    """
    account = read_account(session, tenant.name, provider, name)
    if not store.remove_provider_account(session, tenant.name, provider, name):
        raise NotFound("Provider account", name)
    rank = attribute_rank(Rank(now, False, f"provider-accounts/{provider}", name))
    _state(session, tenant, _going_on(session, tenant, name, account.account_id, name, rank), now)
    _note(session, account, "forgotten", now, actor, account.account_id)


def list_accounts(
    session: Session, tenant: str, *, provider: str | None, limit: int, cursor: str | None
) -> Page[ProviderAccount]:
    """A page of registered accounts, ordered by provider and the provider's id; raises InvalidField."""
    after: tuple[str, str] | None = None
    if cursor is not None:
        from_provider, _, name = cursor.partition(" ")
        if not (is_id(from_provider) and is_id(name)):
            raise no_position()
        after = from_provider, name
    if provider is not None and not is_id(provider):
        return Page((), None)
    rows = store.list_provider_accounts(session, tenant, provider=provider, after=after, limit=limit + 1)
    return cut(rows, limit, lambda row: f"{row.provider} {row.provider_account_id}")


def read_known_accounts(
    session: Session, tenant: str, provider: str, names: Iterable[str], connections: Iterable[str] = ()
) -> dict[str, KnownAccount]:
    """What is known of the accounts that a body names, and of all that belong to its connections, by provider's id."""
    usable = {name for name in names if is_id(name)}
    usable_connections = {name for name in connections if is_id(name)}
    registered = {
        row.provider_account_id: row
        for row in store.find_provider_accounts(session, tenant, provider, usable, usable_connections)
    }
    own_ids = {name: registered[name].account_id if name in registered else name for name in usable | registered.keys()}
    kinds = store.known_kinds(session, tenant, own_ids.values())
    return {name: _known(registered.get(name), own_id, kinds.get(own_id)) for name, own_id in own_ids.items()}


def check_kind(kind: str | None) -> str | None:
    """Return the kind unchanged; raises InvalidField if it is neither asset nor liability."""
    if kind is not None and kind not in set(AccountKind):
        raise InvalidField("kind", "must be asset or liability")
    return kind


def check_currency(currency: str | None) -> str | None:
    """Return the currency unchanged; raises InvalidField if it is not an ISO 4217 code."""
    if currency is not None:
        digits(currency)
    return currency


def _check_sign(sign: str | None) -> str | None:
    if sign is not None and sign not in set(Sign):
        raise InvalidField("sign", f"must be one of {', '.join(Sign)}")
    return sign


def _checked(field: str, value: str | None) -> str | None:
    return None if value is None else check_id(field, value)


def _going_on(
    session: Session, tenant: Tenant, provider_id: str, before_id: str, account_id: str, rank: str
) -> list[AccountFacts]:
    """The statement that what came under the provider's id goes on as the account that now has its facts, if any did.

    `before_id` is the account that had them before. If the provider's id has them again, it goes on as itself, unless
    something else than the registration has said what replaces it since.
    """
    known = read_spanned(session, [(tenant.name, provider_id)], {tenant.name: tenant.zone})
    if account_id == before_id or not known:
        return []
    if account_id != provider_id:
        return [AccountFacts(provider_id, replacement(account_id, None, rank))]
    is_by_registration = known[tenant.name, provider_id].described.replaced_by == before_id
    return [AccountFacts(provider_id, replacement(None, None, rank))] if is_by_registration else []


def _state(session: Session, tenant: Tenant, stated: Iterable[AccountFacts], now: datetime) -> None:
    facts: dict[tuple[str, str], list[AccountFacts]] = {}
    for each in stated:
        facts.setdefault((tenant.name, each.account_id), []).append(each)
    if facts:
        apply_facts(session, facts, now)


def _known(registered: ProviderAccount | None, own_id: str, recorded_kind: str | None) -> KnownAccount:
    if registered is None:
        return KnownAccount(own_id, recorded_kind=recorded_kind)
    return KnownAccount(
        own_id,
        registered.user_id,
        registered.kind,
        registered.currency,
        registered.since,
        registered.connection,
        recorded_kind=recorded_kind,
        sign=registered.sign,
    )


def _note(session: Session, account: ProviderAccount, what: str, now: datetime, actor: str, detail: str) -> None:
    subject = f"{account.provider} {account.provider_account_id}"
    action = f"provider_account.{what}"
    note_operation(session, account.tenant, action=action, subject=subject, at=now, actor=actor, detail=detail)
