"""The stage apply_events: writes what one batch of stream entries changes, from facts to goals and dead letters.

Steps, all in the caller's transaction, so that a crash after any of them leaves nothing of the batch behind:

1. decode every entry; an entry that cannot be decoded becomes a dead letter
2. find the accounts for which the batch has only new simple transactions: they are for the fast path
3. lock all accounts in id order and make new ones; add the sums of step 2 to those accounts that, under the lock, still
   qualify for the fast path, and to the goals that depend on one such account alone
4. fold the facts of the other accounts into what is stored: of two statements about one key the later one wins
5. write facts, these accounts and their goals
6. correct the links whose base or end late facts change; lock the other goals in id order and recompute them
7. write the dead letters
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from core.errors import EventRejected
from core.events.facts import AccountFacts, SimpleTransaction
from core.ingestion.decode import Decoded, StreamEntry, decode_batch
from core.ingestion.fast_path import DuplicateCheck, Moves, take_fast_path
from core.ingestion.fold import fold_accounts
from core.ingestion.update_goals import update_goals
from core.store.accounts import AccountKey, AccountRow, read_accounts
from core.store.dead_letters import TENANT_LONGEST, DeadLetter, events_of_letters, keep_dead_letters
from core.store.driver import plan_by_key
from core.store.facts import TransactionKey, read_transactions, write_transactions
from core.store.tenants import DEFAULT, read_tenants
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

    def is_duplicate(self, winning_ids: Set[int]) -> bool:
        """Whether no statement of the entry is among the winners, which are given by their id()."""
        for facts in self.facts:
            if id(facts.transaction) in winning_ids or id(facts.report) in winning_ids:
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
    refused = [_dead_letter(entry, rejection, now) for entry, rejection in batch.refused]
    sums, written = take_fast_path(session, batch.sums, batch.others, now, duplicate_check or DuplicateCheck())
    rows = read_accounts(session, written.locked_only)
    admitted, facts = _admit(_entries_of(batch, written.locked_only), rows, refused, now)
    folded = fold_accounts(session, rows, facts, batch.zones, read_transactions(session, _transaction_keys(facts)))
    write_transactions(session, folded.changes)
    moves = Moves(folded.moves, sums)
    updated = update_goals(session, written, folded.writes, moves, now)
    keep_dead_letters(session, refused)
    return Applied(
        events=len(batch.entries),
        duplicates=sum([each.is_duplicate(folded.winning_ids) for each in admitted]),
        dead_letters=len(refused),
        accounts_moved=len(moves),
        goals_moved=updated.goals,
        milestones_reached=updated.milestones_reached,
    )


def _entries_of(batch: Decoded, keys: Collection[AccountKey]) -> list[ParsedEntry]:
    """The entries that state anything about these accounts, in the order of arrival."""
    entries = []
    for entry, parsed in batch.parsed if keys else ():
        if not isinstance(parsed, SimpleTransaction):
            entries.append(ParsedEntry(entry, entry.tenant, parsed))
        elif (entry.tenant, parsed.account_id) in keys:
            entries.append(ParsedEntry(entry, entry.tenant, (parsed.facts(),)))
    return entries


def _admit(
    entries: Sequence[ParsedEntry], rows: Mapping[AccountKey, AccountRow], refused: list[DeadLetter], now: datetime
) -> tuple[list[ParsedEntry], dict[AccountKey, list[AccountFacts]]]:
    """The entries in the currency of their accounts, and their facts by account.

    The currency of an account is that of the first fact received, and its row gets it here. An entry with a fact in
    another currency is added to `refused`.
    """
    currencies = {key: row.currency for key, row in rows.items()}
    by_account: dict[AccountKey, list[AccountFacts]] = {key: [] for key in rows}
    admitted: list[ParsedEntry] = []
    for each in entries:
        tenant = each.tenant
        try:
            for facts in each.facts:
                _note_currency((tenant, facts.account_id), facts.currency, currencies)
        except EventRejected as rejection:
            refused.append(_dead_letter(each.entry, rejection, now))
            continue
        admitted.append(each)
        for facts in each.facts:
            by_account[tenant, facts.account_id].append(facts)
    for key, row in rows.items():
        if row.currency != currencies[key]:
            row.currency, row.is_changed = currencies[key], True
    return admitted, by_account


def _note_currency(key: AccountKey, stated: str | None, currencies: dict[AccountKey, str | None]) -> None:
    known = currencies[key]
    if stated is None or stated == known:
        return
    if known is not None:
        raise EventRejected("currency_mismatch", f"the event is in {stated}, but the account is in {known}")
    currencies[key] = stated


def _transaction_keys(facts: Mapping[AccountKey, Sequence[AccountFacts]]) -> list[TransactionKey]:
    """The keys of the transactions that facts state or replace, with repetitions."""
    keys: list[TransactionKey] = []
    for (tenant, account_id), of_account in facts.items():
        for stated in of_account:
            transaction = stated.transaction
            if transaction is not None:
                keys.append((tenant, account_id, transaction.transaction_id))
                if transaction.replaces is not None:
                    keys.append((tenant, account_id, transaction.replaces))
    return keys


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
