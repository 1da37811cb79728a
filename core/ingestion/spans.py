"""Accounts that count only for a time, since they were opened on a day or are joined with others: what a batch changes.

Few accounts have such a span. What their goals depend on is not moved by differences but read anew: when each account
counts, what their links measure, and the amounts. A batch has locked the whole chain of each of its accounts, so all
that is read here stands still.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from datetime import datetime
from zoneinfo import ZoneInfo

from core.events.spans import NEVER, Span, spans_of
from core.events.worth import MOMENT, Movement
from core.ingestion.account_moves import AccountMove, AccountMoves
from core.ingestion.dirty_days import FIRST_DAY
from core.store.accounts import AccountKey
from core.store.driver import Session
from core.store.links import LinkPeriod, set_measures
from core.store.measures import read_measures
from core.store.spans import SpannedAccount, read_spanned, write_spans


def update_spans(
    session: Session,
    keys: Set[AccountKey],
    links: Sequence[LinkPeriod],
    moves: AccountMoves,
    zones: Mapping[str, ZoneInfo],
    now: datetime,
) -> None:
    """Update accounts whose facts are written: when they count, their links, their dirty ranges and their moves.

    `keys` are whole chains, as they were and as they are now, and `links` all links of these accounts. The goals of
    these links are locked, and the caller recomputes them.
    """
    stored = read_spanned(session, keys, zones)
    spans = _spans(stored)
    changed = {key for key, span in spans.items() if span != stored[key].span}
    affected = {chain for key in changed for chain in _chains(key, stored[key].span, spans[key])}
    anew = {key for key in stored if affected.intersection(_chains(key, stored[key].span, spans[key]))}
    rows = _with_dirty_ranges(stored, spans, anew)
    write_spans(session, {key: row for key, row in rows.items() if row != stored[key]})
    _measure_links(session, links)
    _join_moves(session, stored, spans, anew, moves, now)


def _spans(stored: Mapping[AccountKey, SpannedAccount]) -> dict[AccountKey, Span]:
    spans: dict[AccountKey, Span] = {}
    for tenant in {key[0] for key in stored}:
        described = {key[1]: row.described for key, row in stored.items() if key[0] == tenant}
        spans |= {(tenant, name): span for name, span in spans_of(described).items()}
    return spans


def _chains(key: AccountKey, *spans: Span) -> set[AccountKey]:
    """The chains of an account; one that no statement names is alone in its own."""
    return {(key[0], span.chain_id or key[1]) for span in spans}


def _with_dirty_ranges(
    stored: Mapping[AccountKey, SpannedAccount], spans: Mapping[AccountKey, Span], anew: Collection[AccountKey]
) -> dict[AccountKey, SpannedAccount]:
    """The accounts with their spans; those of a chain share a dirty range, since a link to one may measure all."""
    by_chain: dict[AccountKey, list[AccountKey]] = {}
    for key, span in spans.items():
        by_chain.setdefault((key[0], span.chain_id or key[1]), []).append(key)
    rows = {}
    for chain in by_chain.values():
        before = [stored[key] for key in chain]
        dirty_from = min(filter(None, (row.dirty_from for row in before)), default=None)
        late_from = min(filter(None, (row.late_from for row in before)), default=None)
        late_through = max(filter(None, (row.late_through for row in before)), default=None)
        if chain[0] in anew:
            dirty_from = FIRST_DAY
        for key in chain:
            rows[key] = stored[key]._replace(
                span=spans[key], dirty_from=dirty_from, late_from=late_from, late_through=late_through
            )
    return rows


def _measure_links(session: Session, links: Iterable[LinkPeriod]) -> None:
    """Measure anew where links begin to count, and where they end."""
    periods = list(links)
    asked = {(*p.account_key, at) for p in periods for at in (p.begin_at, p.until_at) if at is not None}
    measures = read_measures(session, asked)

    def measure(period: LinkPeriod, at: datetime | None) -> int | None:
        return None if at is None else measures[*period.account_key, at].of(period.measure)

    set_measures(session, [(p, measure(p, p.begin_at) or 0, measure(p, p.until_at)) for p in periods])


def _join_moves(
    session: Session,
    stored: Mapping[AccountKey, SpannedAccount],
    spans: Mapping[AccountKey, Span],
    anew: Collection[AccountKey],
    moves: AccountMoves,
    now: datetime,
) -> None:
    """Let each account's move be that of all accounts joined with it, of each in the time in which it counts.

    If it is another time than before, all that they measure has moved, at the last moment at which the worth did.
    """
    turns = {key: _turns(row, spans[key]) for key, row in stored.items() if key in anew}
    groups: dict[tuple[str, str], list[AccountKey]] = {}
    for key, span in spans.items():
        groups.setdefault((key[0], span.joined_as or key[1]), []).append(key)
    present = read_measures(session, {(*key, NEVER) for key in anew})
    for group in groups.values():
        own = {key: move for key in group if (move := moves.of(key)) is not None}
        moved = [at for move in own.values() if (at := move.latest_at) is not None]
        if group[0] in anew:
            measures = present[*group[0], NEVER]
            at = max(moved + [at for key in group for at in turns[key]], default=now)
            joined = AccountMove(0, [Movement(at, measures.worth_minor, measures.inflow_minor)], at)
        elif own:
            movements = [m for key, move in own.items() for m in move.movements if _counts_at(spans[key], m.at)]
            joined = AccountMove(0, sorted(movements, key=MOMENT), max(moved, default=None))
        else:
            continue
        for key in group:
            moves.add(key, joined)


def _turns(row: SpannedAccount, span: Span) -> list[datetime]:
    """The moments at which the worth of an account, or whether it counts, last changed, now or before the batch."""
    limits = (span.counts_from, span.counts_until, row.span.counts_from, row.span.counts_until, row.last_fact_at)
    return [at for at in limits if at is not None and at != NEVER]


def _counts_at(span: Span, moment: datetime) -> bool:
    return (span.counts_from is None or span.counts_from <= moment) and (
        span.counts_until is None or moment < span.counts_until
    )
