"""Pages of long answers: what a page is, and the positions that its cursor stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Generic, TypeVar

from core.errors import InvalidField
from core.services.inputs import is_id
from core.store.tables import HIGHEST, LOWEST

PAGE = 100
PAGE_LARGEST = 200

Item = TypeVar("Item")
View = TypeVar("View")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A page of a list and, if there are more, the cursor of the next one: the position of the last item shown."""

    items: tuple[Item, ...]
    next_cursor: str | None


def cut(rows: Sequence[Item], limit: int, position: Callable[[Item], object]) -> Page[Item]:
    """The first `limit` of `rows`, of which one more than that tells that there are more."""
    shown = tuple(rows[:limit])
    return Page(shown, str(position(shown[-1])) if len(rows) > limit else None)


def shown_as(page: Page[Item], view: Callable[[Item], View]) -> Page[View]:
    """The page with each of its items seen through `view`."""
    return Page(tuple(view(item) for item in page.items), page.next_cursor)


def id_after(cursor: str | None) -> str | None:
    """The id that a list in order of ids goes on after; raises InvalidField."""
    if cursor is not None and not is_id(cursor):
        raise no_position()
    return cursor


def number_after(cursor: str | None) -> int | None:
    """The number that a list goes on after; raises InvalidField."""
    if cursor is None:
        return None
    try:
        number = int(cursor)
    except ValueError:
        raise no_position() from None
    if not LOWEST <= number <= HIGHEST:
        raise no_position()
    return number


def day_after(cursor: str | None) -> date | None:
    """The first day of the page that follows the one on which a cursor stands; raises InvalidField."""
    try:
        return None if cursor is None else date.fromisoformat(cursor) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise no_position() from None


def moment_and_id_after(cursor: str | None) -> tuple[datetime, str] | None:
    """The moment and the id that a list goes on after, the two joined by a space; raises InvalidField."""
    if cursor is None:
        return None
    moment, _, name = cursor.partition(" ")
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        raise no_position() from None
    if at.tzinfo is None:
        raise no_position()
    return at, name


def no_position() -> InvalidField:
    """The refusal of a cursor that stands for no place in its list."""
    return InvalidField("cursor", "is not one that a Link header gave")
