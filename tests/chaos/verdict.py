"""What is wrong: rows that should be otherwise, by the check that found them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Wrong:
    """One row that is wrong, in words."""

    check: str
    row: str


@dataclass(slots=True)
class Verdict:
    """All that was found wrong. Checks are noted too when they find nothing: one that did not run promises nothing."""

    checks: dict[str, int] = field(default_factory=dict)
    wrong: list[Wrong] = field(default_factory=list)

    def hold(self, check: str, looked_at: int, rows: Iterable[str]) -> None:
        """Note what a check has found among so many things."""
        self.checks[check] = self.checks.get(check, 0) + looked_at
        self.wrong += [Wrong(check, row) for row in rows]

    def compare(self, check: str, expected: dict[str, object], stored: dict[str, object]) -> None:
        """Note each key at which what is stored is not what was expected."""
        rows = [
            f"{key}: stored {_told(stored, key)}, expected {_told(expected, key)}"
            for key in sorted(expected.keys() | stored.keys())
            if _told(stored, key) != _told(expected, key)
        ]
        self.hold(check, len(expected.keys() | stored.keys()), rows)

    @property
    def is_good(self) -> bool:
        """Whether everything holds."""
        return not self.wrong

    def has_wrong(self, check: str) -> bool:
        """Whether a check has found anything."""
        return any(each.check == check for each in self.wrong)

    def first(self, most: int) -> Sequence[Wrong]:
        """The first wrong rows of each check."""
        shown: dict[str, int] = {}
        first = []
        for each in self.wrong:
            shown[each.check] = shown.get(each.check, 0) + 1
            if shown[each.check] <= most:
                first.append(each)
        return first


def _told(values: dict[str, object], key: str) -> str:
    return str(values[key]) if key in values else "nothing"
