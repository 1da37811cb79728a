"""How the worths of accounts move that links measure: each by its facts, in the time in which it counts."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

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
    counted = [counted_times(source, since, until or NEVER) for source, since, until in asked]
    spans = [(key, since, None if until == NEVER else until) for each in counted for key, since, until in each.times]
    owners = [n for n, each in enumerate(counted) for _ in each.times]
    found: list[Movements] = [[] for _ in asked]
    for n, movements in zip(owners, read_movements(session, spans), strict=True):
        found[n] += movements
    for own, moved in zip(found, read_turns(session, counted), strict=True):
        own += [(at, minor, 0) for at, minor in moved]
    return [_summed(found[n]) if source.counting else found[n] for n, (source, _, _) in enumerate(asked)]


class CountedTimes(NamedTuple):
    """Of a link in some time: from when until when each account counts, and the turns at which one begins or ends to.

    A turn has 1 or -1 for that.
    """

    times: list[tuple[AccountKey, datetime, datetime]]
    turns: list[tuple[AccountKey, datetime, int]]


def counted_times(source: FundingRow, since: datetime, until: datetime) -> CountedTimes:
    """When the accounts of a link count, from a moment on and before another one."""
    found = CountedTimes([], [])
    for each in source.counting or (CountedAccount(source.row.link.account_id, None, None),):
        if each.counts_from is not None and each.counts_from >= (each.counts_until or NEVER):
            continue
        key = source.row.tenant, each.account_id
        begin_at, end_at = max(since, each.counts_from or since), min(until, each.counts_until or NEVER)
        if begin_at < end_at:
            found.times.append((key, begin_at, end_at))
        for at, sign in ((each.counts_from, 1), (each.counts_until, -1)):
            if at is not None and since <= at < until:
                found.turns.append((key, at, sign))
    return found


def read_turns(session: Session, counted: Sequence[CountedTimes]) -> list[list[tuple[datetime, int]]]:
    """For each of these the (moment, change of worth) of its turns: the worth that an account has there."""
    worths = own_worths(session, [(*key, at) for each in counted for key, at, _ in each.turns])
    return [[(at, sign * worths[*key, at]) for key, at, sign in each.turns] for each in counted]


def _summed(movements: Movements) -> Movements:
    """One movement for each moment, in order of time."""
    sums: dict[datetime, tuple[int, int]] = {}
    for at, worth, inflow in movements:
        before = sums.get(at, (0, 0))
        sums[at] = before[0] + worth, before[1] + inflow
    return [(at, *moved) for at, moved in sorted(sums.items())]
