"""The amount of a goal, now and at any moment of its past: a function of facts, never a running sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from core.goals.goal import Tracking, follows_balances
from core.goals.links import Link, measured
from core.goals.money import share

# The measure of the account of link n just before a moment.
MeasureBefore = Callable[[int, datetime], int]


class FundedLink(NamedTuple):
    """A link with its account's present measure in minor units, and what is known of the account.

    `counts` is False for an account of another currency or of the wrong kind: such a link counts nothing.
    """

    link: Link
    measure_minor: int
    counts: bool
    has_report: bool


@dataclass(frozen=True, slots=True)
class ManualAmount:
    """An amount set by hand and its moment; None for the amount given at creation, which has none."""

    manual_at: datetime | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class GoalHistory:
    """All that a goal's past amounts follow from, but for the measures of its accounts. `typed` is in order of time."""

    tracking: Tracking
    direction: int
    manual: Sequence[ManualAmount]
    links: Sequence[FundedLink]
    final_at: datetime | None


def amount(
    tracking: Tracking,
    direction: int,
    manual_minor: int,
    links: Sequence[FundedLink],
    *,
    final_at: datetime | None,
) -> int:
    """The goal's amount in minor units; `final_at` is the final moment of a completed or abandoned goal.

    change, inflow: what was typed, and what all links, open or ended, measured since: 2,500.00 typed, 60% of
    +1,000.00 and 40% of -250.00 make 3,000.00. balance: what the present links measure, once one of their
    accounts has a report, and until then what was typed. Each share is cut by itself, so order is nothing.
    """
    parts = made_of(tracking, links, final_at=final_at)
    if parts and follows_balances(tracking):
        return direction * _shares(parts)
    return manual_minor + direction * _shares(parts)


def made_of(tracking: Tracking, links: Sequence[FundedLink], *, final_at: datetime | None) -> list[FundedLink]:
    """The links that the amount is made of; where balances count, none until one of their accounts has a report."""
    if not follows_balances(tracking):
        return [funded for funded in links if funded.counts]
    present = _present(links, final_at)
    return present if any(funded.has_report for funded in present) else []


def waiting_for(
    tracking: Tracking, links: Sequence[FundedLink], *, final_at: datetime | None = None
) -> tuple[str, ...]:
    """The accounts, sorted, that a goal which follows balances still needs a report of; else empty."""
    if not follows_balances(tracking):
        return ()
    return tuple(sorted({funded.link.account_id for funded in _present(links, final_at) if not funded.has_report}))


def follows_accounts(tracking: Tracking, links: Sequence[FundedLink]) -> bool:
    """Whether the amount comes from the accounts alone, so that none can be typed any more."""
    return follows_balances(tracking) and bool(made_of(tracking, links, final_at=None))


def amount_before(history: GoalHistory, moment: datetime, measure_before: MeasureBefore) -> int:
    """The amount in minor units from the facts before `moment`, but not beyond the final moment of a final goal.

    Example (change): 2,500.00 typed, then 60% of an account that stood at 400.00 when it was linked and stands at
    1,400.00 just before `moment`: 3,100.00.
    """
    manual = manual_before(history, moment)
    end = moment if history.final_at is None else min(moment, history.final_at)
    if follows_balances(history.tracking):
        present = [(n, funded) for n, funded in enumerate(history.links) if _is_present(funded, end)]
        if not any(funded.has_report for _, funded in present):
            return manual.amount_minor
        return history.direction * sum(share(measure_before(n, end), funded.link.ppm) for n, funded in present)
    total = 0
    for n, begin, until in _counted(history, manual, end):
        total += share(measure_before(n, until) - measure_before(n, begin), history.links[n].link.ppm)
    return manual.amount_minor + history.direction * total


def manual_before(history: GoalHistory, moment: datetime) -> ManualAmount:
    """What was typed last before a moment, and not after the final one."""
    return next(
        manual
        for manual in reversed(history.manual)
        if manual.manual_at is None
        or (manual.manual_at < moment and (history.final_at is None or manual.manual_at <= history.final_at))
    )


def begins_before(history: GoalHistory, moment: datetime) -> Iterator[tuple[int, datetime]]:
    """(link, moment) of each begin whose measure the amount before `moment` takes off; none where balances count."""
    if follows_balances(history.tracking):
        return
    end = moment if history.final_at is None else min(moment, history.final_at)
    for n, begin, _ in _counted(history, manual_before(history, moment), end):
        yield n, begin


def _present(links: Sequence[FundedLink], final_at: datetime | None) -> list[FundedLink]:
    """The counting links that are open, or were so until the goal's final moment ended them."""
    return [
        funded
        for funded in links
        if funded.counts and (funded.link.is_open or (final_at is not None and _was_open_at(funded.link, final_at)))
    ]


def _was_open_at(link: Link, final_at: datetime) -> bool:
    return link.until_at == final_at and link.from_at < final_at


def _shares(links: Iterable[FundedLink]) -> int:
    return sum(share(measured(funded.link, funded.measure_minor), funded.link.ppm) for funded in links)


def _counted(history: GoalHistory, manual: ManualAmount, end: datetime) -> Iterator[tuple[int, datetime, datetime]]:
    """(link, begin, until) of the links that measured something by `end`."""
    for n, funded in enumerate(history.links):
        link = funded.link
        begin = link.from_at if manual.manual_at is None else max(link.from_at, manual.manual_at)
        until = end if link.until_at is None else min(link.until_at, end)
        if funded.counts and begin < until:
            yield n, begin, until


def _is_present(funded: FundedLink, end: datetime) -> bool:
    link = funded.link
    return funded.counts and link.from_at < end and (link.until_at is None or link.until_at >= end)
