"""The amount of a goal, now and at any past moment: always computed from facts, never kept as a running sum."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from core.goals.goal import Tracking, follows_balances
from core.goals.links import Link, measured
from core.goals.money import share

# The measure, just before a moment, of the account of the link with this index in `GoalHistory.links`.
MeasureBefore = Callable[[int, datetime], int]


class FundedLink(NamedTuple):
    """A link with the present measure of its account, in minor units.

    `counts` is False if the account has another currency than the goal or the wrong kind: such a link adds nothing.
    `known_at` is when the account's balance became known, see `core.store.links.FundingRow`; None if it is not.
    """

    link: Link
    measure_minor: int
    counts: bool
    known_at: datetime | None

    def is_known(self, final_at: datetime | None) -> bool:
        """Whether the balance is known at present, or was before the goal's final moment."""
        return self.known_at is not None and (final_at is None or self.known_at < final_at)


@dataclass(frozen=True, slots=True)
class ManualAmount:
    """An amount set by hand and when; `manual_at` is None for the amount given at creation."""

    manual_at: datetime | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class GoalHistory:
    """All that a goal's past amounts depend on, except the measures of its accounts. `manual` is in order of time."""

    tracking: Tracking
    direction: int
    manual: Sequence[ManualAmount]
    links: Sequence[FundedLink]
    final_at: datetime | None

    def turns(self) -> list[datetime]:
        """The moments at which the goal itself changed."""
        links = [funded.link for funded in self.links]
        turns = [link.from_at for link in links] + [link.until_at for link in links]
        turns += [manual.manual_at for manual in self.manual] + [self.final_at]
        return [at for at in turns if at is not None]


def amount(
    tracking: Tracking, direction: int, manual_minor: int, links: Sequence[FundedLink], *, final_at: datetime | None
) -> int:
    """The goal's amount in minor units; `final_at` is the final moment of a completed or abandoned goal.

    change, inflow: the manual amount plus what all links, open or ended, have measured since: 2,500.00 set by hand,
    60% of +1,000.00 and 40% of -250.00 make 3,000.00. balance, net_worth: what the open links measure, once the balance
    of one of their accounts is known; until then the manual amount. Each share is cut towards zero by itself, so the
    order of the links does not matter.
    """
    contributing = contributing_links(tracking, links, final_at=final_at)
    if contributing and follows_balances(tracking):
        return direction * _sum_of_shares(contributing)
    return manual_minor + direction * _sum_of_shares(contributing)


def contributing_links(
    tracking: Tracking, links: Sequence[FundedLink], *, final_at: datetime | None
) -> list[FundedLink]:
    """The links whose shares make up the amount.

    A goal that follows balances has none until the balance of one of its open links' accounts is known.
    """
    if not follows_balances(tracking):
        return [funded for funded in links if funded.counts]
    open_links = _open_links(links, final_at)
    return open_links if any(funded.is_known(final_at) for funded in open_links) else []


def waiting_for(
    tracking: Tracking, links: Sequence[FundedLink], *, final_at: datetime | None = None
) -> tuple[str, ...]:
    """The ids, sorted, of the accounts whose balances a goal that follows balances waits for; else empty."""
    if not follows_balances(tracking):
        return ()
    open_links = _open_links(links, final_at)
    return tuple(sorted({funded.link.account_id for funded in open_links if not funded.is_known(final_at)}))


def follows_accounts(tracking: Tracking, links: Sequence[FundedLink]) -> bool:
    """Whether the amount comes from the accounts alone, so that it can no longer be set by hand."""
    return follows_balances(tracking) and bool(contributing_links(tracking, links, final_at=None))


def amount_before(history: GoalHistory, moment: datetime, measure_before: MeasureBefore) -> int:
    """The amount in minor units from the facts before `moment`; a final goal counts none after its final moment.

    Example (change): 2,500.00 set by hand, then 60% of an account that had 400.00 when it was linked and has 1,400.00
    just before `moment`: 3,100.00.
    """
    manual = manual_before(history, moment)
    end = moment if history.final_at is None else min(moment, history.final_at)
    if follows_balances(history.tracking):
        open_links = [(n, funded) for n, funded in enumerate(history.links) if _is_open_before(funded, end)]
        return _balance_before(history, manual, end, open_links, measure_before)
    total = 0
    for n, begin, until in _counted_periods(history, manual, end):
        total += share(measure_before(n, until) - measure_before(n, begin), history.links[n].link.ppm)
    return manual.amount_minor + history.direction * total


def manual_before(history: GoalHistory, moment: datetime) -> ManualAmount:
    """The last amount set by hand before `moment`, and not after the goal's final moment."""
    return next(
        manual
        for manual in reversed(history.manual)
        if manual.manual_at is None
        or (manual.manual_at < moment and (history.final_at is None or manual.manual_at <= history.final_at))
    )


def link_turns(history: GoalHistory, since: datetime, until: datetime) -> list[datetime]:
    """The moments, from `since` on and before `until`, at which links of a goal that follows balances begin or end."""
    if not follows_balances(history.tracking):
        return []
    links = [funded.link for funded in history.links if funded.counts]
    moments = {link.from_at for link in links} | {link.until_at for link in links if link.until_at is not None}
    return sorted(at for at in moments if since <= at < until)


def moved_by_links(history: GoalHistory, moment: datetime, measure_before: MeasureBefore) -> int:
    """By how much the amount changes only because links of a goal that follows balances begin or end at a moment.

    An account with a worth of 500.00 is linked whole: 500.00. From the moment on 60% of it count instead: -200.00.
    """
    manual = manual_before(history, moment)
    links = list(enumerate(history.links))
    before = [(n, each) for n, each in links if _is_open_before(each, moment)]
    after = [(n, each) for n, each in links if _is_open_after(each, moment)]
    return _balance_before(history, manual, moment, after, measure_before) - _balance_before(
        history, manual, moment, before, measure_before
    )


def begins_before(history: GoalHistory, moment: datetime) -> Iterator[tuple[int, datetime]]:
    """(link index, begin) of each period whose measure at its begin `amount_before` subtracts.

    A goal that follows balances has none.
    """
    if follows_balances(history.tracking):
        return
    end = moment if history.final_at is None else min(moment, history.final_at)
    for n, begin, _ in _counted_periods(history, manual_before(history, moment), end):
        yield n, begin


def _open_links(links: Sequence[FundedLink], final_at: datetime | None) -> list[FundedLink]:
    """The links that count and are open, or were open until the goal's final moment ended them."""
    return [
        funded
        for funded in links
        if funded.counts and (funded.link.is_open or (final_at is not None and _was_open_at(funded.link, final_at)))
    ]


def _was_open_at(link: Link, final_at: datetime) -> bool:
    return link.until_at == final_at and link.from_at < final_at


def _sum_of_shares(links: Iterable[FundedLink]) -> int:
    return sum(share(measured(funded.link, funded.measure_minor), funded.link.ppm) for funded in links)


def _counted_periods(
    history: GoalHistory, manual: ManualAmount, end: datetime
) -> Iterator[tuple[int, datetime, datetime]]:
    """(link index, begin, until) of the period in which each link counts for the amount at `end`."""
    for n, funded in enumerate(history.links):
        link = funded.link
        begin = link.from_at if manual.manual_at is None else max(link.from_at, manual.manual_at)
        until = end if link.until_at is None else min(link.until_at, end)
        if funded.counts and begin < until:
            yield n, begin, until


def _is_open_before(funded: FundedLink, end: datetime) -> bool:
    """Whether a link counts and was open just before `end`."""
    link = funded.link
    return funded.counts and link.from_at < end and (link.until_at is None or link.until_at >= end)


def _is_open_after(funded: FundedLink, moment: datetime) -> bool:
    """Whether a link counts and is open from a moment on."""
    return funded.counts and funded.link.from_at <= moment and funded.link.ends_after(moment)


def _balance_before(
    history: GoalHistory,
    manual: ManualAmount,
    moment: datetime,
    links: Sequence[tuple[int, FundedLink]],
    measure_before: MeasureBefore,
) -> int:
    """The amount of a goal that follows balances, from the facts before a moment, if these (index, link) are open."""
    if not any(funded.is_known(history.final_at) for _, funded in links):
        return manual.amount_minor
    return history.direction * sum(share(measure_before(n, moment), funded.link.ppm) for n, funded in links)
