"""What the scenarios say: each step and check in a line with its seconds, and the first rows that differ."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

ROWS_SHOWN = 5


class Differs(AssertionError):
    """A check failed; the text has the first rows that differ."""


class Report:
    """Prints a line for each step, with the seconds since the one before."""

    def __init__(self) -> None:
        self._last = self._began = time.monotonic()

    def title(self, text: str) -> None:
        """Begin a scenario."""
        self._last = time.monotonic()
        print(f"\n{text}", flush=True)

    def step(self, text: str) -> None:
        """Something is done."""
        now = time.monotonic()
        print(f"  {now - self._last:6.1f} s  {text}", flush=True)
        self._last = now

    def end(self, text: str) -> None:
        """All is done."""
        print(f"\n{text} in {time.monotonic() - self._began:.0f} s", flush=True)

    def none(self, what: str, found: Sequence[str]) -> None:
        """Check that there is nothing to tell."""
        if found:
            raise Differs("\n".join([f"{what}, but there are {len(found)}:", *found[:ROWS_SHOWN]]))
        self.step(what)

    def equal(self, what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> None:
        """Check that two mappings are equal, key by key."""
        missing = object()
        keys = [*expected, *(key for key in found if key not in expected)]
        differing = [key for key in keys if expected.get(key, missing) != found.get(key, missing)]
        if differing:
            shown = [f"  {key}: {_difference(expected.get(key), found.get(key))}" for key in differing[:ROWS_SHOWN]]
            raise Differs("\n".join([f"not so: {what}; {len(differing)} of {len(keys)} differ:", *shown]))
        self.step(what)


def _difference(expected: Any, found: Any) -> str:
    if not isinstance(expected, list) or not isinstance(found, list):
        return f"expected {expected}, found {found}"
    lost, new = set(expected) - set(found), set(found) - set(expected)
    lines = [f"{len(expected)} rows expected, {len(found)} found"]
    lines += [f"    expected {row}" for row in sorted(lost)[:ROWS_SHOWN]]
    return "\n".join(lines + [f"    found    {row}" for row in sorted(new)[:ROWS_SHOWN]])
