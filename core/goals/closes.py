"""The amount of a goal at any moment of its past: from all that was typed, all its links, and measures at moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from core.goals.amounts import FundedLink
from core.goals.goal import Tracking, follows_balances
from core.goals.money import share


@dataclass(frozen=True, slots=True)
class Typed:
    """An amount set by hand and its moment; None for the amount given at creation, which has none."""

    typed_at: datetime | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class GoalHistory:
    """All that a goal's past amounts follow from, but for the measures of its accounts. `typed` is in order of time."""

    tracking: Tracking
    direction: int
    typed: Sequence[Typed]
    links: Sequence[FundedLink]
    final_at: datetime | None


# The measure of the account of link n just before a moment.
MeasureBefore = Callable[[int, datetime], int]


def amount_before(history: GoalHistory, moment: datetime, measure_before: MeasureBefore) -> int:
    """The amount in minor units from the facts before `moment`, but not beyond the final moment of a final goal.

    Example (change): 2,500.00 typed, then 60% of an account that stood at 400.00 when it was linked and stands at
    1,400.00 just before `moment`: 3,100.00.
    """
    typed = typed_before(history, moment)
    end = moment if history.final_at is None else min(moment, history.final_at)
    if follows_balances(history.tracking):
        present = [(n, funded) for n, funded in enumerate(history.links) if _is_present(funded, end)]
        if not any(funded.has_report for _, funded in present):
            return typed.amount_minor
        return history.direction * sum(share(measure_before(n, end), funded.link.ppm) for n, funded in present)
    total = 0
    for n, begin, until in _counted(history, typed, end):
        total += share(measure_before(n, until) - measure_before(n, begin), history.links[n].link.ppm)
    return typed.amount_minor + history.direction * total


def typed_before(history: GoalHistory, moment: datetime) -> Typed:
    """What was typed last before a moment, and not after the final one."""
    return next(
        typed
        for typed in reversed(history.typed)
        if typed.typed_at is None
        or (typed.typed_at < moment and (history.final_at is None or typed.typed_at <= history.final_at))
    )


def begins_before(history: GoalHistory, moment: datetime) -> Iterator[tuple[int, datetime]]:
    """(link, moment) of each begin whose measure the amount before `moment` takes off; none where balances count."""
    if follows_balances(history.tracking):
        return
    end = moment if history.final_at is None else min(moment, history.final_at)
    for n, begin, _ in _counted(history, typed_before(history, moment), end):
        yield n, begin


def _counted(history: GoalHistory, typed: Typed, end: datetime) -> Iterator[tuple[int, datetime, datetime]]:
    """(link, begin, until) of the links that measured something by `end`."""
    for n, funded in enumerate(history.links):
        link = funded.link
        begin = link.from_at if typed.typed_at is None else max(link.from_at, typed.typed_at)
        until = end if link.until_at is None else min(link.until_at, end)
        if funded.counts and begin < until:
            yield n, begin, until


def _is_present(funded: FundedLink, end: datetime) -> bool:
    link = funded.link
    return funded.counts and link.from_at < end and (link.until_at is None or link.until_at >= end)
