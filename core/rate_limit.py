"""What a rate limit is: so many requests in a second, a minute or an hour."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import MilepostError

_SECONDS = {"second": 1, "minute": 60, "hour": 3_600}
LONGEST_S = _SECONDS["hour"]
_LIMIT = re.compile(rf"([1-9][0-9]{{0,8}})/({'|'.join(_SECONDS)})")


class BadLimit(MilepostError, ValueError):
    """The text of a limit that is none."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is no limit: write it as 100/second, 6000/minute or 100000/hour")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `requests` in `period_s` seconds."""

    requests: int
    period_s: int

    @classmethod
    def parse(cls, text: str) -> RateLimit:
        """The limit that a text such as 6000/minute is; raises BadLimit."""
        found = _LIMIT.fullmatch(text.strip())
        if found is None:
            raise BadLimit(text)
        return cls(int(found[1]), _SECONDS[found[2]])

    def __str__(self) -> str:
        (name,) = (name for name, seconds in _SECONDS.items() if seconds == self.period_s)
        return f"{self.requests:,} {'an' if name == 'hour' else 'a'} {name}"
