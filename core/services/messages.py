"""The feed of messages, in the order in which they were announced."""

from dataclasses import dataclass
from datetime import timedelta

from core.errors import InvalidField, MilepostError
from core.messages.types import MessageType
from core.store.driver import Session
from core.store.outbox import FeedFilter, Listed, all_from, read_feed
from core.store.tenants import Tenant

KEPT = timedelta(days=90)
# At most so many messages are looked at for one page, whatever its filters.
SCANNED_MOST = 5_000


class FeedForgotten(MilepostError):
    """Messages after a position of the feed are deleted; `oldest` is where those begin that are left."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"Messages are kept for {KEPT.days} days, and some of those after `after` are gone")
        self.oldest = oldest


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A page of the feed, the position at which to go on after it, and whether there is more by now."""

    messages: tuple[Listed, ...]
    next: int
    has_more: bool


def begin_feed(session: Session, tenant: Tenant, wanted: FeedFilter, after: int | None) -> int:
    """The position after which a reader of the feed begins: `after`, or for None that before the oldest message.

    Raises what `read_messages` raises.
    """
    _check_types(wanted)
    oldest = all_from(session, tenant.name)
    if after is not None and after < oldest:
        raise FeedForgotten(oldest)
    return oldest if after is None else after


def read_messages(session: Session, tenant: Tenant, wanted: FeedFilter, *, after: int | None, limit: int) -> FeedPage:
    """The messages after a position, None for all, oldest first; the page may be short or empty though there are more.

    Raises InvalidField for a type that does not exist, and FeedForgotten.
    """
    begin = begin_feed(session, tenant, wanted, after)
    found, position, has_more = read_feed(session, tenant.name, wanted, after=begin, limit=limit, scanned=SCANNED_MOST)
    return FeedPage(tuple(found), position, has_more)


def _check_types(wanted: FeedFilter) -> None:
    for name in wanted.types or ():
        if name not in set(MessageType):
            raise InvalidField("types", f"has {name}, which is none of {', '.join(MessageType)}")
