"""What a check is, and the list of all of them in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterator

from core.verify.account_checks import ACCOUNT_CHECKS
from core.verify.amount_checks import AMOUNT_CHECKS
from core.verify.check import Check
from core.verify.close_checks import CLOSE_CHECKS
from core.verify.goal_checks import GOAL_CHECKS
from core.verify.rewrite_checks import REWRITE_CHECKS

BY_ACCOUNT: tuple[Check, ...] = ACCOUNT_CHECKS
BY_GOAL: tuple[Check, ...] = AMOUNT_CHECKS + CLOSE_CHECKS + REWRITE_CHECKS + GOAL_CHECKS


def all_checks() -> Iterator[Check]:
    """Every check."""
    yield from BY_ACCOUNT
    yield from BY_GOAL
