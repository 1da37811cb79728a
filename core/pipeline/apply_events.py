"""The stage apply_events: one batch of stream entries becomes facts, worths, amounts, marks, messages and dead letters.

Steps, all in the caller's transaction, so that a crash after any of them leaves nothing of the batch behind:

1. parse every entry; what cannot be understood becomes a dead letter
2. lock the accounts in id order, making new ones
3. fold the facts into what is stored: for one key the later time stands
4. write facts, days and accounts
5. move the links that late facts concern; lock the goals in id order and settle them
6. keep the dead letters
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from core.errors import EventRejected
from core.events.envelope import EVENT_LONGEST_BYTES, check_envelope, parse_json
from core.events.facts import AccountFacts
from core.events.parse import parse_event
from core.pipeline.fold_accounts import fold_accounts
from core.pipeline.move_goals import move_goals
from core.store.accounts import AccountKey, AccountRow, lock_accounts
from core.store.bulk import plan_by_key
from core.store.dead_letters import TENANT_LONGEST, DeadLetter, keep_dead_letters
from core.store.tenants import DEFAULT, Tenant, read_tenants


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry of the stream as it lies there. (shard, entry_id) is unique; `arrived_at` is the stream's own time."""

    shard: int
    entry_id: str
    arrived_at: datetime
    tenant: str
    event: bytes


@dataclass(frozen=True, slots=True)
class Applied:
    """What one batch did. `duplicates` are events that changed nothing: what they state was known, or is older."""

    events: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    accounts_moved: int = 0
    goals_moved: int = 0
    milestones_reached: int = 0


@dataclass(frozen=True, slots=True)
class Stated:
    """One entry with what it states, an account each."""

    entry: StreamEntry
    tenant: Tenant
    facts: tuple[AccountFacts, ...]

    def is_duplicate(self, news: Set[int]) -> bool:
        """Whether no statement of the entry is among the news."""
        stated = ((f.transaction, f.report, *f.attributes) for f in self.facts)
        return not any(id(statement) in news for of_account in stated for statement in of_account)


def apply_events(session: Session, entries: Sequence[StreamEntry], now: datetime) -> Applied:
    """Apply a batch. Applying an entry again, or in any other batch or order, changes nothing more."""
    plan_by_key(session)
    stated, refused = _parse(session, entries, now)
    rows = lock_accounts(session, ((s.tenant.name, f.account_id) for s in stated for f in s.facts))
    by_account: dict[AccountKey, list[AccountFacts]] = {key: [] for key in rows}
    admitted: list[Stated] = []
    for each in stated:
        try:
            _settle_currencies(each, rows)
        except EventRejected as rejection:
            refused.append(_dead_letter(each.entry, rejection, now))
            continue
        admitted.append(each)
        for facts in each.facts:
            by_account[each.tenant.name, facts.account_id].append(facts)
    zones = {each.tenant.name: each.tenant.zone for each in stated}
    news: set[int] = set()
    moves = fold_accounts(session, rows, by_account, zones, news)
    settled = move_goals(session, moves, now)
    keep_dead_letters(session, refused)
    return Applied(
        events=len(entries),
        duplicates=sum(each.is_duplicate(news) for each in admitted),
        dead_letters=len(refused),
        accounts_moved=len(moves),
        goals_moved=len(settled.goals),
        milestones_reached=settled.milestones_reached,
    )


def quarantine(session: Session, entry: StreamEntry, reason: str, now: datetime) -> None:
    """Keep an entry that fails or kills its worker even when it is alone as a dead letter."""
    keep_dead_letters(session, [_dead_letter(entry, EventRejected("poison", reason), now)])


def keep_lost_entry(session: Session, shard: int, entry_id: str, arrived_at: datetime, now: datetime) -> None:
    """Note an entry whose content the stream dropped before it was applied, so that the loss is not silent."""
    lost = StreamEntry(shard, entry_id, arrived_at, DEFAULT, b"")
    rejection = EventRejected("lost", "the stream dropped the entry before it was applied")
    keep_dead_letters(session, [_dead_letter(lost, rejection, now)])


def _parse(session: Session, entries: Sequence[StreamEntry], now: datetime) -> tuple[list[Stated], list[DeadLetter]]:
    tenants = read_tenants(session, (entry.tenant for entry in entries))
    stated: list[Stated] = []
    refused: list[DeadLetter] = []
    for entry in entries:
        try:
            tenant = tenants.get(entry.tenant)
            if tenant is None:
                raise EventRejected("unknown_tenant", "the tenant does not exist")
            if len(entry.event) > EVENT_LONGEST_BYTES:
                raise EventRejected("too_large", f"an event has at most {EVENT_LONGEST_BYTES:,} bytes")
            envelope = check_envelope(parse_json(entry.event))
            stated.append(Stated(entry, tenant, parse_event(envelope, tenant.zone, entry.arrived_at)))
        except EventRejected as rejection:
            refused.append(_dead_letter(entry, rejection, now))
    return stated, refused


def _settle_currencies(stated: Stated, rows: Mapping[AccountKey, AccountRow]) -> None:
    """An account's currency is that of the first fact received; a fact in another one is refused."""
    for facts in stated.facts:
        row = rows[stated.tenant.name, facts.account_id]
        if facts.currency is None or facts.currency == row.currency:
            continue
        if row.currency is not None:
            raise EventRejected(
                "currency_mismatch", f"the event is in {facts.currency}, but the account is in {row.currency}"
            )
        row.currency, row.is_changed = facts.currency, True


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
