"""The rule by which two accounts are probably one, which goes on under a new id."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from core.goals.money import digits
from core.store.driver import Session
from core.store.relinks import Candidate, find_candidates

SILENT = timedelta(days=2)
# Two balances are alike if they differ by at most this, or by this share of the greater one.
_NEAR_MAJOR, _NEAR_PERCENT = 50, 5


def find_probable(session: Session, tenant: str, old_ids: Sequence[str], now: datetime) -> list[Candidate]:
    """The accounts that these probably go on as, by old and new id.

    Both accounts are of one user, kind and currency, and their last balances are alike. Since the first fact of the new
    one the old one has had none, and it has been silent for two days or its connection is broken.
    """
    return [each for each in find_candidates(session, tenant, old_ids, now - SILENT) if _are_alike(each)]


def probable_since(pair: Candidate, now: datetime) -> datetime:
    """Since when a pair is probable: since the new account's first fact, unless the old one was not silent then."""
    silent_at = pair.first_event_at if pair.is_broken else pair.last_event_at + SILENT
    return min(max(pair.first_event_at, silent_at), now)


def _are_alike(each: Candidate) -> bool:
    difference = abs(each.old_minor - each.new_minor)
    greater = max(abs(each.old_minor), abs(each.new_minor))
    return difference <= _NEAR_MAJOR * 10 ** digits(each.currency) or 100 * difference <= _NEAR_PERCENT * greater
