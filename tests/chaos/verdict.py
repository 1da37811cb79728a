"""The findings of all checks: wrong rows, by the check that found them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Wrong:
    """One wrong row, as text."""

    check: str
    row: str


@dataclass(slots=True)
class Verdict:
    """All wrong rows. Checks that found nothing are recorded too, to show that they ran."""

    checks: dict[str, int] = field(default_factory=dict)
    wrong: list[Wrong] = field(default_factory=list)

    def record(self, check: str, checked: int, rows: Iterable[str]) -> None:
        """Record the wrong rows that a check has found among the `checked` rows."""
        self.checks[check] = self.checks.get(check, 0) + checked
        self.wrong += [Wrong(check, row) for row in rows]

    def compare(self, check: str, expected: dict[str, object], stored: dict[str, object]) -> None:
        """Record each key whose stored value is not the expected one."""
        rows = [
            f"{key}: stored {_shown(stored, key)}, expected {_shown(expected, key)}"
            for key in sorted(expected.keys() | stored.keys())
            if _shown(stored, key) != _shown(expected, key)
        ]
        self.record(check, len(expected.keys() | stored.keys()), rows)

    @property
    def is_good(self) -> bool:
        """Whether no check has found anything."""
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


def _shown(values: dict[str, object], key: str) -> str:
    return str(values[key]) if key in values else "nothing"
