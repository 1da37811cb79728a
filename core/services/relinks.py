"""Relinks: accounts that probably go on under a new id are offered, and joined, or parted again, at a caller's word."""

from dataclasses import dataclass
from datetime import date, datetime

from core.errors import InvalidField, NotFound
from core.events.calendar import EARLIEST, local_day
from core.events.facts import AccountFacts, Rank, attribute_rank, replacement
from core.events.spans import Described, joins, why_apart
from core.ingestion.due import apply_facts
from core.ingestion.relinks import find_probable
from core.messages.others import relink_subject
from core.services.accounts import AccountView, get_account
from core.services.inputs import check_id, is_id, new_id
from core.services.pages import Page, cut, id_after
from core.store.account_views import ACCOUNTS_AT_ONCE, account_ids
from core.store.driver import Session
from core.store.outbox import rule_out
from core.store.relinks import Candidate
from core.store.spans import chains_of, read_spanned
from core.store.tenants import Tenant, note_operation


@dataclass(frozen=True, slots=True)
class RelinkDraft:
    """Which account goes on as which other one; from a day on, or from the first report of the new one on."""

    old_account_id: str
    new_account_id: str
    from_: date | None = None


def list_relinks(
    session: Session, tenant: Tenant, *, user_id: str | None, limit: int, cursor: str | None, now: datetime
) -> Page[Candidate]:
    """A page of probable relinks, by the old account's id; raises InvalidField for a bad cursor.

    `find_probable` has the rule. A page looks at a limited number of accounts, so it may be short or empty though there
    are more, and it has all relinks of an account.
    """
    after = id_after(cursor)
    if user_id is not None and not is_id(user_id):
        return Page((), None)
    ids = account_ids(session, tenant.name, user_id=user_id, after=after or "", limit=ACCOUNTS_AT_ONCE + 1)
    page = cut(ids, ACCOUNTS_AT_ONCE, lambda id: id)
    found = find_probable(session, tenant.name, page.items, now)
    if len(found) <= limit:
        return Page(tuple(found), page.next_cursor)
    last = found[limit - 1].old_id
    return Page(tuple(each for each in found if each.old_id <= last), last)


def accept_relink(session: Session, tenant: Tenant, draft: RelinkDraft, now: datetime, *, actor: str) -> AccountView:
    """Let one account go on as another, as an event `replaced_by` of this moment does; returns the old account.

    Raises NotFound for an account that nothing has named, and InvalidField if the two can't be joined.
    """
    old_id = check_id("old_account_id", draft.old_account_id)
    new_account_id = check_id("new_account_id", draft.new_account_id)
    if old_id == new_account_id:
        raise InvalidField("new_account_id", "is the account itself")
    if draft.from_ is not None and not EARLIEST.date() <= draft.from_ <= local_day(now, tenant.zone):
        raise InvalidField("from", "must not be after today or before 1900")
    _state(session, tenant, old_id, new_account_id, draft.from_, now)
    described = _described(session, tenant, old_id)
    if described[old_id].replaced_by != new_account_id:
        raise _outdated()
    if old_id not in joins(described.values()):
        why = why_apart(described[old_id], described[new_account_id])
        raise InvalidField("new_account_id", why or "is replaced by the old account itself; undo that relink first")
    _note(session, tenant, "accepted", old_id, now, actor, new_account_id)
    return get_account(session, tenant, old_id)


def undo_relink(session: Session, tenant: Tenant, old_account_id: str, now: datetime, *, actor: str) -> AccountView:
    """Let an account go on as itself again, whatever said that another one replaces it; returns the account.

    Raises NotFound for an account that nothing has named, and InvalidField for one that is not said to be replaced.
    """
    old_id = check_id("old_account_id", old_account_id)
    view = get_account(session, tenant, old_id)
    if view.summary.replaced_by is None:
        raise InvalidField("old_account_id", "is not replaced by any account")
    _state(session, tenant, old_id, None, None, now)
    after = get_account(session, tenant, old_id)
    if after.summary.replaced_by is not None:
        raise _outdated()
    _note(session, tenant, "undone", old_id, now, actor, view.summary.replaced_by)
    return after


def _state(
    session: Session, tenant: Tenant, old_id: str, new_account_id: str | None, from_: date | None, now: datetime
) -> None:
    for which, name in (("Old account", old_id), ("New account", new_account_id)):
        if name is None:
            continue
        try:
            get_account(session, tenant, name)
        except NotFound:
            raise NotFound(which, name) from None
    rank = attribute_rank(Rank(now, False, "relinks", new_id("relink", now)))
    stated = AccountFacts(old_id, replacement(new_account_id, from_, rank))
    apply_facts(session, {(tenant.name, old_id): [stated]}, now)


def _outdated() -> InvalidField:
    return InvalidField("old_account_id", "an event of a later time says what replaces it; send an event instead")


def _described(session: Session, tenant: Tenant, name: str) -> dict[str, Described]:
    chain = chains_of(session, [(tenant.name, name)])
    rows = read_spanned(session, chain, {tenant.name: tenant.zone})
    return {row.described.account_id: row.described for row in rows.values()}


def _note(
    session: Session, tenant: Tenant, what: str, old_id: str, now: datetime, actor: str, new_account_id: str
) -> None:
    # Whoever decided about a pair needs no message about it.
    rule_out(session, tenant.name, relink_subject(old_id, new_account_id))
    note_operation(
        session, tenant.name, action=f"relink.{what}", subject=old_id, at=now, actor=actor, detail=new_account_id
    )
