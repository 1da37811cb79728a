"""The stage apply_events: one batch of stream entries becomes facts, worths, amounts, marks, messages and dead letters.

Steps, all in the caller's transaction, so that a crash after any of them leaves nothing of the batch behind:

1. understand every entry; what cannot be understood becomes a dead letter
2. find the accounts of which only new transactions are told
3. lock the accounts in id order, making new ones; those of step 2 take the sums, and with them the goals that hang on
   them alone, where it turns out under the lock that they are plain
4. fold what is told of the others into what is stored: for one key the later time stands
5. write facts, these accounts and their goals
6. move the links that late facts concern; lock the other goals in id order and settle them
7. keep the dead letters
"""

from __future__ import annotations

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
from core.ingestion.update_goals import move_goals
from core.store.accounts import AccountKey, AccountRow, read_accounts
from core.store.dead_letters import TENANT_LONGEST, DeadLetter, keep_dead_letters
from core.store.driver import plan_by_key
from core.store.facts import TransactionKey, read_transactions, write_transactions
from core.store.tenants import DEFAULT, read_tenants


@dataclass(frozen=True, slots=True)
class Applied:
    """What one batch did. `duplicates` are events that changed nothing: what they state was known, or is older."""

    events: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    accounts_moved: int = 0
    goals_moved: int = 0
    milestones_reached: int = 0


class Stated(NamedTuple):
    """One entry with what it states, an account each."""

    entry: StreamEntry
    tenant: str
    facts: tuple[AccountFacts, ...]

    def is_duplicate(self, new_statements: Set[int]) -> bool:
        """Whether no statement of the entry is among the new_statements."""
        for facts in self.facts:
            if id(facts.transaction) in new_statements or id(facts.report) in new_statements:
                return False
            if facts.attributes and any(id(attribute) in new_statements for attribute in facts.attributes):
                return False
        return True


def apply_events(session: Session, entries: Sequence[StreamEntry], now: datetime) -> Applied:
    """Apply a batch. Applying an entry again, or in any other batch or order, changes nothing more."""
    plan_by_key(session)
    return apply_decoded(session, decode_batch(entries, zones_of(session, entries)), now)


def zones_of(session: Session, entries: Iterable[StreamEntry]) -> dict[str, ZoneInfo]:
    """The time zones of the entries' tenants; a tenant that does not exist is left out."""
    tenants = read_tenants(session, {entry.tenant for entry in entries})
    return {name: tenant.zone for name, tenant in tenants.items()}


def apply_decoded(
    session: Session, batch: Decoded, now: datetime, duplicate_check: DuplicateCheck | None = None
) -> Applied:
    """Apply a batch that was decoded in the time zones of its tenants; `duplicate_check` if others came before it.

    The transaction finds rows by their keys (`plan_by_key`).
    """
    refused = [_dead_letter(entry, rejection, now) for entry, rejection in batch.refused]
    plain, written = take_fast_path(session, batch.sums, batch.others, now, duplicate_check or DuplicateCheck())
    rows = read_accounts(session, written.held)
    admitted, facts = _admit(_stated(batch, written.held), rows, refused, now)
    folded = fold_accounts(session, rows, facts, batch.zones, read_transactions(session, _keys_met(facts)))
    write_transactions(session, folded.changes)
    moves = Moves(folded.moves, plain)
    recomputed = move_goals(session, written, folded.writes, moves, now)
    keep_dead_letters(session, refused)
    return Applied(
        events=len(batch.entries),
        duplicates=sum([each.is_duplicate(folded.new_statements) for each in admitted]),
        dead_letters=len(refused),
        accounts_moved=len(moves),
        goals_moved=recomputed.goals,
        milestones_reached=recomputed.milestones_reached,
    )


def _stated(batch: Decoded, keys: Collection[AccountKey]) -> list[Stated]:
    """What is told of these accounts, in the order of arrival."""
    stated = []
    for entry, parsed in batch.read if keys else ():
        if not isinstance(parsed, SimpleTransaction):
            stated.append(Stated(entry, entry.tenant, parsed))
        elif (entry.tenant, parsed.account_id) in keys:
            stated.append(Stated(entry, entry.tenant, (parsed.facts(),)))
    return stated


def _admit(
    stated: Sequence[Stated], rows: Mapping[AccountKey, AccountRow], refused: list[DeadLetter], now: datetime
) -> tuple[list[Stated], dict[AccountKey, list[AccountFacts]]]:
    """What is in the currency of its account, then the same by account; rows take their currency.

    An account's currency is that of the first fact received; a fact in another one is refused.
    """
    currencies = {key: row.currency for key, row in rows.items()}
    by_account: dict[AccountKey, list[AccountFacts]] = {key: [] for key in rows}
    admitted: list[Stated] = []
    for each in stated:
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


def _keys_met(facts: Mapping[AccountKey, Sequence[AccountFacts]]) -> list[TransactionKey]:
    """The transactions that facts state or replace, with repetitions."""
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
    """Keep an entry that fails or kills its worker even when it is alone as a dead letter."""
    keep_dead_letters(session, [_dead_letter(entry, EventRejected("poison", reason), now)])


def keep_lost_entry(session: Session, shard: int, entry_id: str, arrived_at: datetime, now: datetime) -> None:
    """Note an entry whose content the stream dropped before it was applied, so that the loss is not silent."""
    lost = StreamEntry(shard, entry_id, arrived_at, DEFAULT, b"")
    rejection = EventRejected("lost", "the stream dropped the entry before it was applied")
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
