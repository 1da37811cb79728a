"""The story: one household's half-year as it happened, in no provider's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

ZONE = "America/New_York"
FIRST, LAST = date(2026, 1, 1), date(2026, 6, 30)
TOLD_AT = datetime(2026, 7, 1, 16, tzinfo=UTC)
# From its sight a login was broken: nothing was pulled in these days, and all of them were told afterwards.
SILENT = (date(2026, 3, 10), date(2026, 4, 9))
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Account:
    """An account of the household; `opening` is what it is worth before the first move."""

    name: str
    kind: str
    opening: int


@dataclass(frozen=True)
class Move:
    """Money that moved, in cents of worth. It is posted from `seen` on, and pending before, if it was ever.

    `edits` are the amounts that the bank gave it later. `is_phantom` is a row that the provider took back at `gone`:
    the bank never had it.
    """

    key: str
    account: str
    day: date
    cents: int
    text: str
    seen: date
    pending_from: date | None = None
    edits: tuple[tuple[date, int], ...] = ()
    gone: date | None = None

    @property
    def is_phantom(self) -> bool:
        return self.gone is not None

    def cents_at(self, day: date) -> int:
        """The amount as it was known on a day."""
        return [self.cents, *(cents for since, cents in self.edits if since <= day)][-1]

    def state_at(self, day: date) -> str:
        """What a provider shows of it on a day: nothing, a pending row, a posted one, or that it is gone."""
        if self.gone is not None and self.gone <= day:
            return "gone"
        if self.seen <= day:
            return "posted"
        return "pending" if self.pending_from is not None and self.pending_from <= day else "unseen"

    def changed_at(self, day: date) -> date:
        """The day of its last change up to a day on which it is shown."""
        changes = [self.pending_from, self.seen, self.gone, *(since for since, _ in self.edits)]
        return max(change for change in changes if change is not None and change <= day)


ACCOUNTS = (
    Account("checking", "asset", 3_200_00),
    Account("savings", "asset", 12_500_00),
    Account("card", "liability", -640_00),
    Account("mortgage", "liability", -182_400_00),
)


def _months() -> Iterator[date]:
    return (FIRST.replace(month=month) for month in range(1, 7))


def _posted(key: str, account: str, day: date, cents: int, text: str) -> Move:
    """A move that the bank shows, posted, on the day after it."""
    return Move(key, account, day, cents, text, day + _DAY)


def _moves() -> Iterator[Move]:
    for number, month in enumerate(_months(), 1):
        yield _posted(f"salary-{number}a", "checking", month, 2_075_00, "SALARY ACME")
        yield _posted(f"salary-{number}b", "checking", month.replace(day=15), 2_075_00, "SALARY ACME")
        yield _posted(f"rent-{number}", "checking", month.replace(day=2), -600_00, "RENT STUDIO")
        yield _posted(f"house-{number}", "checking", month.replace(day=3), -1_420_00, "MORTGAGE PAYMENT")
        yield _posted(f"principal-{number}", "mortgage", month.replace(day=3), 518_37 + number, "PAYMENT RECEIVED")
        yield _posted(f"saved-{number}", "checking", month.replace(day=5), -400_00, "TO SAVINGS")
        yield _posted(f"saving-{number}", "savings", month.replace(day=5), 400_00, "FROM CHECKING")
        paid = month.replace(day=20)
        yield Move(f"paying-{number}", "checking", paid, -350_00, "CARD PAYMENT", paid + 2 * _DAY, paid)
        yield _posted(f"payment-{number}", "card", paid, 350_00, "PAYMENT THANK YOU")
    for week in range(25):
        day = FIRST + timedelta(days=4 + 7 * week)
        yield Move(f"food-{week}", "card", day + _DAY, -(61_10 + 137 * week), "GROCERIES", day + 3 * _DAY, day)
    # Two coffees on one day, for one price: equal rows, and two transactions.
    for cup in (1, 2):
        yield _posted(f"coffee-{cup}", "card", date(2026, 2, 14), -4_50, "COFFEE")
    yield _refund()
    # Edited, and edited back.
    edits = ((date(2026, 5, 12), -71_20), (date(2026, 5, 20), -72_10))
    yield Move("hotel", "card", date(2026, 5, 6), -72_10, "HOTEL", date(2026, 5, 7), None, edits)
    # A cheque of the third that the bank shows on the twentieth.
    yield Move("cheque", "checking", date(2026, 2, 3), -125_00, "CHECK 101", date(2026, 2, 20))
    # The provider saw one purchase twice, and took one of the rows back.
    yield _posted("shoes", "card", date(2026, 6, 2), -49_00, "SHOES")
    yield Move("shoes-again", "card", date(2026, 6, 2), -49_00, "SHOES", date(2026, 6, 3), None, (), date(2026, 6, 17))


def _refund() -> Move:
    edits = ((date(2026, 4, 28), 59_99),)
    return Move("refund", "card", date(2026, 2, 10), 64_99, "REFUND SHOP", date(2026, 2, 12), date(2026, 2, 10), edits)


MOVES = tuple(_moves())
# Interest that the bank adds to the savings and shows in no row: only the balances tell it.
INTEREST = tuple((date(2026, month, 28), 10_00 + 13 * month) for month in range(1, 7))


def pulls() -> list[datetime]:
    """The moments at which everything was pulled: once a week, but for the silent month."""
    days = (FIRST + timedelta(days=1 + 7 * week) for week in range(26))
    return [datetime.combine(day, time(14, 30), UTC) for day in days if not SILENT[0] <= day <= SILENT[1]]


def balance(account: Account, day: date) -> int:
    """What the account is worth by its bank on a day."""
    rows = (move for move in MOVES if move.account == account.name and not move.is_phantom and move.seen <= day)
    interest = sum(cents for credited, cents in INTEREST if credited <= day) if account.name == "savings" else 0
    return account.opening + sum(move.cents_at(day) for move in rows) + interest


def shown(account: Account, day: date, since: date = FIRST) -> list[tuple[Move, str]]:
    """The rows of an account that a provider shows on a day, dated from `since` on, with their states."""
    rows = ((move, move.state_at(day)) for move in MOVES if move.account == account.name and move.day >= since)
    return [(move, state) for move, state in rows if state in ("pending", "posted")]


def money(cents: int) -> str:
    """Cents as text."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}"
