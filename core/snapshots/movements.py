"""How the worths of accounts move that links measure: each by its facts, in the time in which it counts."""

from collections.abc import Sequence
from datetime import datetime

from core.events.spans import NEVER
from core.store.accounts import AccountKey
from core.store.driver import Session
from core.store.links import FundingRow
from core.store.measures import own_worths
from core.store.snapshots import read_movements
from core.store.spans import CountedAccount

# (moment, change of worth, inflow)
Movements = list[tuple[datetime, int, int]]


def read_counted_movements(
    session: Session, asked: Sequence[tuple[FundingRow, datetime, datetime | None]]
) -> list[Movements]:
    """The movements of what each link measures, from a moment on and before another one, in order of time.

    Where an account begins to count the measure rises by its worth then, and it falls by its worth where it ends.
    """
    spans: list[tuple[AccountKey, datetime, datetime | None]] = []
    owners: list[int] = []
    turns: list[tuple[int, AccountKey, datetime, int]] = []
    for n, (source, since, until) in enumerate(asked):
        tenant, end = source.row.tenant, until or NEVER
        for each in source.counting or (CountedAccount(source.row.link.account_id, None, None),):
            begin_at, end_at = max(since, each.counts_from or since), min(end, each.counts_until or NEVER)
            if each.counts_from is not None and each.counts_from >= (each.counts_until or NEVER):
                continue
            key = tenant, each.account_id
            if begin_at < end_at:
                spans.append((key, begin_at, None if end_at == NEVER else end_at))
                owners.append(n)
            for at, sign in ((each.counts_from, 1), (each.counts_until, -1)):
                if at is not None and since <= at < end:
                    turns.append((n, key, at, sign))
    found: list[Movements] = [[] for _ in asked]
    for n, movements in zip(owners, read_movements(session, spans), strict=True):
        found[n] += movements
    worths = own_worths(session, [(*key, at) for _, key, at, _ in turns])
    for n, key, at, sign in turns:
        found[n].append((at, sign * worths[*key, at], 0))
    return [_summed(found[n]) if source.counting else found[n] for n, (source, _, _) in enumerate(asked)]


def _summed(movements: Movements) -> Movements:
    """One movement for each moment, in order of time."""
    sums: dict[datetime, tuple[int, int]] = {}
    for at, worth, inflow in movements:
        before = sums.get(at, (0, 0))
        sums[at] = before[0] + worth, before[1] + inflow
    return [(at, *moved) for at, moved in sorted(sums.items())]
