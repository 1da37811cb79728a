"""The stage apply_events: writes what one batch of stream entries changes, from facts to goals and dead letters.

Steps, all in the caller's transaction, so that a crash after any of them leaves nothing of the batch behind:

1. decode every entry; an entry that cannot be decoded becomes a dead letter
2. lock all accounts in id order, the new ones after they are inserted: from here on their facts and links stand still
3. write the transactions that are new (facts.py)
4. fold (accounts.py): compare all other facts against what is stored, find which rows the windows do not have any more
   (windows.py), and in which currency each account is; keep the reports that won and do not count (compare.py). Find
   where rows are placed that have only a date (placing.py), and how the worth of each account moves; write the reports
   that won
5. write the transactions that won; write the accounts, and move or recompute their goals (update_goals.py)
6. mark what the goals have reached (crossings.py)
7. write the dead letters
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.errors import EventRejected
from core.events.facts import AccountFacts, SimpleTransaction
from core.ingestion.accounts import fold_accounts
from core.ingestion.decode import Decoded, StreamEntry, decode_batch
from core.ingestion.facts import DuplicateCheck, KnownAfterAll, add_new
from core.ingestion.update_goals import update_goals
from core.store.accounts import AccountKey, hold_accounts, read_accounts
from core.store.dead_letters import TENANT_LONGEST, DeadLetter, events_of_letters, keep_dead_letters
from core.store.driver import Savepoint, Session, plan_by_key
from core.store.placing import write_places
from core.store.tenants import DEFAULT, read_tenants
from core.store.transactions import SimpleTransactions, write_transactions
from core.stream.stream import arrival


@dataclass(frozen=True, slots=True)
class Applied:
    """What one batch did. `duplicates` are events that changed nothing: what they state was known or is outdated."""

    events: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    accounts_moved: int = 0
    goals_moved: int = 0
    milestones_reached: int = 0


class ParsedEntry(NamedTuple):
    """One entry with the facts that it states, one AccountFacts for each account."""

    entry: StreamEntry
    tenant: str
    facts: tuple[AccountFacts, ...]

    @property
    def account_keys(self) -> list[AccountKey]:
        """The account of each of the facts."""
        return [(self.tenant, facts.account_id) for facts in self.facts]

    def is_duplicate(self, winning_ids: Set[int]) -> bool:
        """Whether no statement of the entry is among the winners, which are given by their id()."""
        for facts in self.facts:
            if any(id(stated) in winning_ids for stated in (facts.transaction, facts.report, facts.window)):
                return False
            if facts.attributes and any(id(attribute) in winning_ids for attribute in facts.attributes):
                return False
        return True


def apply_events(session: Session, entries: Sequence[StreamEntry], now: datetime) -> Applied:
    """Apply a batch. To apply an entry again, or in another batch or order, changes nothing more."""
    plan_by_key(session)
    return apply_decoded(session, decode_batch(entries, zones_of(session, entries)), now)


def zones_of(session: Session, entries: Iterable[StreamEntry]) -> dict[str, ZoneInfo]:
    """The time zones of the entries' tenants; a tenant that does not exist is left out."""
    tenants = read_tenants(session, {entry.tenant for entry in entries})
    return {name: tenant.zone for name, tenant in tenants.items()}


def apply_decoded(
    session: Session, batch: Decoded, now: datetime, duplicate_check: DuplicateCheck | None = None
) -> Applied:
    """Apply a batch that was decoded in the time zones of its tenants.

    `duplicate_check` knows whether the batches before this one had duplicates. The caller has set the transaction to
    find rows by their keys (`plan_by_key`).
    """
    duplicate_check, before = duplicate_check or DuplicateCheck(), Savepoint(session, "before_batch")
    try:
        return _apply_once(session, batch, now, duplicate_check)
    except KnownAfterAll:
        before.undo()
    return _apply_once(session, batch, now, duplicate_check)


def _apply_once(session: Session, batch: Decoded, now: datetime, duplicate_check: DuplicateCheck) -> Applied:
    """Apply a batch; raises KnownAfterAll, which is rare: then it has to be begun again.

    There is no savepoint in here after the locks: to update a row that was locked before a savepoint, Postgres writes a
    record of both (a multixact).
    """
    refused = [_dead_letter(entry, rejection, now) for entry, rejection in batch.refused]
    held = hold_accounts(session, [*batch.simple, *batch.others])
    new = add_new(session, batch.simple, held, batch.zones, duplicate_check)
    entries = _to_compare(batch, new)
    facts = _by_account(entries)
    folded = fold_accounts(session, held, new, read_accounts(session, facts), facts, batch.zones)
    write_transactions(session, folded.changes)
    write_places(session, folded.places)
    updated = update_goals(session, folded, batch.zones, now)
    keep_dead_letters(session, refused)
    return Applied(
        events=len(batch.entries),
        duplicates=sum([each.is_duplicate(folded.winning_ids) for each in entries]),
        dead_letters=len(refused),
        accounts_moved=len(folded.moves),
        goals_moved=updated.goals,
        milestones_reached=updated.milestones_reached,
    )


def _to_compare(batch: Decoded, new: SimpleTransactions) -> list[ParsedEntry]:
    """The entries but those of new transactions, in the order of arrival."""
    if sum([len(of_account) for of_account in new.values()]) == len(batch.parsed):
        return []
    written = {(*key, each.transaction_id) for key, of_account in new.items() for each in of_account}
    entries = []
    for entry, parsed in batch.parsed:
        if not isinstance(parsed, SimpleTransaction):
            entries.append(ParsedEntry(entry, entry.tenant, parsed))
        elif (entry.tenant, parsed.account_id, parsed.transaction_id) not in written:
            entries.append(ParsedEntry(entry, entry.tenant, (parsed.facts(),)))
    return entries


def _by_account(entries: Iterable[ParsedEntry]) -> dict[AccountKey, list[AccountFacts]]:
    by_account: dict[AccountKey, list[AccountFacts]] = {}
    for each in entries:
        for key, facts in zip(each.account_keys, each.facts, strict=True):
            by_account.setdefault(key, []).append(facts)
    return by_account


def quarantine(session: Session, entry: StreamEntry, reason: str, now: datetime) -> None:
    """Make a dead letter of an entry that fails, or kills its worker, even when it is applied alone."""
    keep_dead_letters(session, [_dead_letter(entry, EventRejected("poison", reason), now)])


def not_set_aside(session: Session, batch: Decoded) -> Decoded:
    """A batch that is read again, without the entries that are dead letters already: these need somebody's decision."""
    keys = [(entry.tenant[:TENANT_LONGEST], entry.shard, entry.entry_id) for entry in batch.entries]
    letters = events_of_letters(session, keys)
    left = [entry for key, entry in zip(keys, batch.entries, strict=True) if letters.get(key) != entry.event]
    return decode_batch(left, batch.zones) if len(left) < len(keys) else batch


def keep_lost_entries(session: Session, shard: int, after: str, up_to: str, entries: int, now: datetime) -> None:
    """Make one dead letter of all the entries between two that the stream dropped, so that the loss shows."""
    # No entry can have this for an id, so the letter is in no other's place.
    lost = StreamEntry(shard, f"{after}..{up_to}", arrival(after), DEFAULT, b"")
    rejection = EventRejected("lost", f"the stream dropped {entries:,} entries after {after} before they were applied")
    keep_dead_letters(session, [_dead_letter(lost, rejection, now)])


def _dead_letter(entry: StreamEntry, rejection: EventRejected, now: datetime) -> DeadLetter:
    return DeadLetter(
        tenant=entry.tenant[:TENANT_LONGEST],
        shard=entry.shard,
        entry_id=entry.entry_id,
        code=rejection.code,
        reason=rejection.message,
        event=entry.event,
        arrived_at=entry.arrived_at,
        recorded_at=now,
    )
