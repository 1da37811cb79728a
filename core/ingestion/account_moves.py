"""What a batch did to accounts, for all that follows from it: corrected links, memberships and crossed milestones."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate
from typing import NamedTuple

from msgspec import Struct

from core.events.worth import Movement, movements_of_new
from core.store.accounts import AccountKey
from core.store.links import LinkPeriod
from core.store.transactions import SimpleTransactions


class Membership(NamedTuple):
    """The user and the currency of an account, which decide the net worth goals that the account belongs to."""

    user_id: str | None
    currency: str | None


class Rise(NamedTuple):
    """How a sum moves: the moments of movements, the sum after all movements of each, and the highest sum until then.

    Before the first moment the sum is 0.
    """

    moments: list[datetime]
    sums: list[int]
    highest: list[int]

    @property
    def total(self) -> int:
        """The sum after all movements."""
        return self.sums[-1] if self.sums else 0


def rise_of(steps: Iterable[tuple[datetime, int]]) -> Rise:
    """The rise by steps (moment, minor units) that are in order of time."""
    moments: list[datetime] = []
    sums: list[int] = []
    total, last = 0, None
    for at, minor in steps:
        total += minor
        if at == last:
            sums[-1] = total
        else:
            moments.append(at)
            sums.append(total)
            last = at
    return Rise(moments, sums, list(accumulate(sums, max)))


class AccountMove(Struct):
    """What a batch did to one account: its movements in order of time, and by how much the opening worth moved.

    `latest_at` is the last effective time among the facts; `new_membership` is set if the account has another user
    than before, or has its currency only since this batch.
    """

    opening_minor: int
    movements: Sequence[Movement]
    latest_at: datetime | None = None
    new_membership: Membership | None = None
    rises: dict[str, Rise] = {}  # a Struct gives each its own

    def rise(self, measure: str, begin_at: datetime | None) -> Rise:
        """How a measure moved from `begin_at` on. It is the same for most links of the account, and so made once."""
        if begin_at is not None and self.movements and self.movements[0].at < begin_at:
            return rise_of(_steps([movement for movement in self.movements if movement.at >= begin_at], measure))
        rise = self.rises.get(measure)
        if rise is None:
            rise = self.rises[measure] = rise_of(_steps(self.movements, measure))
        return rise

    def shift_before(self, moment: datetime, measure: str) -> int:
        """By how much the measure just before `moment` moved."""
        moved = sum([minor for at, minor in _steps(self.movements, measure) if at < moment])
        return moved if measure == "inflow" else moved + self.opening_minor

    def deltas(self, period: LinkPeriod) -> tuple[int, int]:
        """By how much a link's base and end move. (0, 0) for an open link while facts arrive in order.

        The period of a link includes its first moment and not its last: when an allocation changes, the next link
        begins at the very moment at which this one ends, and a fact of that moment must not count in both.
        """
        base = 0 if period.begin_at is None else self.shift_before(period.begin_at, period.measure)
        end = 0 if period.until_at is None else self.shift_before(period.until_at, period.measure)
        return base, end


def _steps(movements: Iterable[Movement], measure: str) -> list[tuple[datetime, int]]:
    """When and by how much a measure moved."""
    if measure == "inflow":
        return [(movement.at, movement.inflow_minor) for movement in movements]
    return [(movement.at, movement.worth_minor) for movement in movements]


class AccountMoves:
    """What a batch did to each account that moved; `new` are its new transactions, by account.

    Few accounts' moves are asked for. So that of an account with new transactions alone is made when it is.
    """

    __slots__ = ("_made", "_new")

    def __init__(self, new: SimpleTransactions | None = None) -> None:
        self._made: dict[AccountKey, AccountMove] = {}
        self._new = new or {}

    def add(self, key: AccountKey, move: AccountMove) -> None:
        """Add what the batch did to an account, if it has more than new transactions."""
        self._made[key] = move

    def of(self, key: AccountKey) -> AccountMove | None:
        """What the batch did to an account; None if it did not move."""
        move = self._made.get(key)
        if move is None and key in self._new:
            movements = movements_of_new(self._new[key])
            move = self._made[key] = AccountMove(0, movements, movements[-1].at)
        return move

    def new_memberships(self) -> dict[AccountKey, Membership]:
        """The memberships that are new."""
        return {key: move.new_membership for key, move in self._made.items() if move.new_membership is not None}

    def __contains__(self, key: AccountKey) -> bool:
        return key in self._made or key in self._new

    def __iter__(self) -> Iterator[AccountKey]:
        return iter(self._made.keys() | self._new.keys())

    def __len__(self) -> int:
        return len(self._new) + sum([key not in self._new for key in self._made])
