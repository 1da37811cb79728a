"""The amount of a goal: a function of what was typed and what its links measured, never a running sum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from core.goals.goal import Tracking, follows_balances
from core.goals.links import Link, measured
from core.goals.money import share


class FundedLink(NamedTuple):
    """A link with its account's present measure in minor units, and what is known of the account.

    `counts` is False for an account of another currency or of the wrong kind: such a link counts nothing.
    """

    link: Link
    measure_minor: int
    counts: bool
    has_report: bool


def amount(
    tracking: Tracking,
    direction: int,
    typed_minor: int,
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
    return typed_minor + direction * _shares(parts)


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
