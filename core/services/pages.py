"""Pages of lists: what a page is, and how a cursor is parsed into the position at which the next page begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Generic, TypeVar

from core.errors import InvalidField
from core.services.inputs import is_id
from core.store.driver import HIGHEST, LOWEST

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
    """A page of the first `limit` rows; callers read one row more, which shows whether there is a next page."""
    shown = tuple(rows[:limit])
    return Page(shown, str(position(shown[-1])) if len(rows) > limit else None)


def shown_as(page: Page[Item], view: Callable[[Item], View]) -> Page[View]:
    """The page with each of its items turned into what `view` returns."""
    return Page(tuple(view(item) for item in page.items), page.next_cursor)


def id_after(cursor: str | None) -> str | None:
    """The id after which a list in order of ids continues; raises InvalidField."""
    if cursor is not None and not is_id(cursor):
        raise no_position()
    return cursor


def number_after(cursor: str | None) -> int | None:
    """The number after which a list continues; raises InvalidField."""
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
    """The day after the cursor's day, with which the next page begins; raises InvalidField."""
    try:
        return None if cursor is None else date.fromisoformat(cursor) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise no_position() from None


def moment_and_id_after(cursor: str | None) -> tuple[datetime, str] | None:
    """The moment and the id after which a list continues; the cursor joins them by a space. Raises InvalidField."""
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
    """The error for a cursor that is not a position in its list."""
    return InvalidField("cursor", "is not one that a Link header gave")
