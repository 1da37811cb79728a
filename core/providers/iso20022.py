"""What bodies of European banks share, in codes of ISO 20022: which balance is taken, and keys for rows without ids."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import simplejson

from core.errors import EventRejected, InvalidField
from core.providers.contracts import ROWS_MOST
from core.providers.fields import (
    Row,
    currency_code,
    decimal_text,
    flag,
    object_in,
    optional_day,
    optional_word,
    rounded_minor,
)
from core.providers.rows import Reading, Statement, make_statement

# Cash account types; any other leaves the kind unknown.
KINDS = {"CACC": "asset", "SVGS": "asset", "CASH": "asset", "TRAN": "asset", "CARD": "liability", "LOAN": "liability"}
# Booked before available: an available balance includes pending money, which would count twice once it is booked.
# An opening or closing balance is exact together with the bookings dated after it, but interim booked is newer.
PREFERENCE = ("ITBD", "CLBD", "OPBD", "PRCD", "XPCD", "ITAV", "CLAV", "INFO")
_AVAILABLE = frozenset({"ITAV", "CLAV"})
_OF_A_DAYS_END = frozenset({"CLBD", "PRCD", "CLAV"})

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BalanceFields:
    """How a provider names the fields of a balance; `types` gives the code of each of its names of a type.

    `includes_limit` is the flag of a balance that includes a credit limit, for a provider that has one.
    """

    amount: str
    type: str
    reference: str
    types: Mapping[str, str]
    includes_limit: str | None = None

    def code_of(self, entry: Entry) -> str | None:
        """The code of the entry's type; None for a type that is never taken."""
        return self.types.get(optional_word(entry, self.type) or "")

    def is_usable(self, entry: Entry, currency: str | None) -> bool:
        """Whether an entry has an amount, in the account's currency, and without a limit of unknown size in it."""
        amount = object_in(entry, self.amount)
        is_other_money = currency is not None and (optional_word(amount, "currency") or currency) != currency
        has_limit = self.includes_limit is not None and flag(entry, self.includes_limit)
        return amount.get("amount") is not None and not has_limit and not is_other_money


@dataclass(frozen=True, slots=True)
class Balance:
    """A parsed balance, negative if the holder owes. `as_of` is a day or an instant, as in our events."""

    minor: int
    currency: str
    reference: date | None
    as_of: str


def balance_statements(row: Row, reading: Reading, fields: BalanceFields) -> Iterator[Statement]:
    """The one balance that is taken of a row with `balances`; without one, whose the account is and of what kind.

    A bank's balance is negative if the holder owes. Ours says what is owed on a liability, so its sign is turned.
    """
    account, time = reading.only_account(), reading.time()
    entries = row.get("balances")
    if not isinstance(entries, list) or len(entries) > ROWS_MOST or not all(isinstance(each, dict) for each in entries):
        raise EventRejected("bad_value", "balances must be an array of balances")
    kind = reading.kind_of(account)
    whose = {"user_id": reading.user_of(account), "kind": kind}
    currency = account.currency or reading.context.currency
    balance = _choose(entries, fields, currency, time, takes_available=account.has_available(kind))
    if balance is None:
        if any(whose.values()):
            yield make_statement("account.changed", account, time, **whose)
        return
    is_owed = (kind or account.recorded_kind) == "liability"
    spendable = next(_of_code(entries, "ITAV", fields, balance.currency, time), None)
    yield make_statement(
        "balance.reported",
        account,
        time,
        current=decimal_text(-balance.minor if is_owed else balance.minor, balance.currency),
        available=None if spendable is None else decimal_text(spendable.minor, balance.currency),
        currency=balance.currency,
        as_of=balance.as_of,
        **whose,
    )


def _choose(
    entries: Sequence[Entry],
    fields: BalanceFields,
    currency: str | None,
    fetched_at: datetime,
    *,
    takes_available: bool,
) -> Balance | None:
    """The usable entry of the most preferred type, the latest if there are several; None if no entry is usable.

    An entry is not usable either if it is an available one where none is taken. Raises EventRejected if an entry of
    the preferred type cannot be read.
    """
    for code in PREFERENCE:
        if code in _AVAILABLE and not takes_available:
            continue
        of_code = list(_of_code(entries, code, fields, currency, fetched_at))
        if of_code:
            return max(of_code, key=lambda balance: balance.reference or date.max)
    return None


def _of_code(
    entries: Iterable[Entry], code: str, fields: BalanceFields, currency: str | None, fetched_at: datetime
) -> Iterator[Balance]:
    """The usable entries of a type, parsed. An entry that names no currency is in `currency`, the account's."""
    for entry in entries:
        if fields.code_of(entry) == code and fields.is_usable(entry, currency):
            amount, reference = object_in(entry, fields.amount), optional_day(entry, fields.reference)
            own = currency_code(amount, "currency", currency)
            minor = rounded_minor(amount, "amount", own)
            yield Balance(minor, own, reference, _as_of(code, reference, fetched_at))


def _as_of(code: str, reference: date | None, fetched_at: datetime) -> str:
    """When a balance is true: closing at the end of its day, opening at the end of the day before, others at the fetch.

    A closing balance of a day that is not over counts as of the fetch: banks give that name to what is booked so far.
    """
    today = fetched_at.date()
    if code == "OPBD":
        return ((reference or today) - timedelta(days=1)).isoformat()
    if code in _OF_A_DAYS_END and reference is not None and reference < today:
        return reference.isoformat()
    return fetched_at.isoformat()


def booked_key(day: str, amount: str, currency: str, ordinal: str) -> str:
    """The key of a booked row without a lasting id: its day, amount and currency, with its number among equal rows.

    A pull contains whole days, so it contains either all rows of a day and amount or none. So as many rows count as
    there are, in whatever order and with whatever texts.
    """
    return f"row:{day}:{amount}:{currency}:{ordinal}"


def pending_key(day: str, amount: str, currency: str, ordinal: str) -> str:
    """A key that no booked row has: a pending row has no lasting id, and its booked row does not refer to it."""
    return f"pending:{day}:{amount}:{currency}:{ordinal}"


def number_equal_rows(rows: Sequence[object], key: Callable[[Row], str | None]) -> list[str]:
    """Number each row from 1 among those of the same key, whatever the order of the array.

    A row without a key, or whose key cannot be read, is equal only to rows with the same content.
    """
    keys = [_key_of(row, key) for row in rows]
    ranked = sorted(range(len(rows)), key=lambda index: (keys[index], _canonical(rows[index])))
    numbers = [0] * len(rows)
    for before, index in zip([None, *ranked], ranked, strict=False):
        numbers[index] = numbers[before] + 1 if before is not None and keys[before] == keys[index] else 1
    return [str(number) for number in numbers]


def _key_of(row: object, key: Callable[[Row], str | None]) -> str:
    try:
        return (key(row) if isinstance(row, dict) else None) or _canonical(row)
    except (EventRejected, InvalidField):
        return _canonical(row)


def _canonical(row: object) -> str:
    try:
        return simplejson.dumps(row, sort_keys=True, use_decimal=True)
    except RecursionError:
        return ""
