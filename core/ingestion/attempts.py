"""How many entries a drain tries at once: all that fit a batch, and fewer after each time that it was in vain.

One event can make its batch fail, or kill the worker that applies it. So entries that were tried in vain are tried
again in parts, each an eighth of the last, until the event is alone; then others no longer suffer from it. What was
passed meanwhile is applied for good, and once a part is through, the next part is eight times as large.
"""

from core.store.positions import Position
from core.stream.entries import parse_id

_EIGHTH_BITS = 3

ALONE_MOST = 3
"""How often one entry is tried alone before it is set aside."""


def batch_size(position: Position, batch_events: int) -> int:
    """How many entries to try at once."""
    return max(1, batch_events >> _EIGHTH_BITS * position.tries)


def after_failure(position: Position, batch_events: int) -> Position:
    """The position after the entries that follow it were tried in vain once more."""
    in_doubt = batch_size(position, batch_events)
    return position._replace(tries=position.tries + 1, in_doubt=in_doubt, begun_at=None)


def begin(position: Position, batch_events: int) -> Position:
    """The position for a drain that begins: a drain that began before and did not end, died."""
    return position if position.begun_at is None else after_failure(position, batch_events)


def after_entries(position: Position, last: str, entries: int, batch_events: int) -> Position:
    """The position after so many entries, up to `last`, were applied or set aside."""
    in_doubt, tries = position.in_doubt - entries, position.tries
    if tries and in_doubt <= 0:
        tries = min(tries, _alone_from(batch_events)) - 1
        in_doubt = batch_size(position._replace(tries=tries), batch_events) if tries > 0 else 0
    is_reread = bool(position.reread_to) and parse_id(last) >= parse_id(position.reread_to)
    return position._replace(
        entry_id=last,
        passed=position.passed + entries,
        tries=max(0, tries),
        in_doubt=max(0, in_doubt),
        reread_to="" if is_reread else position.reread_to,
        begun_at=None,
    )


def is_hopeless(position: Position, batch_events: int) -> bool:
    """Whether the next entry has been tried alone so often that it has to be set aside."""
    # With more in doubt it was not alone: then the setting of the batch's size has changed meanwhile.
    return position.in_doubt <= 1 and position.tries >= _alone_from(batch_events) + ALONE_MOST


def tried_now(position: Position, batch_events: int) -> tuple[int, int]:
    """How many of the entries that follow were tried, and how often, the present time included."""
    if position.begun_at is None:
        return position.in_doubt, position.tries
    return batch_size(position, batch_events), position.tries + 1


def _alone_from(batch_events: int) -> int:
    """After how many tries in vain an entry is alone."""
    return next(tries for tries in range(64) if batch_events >> _EIGHTH_BITS * tries <= 1)
