"""Which of two statements about one key stands."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Rank(NamedTuple):
    """The later `time` wins; at one time a removal beats a record; what is left goes to (source, id)."""

    time: datetime
    is_removal: bool
    source: str
    event_id: str


def attribute_rank(rank: Rank) -> str:
    """The rank of an account's attribute as text that sorts as the rank does.

    Attributes have no removals, so the time in fixed width, the source and the id are all there is. The separator
    sorts below every character that sources and ids may hold.
    """
    return f"{rank.time:%Y-%m-%dT%H:%M:%S.%f}\x1f{rank.source}\x1f{rank.event_id}"
