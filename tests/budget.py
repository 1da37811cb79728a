"""How many examples property tests try: a budget that `make test` has time for, and `make properties` many times it."""

from __future__ import annotations

import os

_TIMES = int(os.environ.get("EXAMPLES_TIMES", "1"))


def examples(count: int) -> int:
    """So many examples in `make test`."""
    return count * _TIMES
