"""When an account counts: from the day it was opened, and of accounts that are joined each in its own time.

A statement `replaced_by` joins an old account and the new one that replaces it into one. It joins while both are of one
kind, in one currency, and not of two different users. Of statements in a circle the one with the greatest rank does not
join. All of this depends on the present statements and reports alone, so their order decides nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from core.events.facts import AccountKind

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""A moment after all facts: what counts from then on does not count yet."""


class Described(NamedTuple):
    """What is stated of an account, as far as it decides when the account counts.

    `replaced_from` and `opened_at` are the first instants of the stated days. `rank` is that of the statement
    `replaced_by`.
    """

    account_id: str
    kind: AccountKind
    currency: str | None
    user_id: str | None
    first_report_at: datetime | None
    opened_at: datetime | None
    replaced_by: str | None
    replaced_from: datetime | None
    rank: str | None


class Span(NamedTuple):
    """When an account counts: from `counts_from` on and before `counts_until`; None: without a limit.

    `chain_id` is the same for all accounts that statements connect, whether they join or not, and None for an account
    that none names. `joined_as` is the last one of the accounts that are joined with this one, None if there are none.
    """

    chain_id: str | None = None
    joined_as: str | None = None
    counts_from: datetime | None = None
    counts_until: datetime | None = None


def spans_of(accounts: Mapping[str, Described]) -> dict[str, Span]:
    """When each account counts; all accounts that statements connect must be given.

    An old account counts up to the first report of the new one, or up to the day that the statement gives, and the new
    one from there. If a later account of a chain begins earlier, it is the later one that counts. Of several old
    accounts each counts up to its own end.
    """
    new = joins(accounts.values())
    old_of: dict[str, list[str]] = {}
    for old_id, new_id in new.items():
        old_of.setdefault(new_id, []).append(old_id)
    chains = _chains(accounts.values())
    spans = {}
    for name, account in accounts.items():
        begins = [_moment(accounts, old_id, name) for old_id in old_of.get(name, ())]
        counts_from = max(filter(None, (min(begins, default=None), account.opened_at)), default=None)
        end, last = NEVER, name
        while last in new:
            end, last = min(end, _moment(accounts, last, new[last])), new[last]
        is_joined = name in new or name in old_of
        spans[name] = Span(chains.get(name), last if is_joined else None, counts_from, None if end == NEVER else end)
    return spans


def joins(accounts: Iterable[Described]) -> dict[str, str]:
    """By old account the new one that it is joined with."""
    known = {account.account_id: account for account in accounts}
    new = {
        old.account_id: old.replaced_by
        for old in known.values()
        if old.replaced_by is not None and old.replaced_by in known and why_apart(old, known[old.replaced_by]) is None
    }
    for first in sorted(new):
        walked = [first]
        while (following := new.get(walked[-1])) is not None and following not in walked:
            walked.append(following)
        if following is not None:
            circle = walked[walked.index(following) :]
            del new[max(circle, key=lambda name: (known[name].rank or "", name))]
    return new


def why_apart(old: Described, new: Described) -> str | None:
    """Why one account that another one is said to replace is not joined with it; None if nothing keeps them apart.

    An account has no currency while neither a fact nor a statement names one.
    """
    if old.currency is None or new.currency is None:
        return "the currency of one of them is not known yet"
    if old.currency != new.currency:
        return f"one is in {old.currency}, the other in {new.currency}"
    if old.kind is not new.kind:
        return "one is an asset, the other a liability"
    if old.user_id is not None and new.user_id is not None and old.user_id != new.user_id:
        return "they are of different users"
    return None


def _moment(accounts: Mapping[str, Described], old_id: str, new_id: str) -> datetime:
    """When the old account ends and the new one begins; NEVER while the new one has no report."""
    return accounts[old_id].replaced_from or accounts[new_id].first_report_at or NEVER


def _chains(accounts: Collection[Described]) -> dict[str, str]:
    """By account the least id of all accounts that statements connect with it; without those that none connects."""
    chains: dict[str, set[str]] = {}
    for account in accounts:
        if account.replaced_by is not None:
            both = (account.account_id, account.replaced_by)
            chain = set[str]().union(*(chains.get(name, {name}) for name in both))
            chains.update(dict.fromkeys(chain, chain))
    return {name: min(chain) for name, chain in chains.items()}
