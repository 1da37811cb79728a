"""What a verification found: for each check how much was compared, and the rows that are not as they should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Part of a milestone's key, and nobody else's business in a log.
_AMOUNT_IN_KEY = "amount_minor"


@dataclass(frozen=True, slots=True)
class Violation:
    """One value that is not as it should be. Amounts are minor units; None: no such row, or none should be.

    `key` names the row within the tenant, `what` the column or the promise.
    """

    tenant: str
    check: str
    key: Mapping[str, str]
    what: str
    stored: str | None
    expected: str | None

    @property
    def row(self) -> str:
        """The row's name, as in `goal_snapshots goal_id=goal_1 day=2026-03-01`; it has no amount in it."""
        places = (f"{name}={value}" for name, value in self.key.items() if name != _AMOUNT_IN_KEY)
        return " ".join((self.check, *places))


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: how many values it compared, how many were wrong, and the first of those."""

    check: str
    checked: int = 0
    wrong: int = 0
    first: tuple[Violation, ...] = ()

    def plus(self, other: Finding, most: int) -> Finding:
        """Both together, with at most `most` violations shown."""
        first = (self.first + other.first)[:most]
        return Finding(self.check, self.checked + other.checked, self.wrong + other.wrong, first)


@dataclass(frozen=True, slots=True)
class Verified:
    """The whole: which tenants, what each check found, and how long it took."""

    tenants: tuple[str, ...]
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def is_ok(self) -> bool:
        """Whether everything that was promised holds."""
        return self.violations == 0

    @property
    def violations(self) -> int:
        """How many values are wrong, shown or not."""
        return sum(finding.wrong for finding in self.findings)

    @property
    def checked(self) -> dict[str, int]:
        """How many values each check compared."""
        return {finding.check: finding.checked for finding in self.findings}

    @property
    def first(self) -> tuple[Violation, ...]:
        """The violations that are shown, check by check."""
        return tuple(violation for finding in self.findings for violation in finding.first)
