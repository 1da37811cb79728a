"""Enable Banking: the pulled transactions, balances and details of one account."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from core.errors import EventRejected, InvalidField, ProviderBodyRefused
from core.providers.contracts import AdaptedEvent, Context
from core.providers.fields import (
    Posted,
    Row,
    decimal_text,
    exact_minor,
    first_text,
    is_filled,
    nested,
    object_in,
    optional_id,
    optional_word,
    posted_at,
)
from core.providers.iso20022 import (
    KINDS,
    PREFERENCE,
    BalanceFields,
    balance_statements,
    booked_key,
    number_equal_rows,
    pending_key,
)
from core.providers.provider import ProviderSpec
from core.providers.rows import (
    Part,
    Reading,
    Statement,
    account_facts_of,
    make_statement,
    read_row,
    refuse_window,
    rows_of,
    with_window,
)

_BALANCE = BalanceFields(
    amount="balance_amount", type="balance_type", reference="reference_date", types={code: code for code in PREFERENCE}
)
_SIGNS = {"CRDT": 1, "DBIT": -1}
# OTHR is a status that the bank does not explain. Only what is said to be booked counts.
_PENDING = frozenset({"PDNG", "HOLD", "SCHD", "OTHR"})
_VOID = frozenset({"CNCL", "RJCT"})
_STATUSES = ("BOOK", *sorted(_PENDING), *sorted(_VOID))
_DATES = ("booking_date", "value_date", "transaction_date")
# What banks write where they have no reference: words for it, or nothing but zeros and marks ("0", "---").
_NO_REFERENCE = frozenset({"NOTPROVIDED", "NONREF"})
_FILLERS = "0-./ "
_DETAILS = frozenset({"cash_account_type", "identification_hash"})


def adapt_pulled(body: object, context: Context) -> Iterator[AdaptedEvent]:
    """The transactions of one pull (its only page, or the array of its pages), the balances, or the details."""
    if isinstance(body, list) and body:
        yield from _transactions(body, [f"[{index}]." for index in range(len(body))], context)
        return
    if not isinstance(body, dict):
        raise ProviderBodyRefused("not_this_form", "the body must be an object, or an array of pages")
    if not body.keys() & {"transactions", "balances", *_DETAILS}:
        raise ProviderBodyRefused("not_this_form", "the body has no transactions, balances or details of an account")
    if "transactions" not in body:
        refuse_window(context, "the body has no transactions")
    if body.keys() & _DETAILS:
        yield from read_row(DETAILS, body, Reading(context), "")
    if body.get("balances") is not None:
        yield from read_row(BALANCES, {"balances": body["balances"]}, Reading(context), "balances")
    if "transactions" in body:
        yield from _transactions([body], [""], context)


def _transactions(pages: Sequence[object], places: Sequence[str], context: Context) -> Iterator[AdaptedEvent]:
    """The rows of all pages of one pull. They are numbered together, so a page alone would number some of them anew."""
    found = list(_rows_of(pages, places))
    yield from account_facts_of([], context, context.kind)
    rows = [row for row, _ in found]
    numbers = number_equal_rows(rows, lambda row: _equality_key(row, Reading(context)))
    read = (
        read_row(TRANSACTION, row, Reading(context, ordinal), where)
        for row, (_, where), ordinal in zip(_without_shared_references(rows, context), found, numbers, strict=True)
    )
    yield from with_window(chain.from_iterable(read), context)


def _rows_of(pages: Sequence[object], places: Sequence[str]) -> Iterator[tuple[object, str]]:
    """Each row with its place. Raises ProviderBodyRefused unless the last page, and no other, ends the pull."""
    for number, (page, place) in enumerate(zip(pages, places, strict=True), 1):
        if not isinstance(page, dict) or "transactions" not in page:
            raise ProviderBodyRefused("not_this_form", "must be a page with transactions", place.removesuffix("."))
        where, key = f"{place}continuation_key", page.get("continuation_key")
        if key is not None and not isinstance(key, str):
            raise ProviderBodyRefused("not_this_form", "must be text", where)
        if key and number == len(pages):
            why = "there are further pages: pull them to the end and send all pages of the pull as one array"
            raise ProviderBodyRefused("not_this_form", why, where)
        if not key and number < len(pages):
            why = "this page ends its pull, so the next one belongs to another: send each pull by itself"
            raise ProviderBodyRefused("not_this_form", why, where)
        for index, row in enumerate(rows_of(page["transactions"], f"{place}transactions")):
            yield row, f"{place}transactions[{index}]"


def _equality_key(row: Row, reading: Reading) -> str:
    """What makes two rows equal: day, amount and currency, of booked rows and of others each."""
    amount, currency = _amount(row, reading)
    return f"{_status(row) == 'BOOK'} {_posted(row, reading).day} {amount} {currency}"


def _without_shared_references(rows: Sequence[object], context: Context) -> list[object]:
    """The rows, of which those have no reference that share theirs with a different booked row of the pull.

    Some banks give all bookings of one payment the same, such as a transfer and its fee: it names none of them. So a
    void row with another day or amount than the booked one does not remove that.
    """
    keys: dict[str, set[str]] = {}
    references = [_shared_reference(row, Reading(context)) for row in rows]
    for each in references:
        if each is not None and each.is_booked:
            keys.setdefault(each.reference, set()).add(each.key)
    return [
        row | {"entry_reference": None}
        if isinstance(row, dict) and each is not None and keys.get(each.reference, set()) - {each.key}
        else row
        for row, each in zip(rows, references, strict=True)
    ]


class _Referenced(NamedTuple):
    """The reference of a row, and its day, amount and currency."""

    reference: str
    key: str
    is_booked: bool


def _shared_reference(row: object, reading: Reading) -> _Referenced | None:
    """The reference of a booked or void row, and what makes it equal to others; None if there is none to read."""
    try:
        if not isinstance(row, dict) or _status(row) in _PENDING or (reference := _reference(row)) is None:
            return None
        _, _, key = _equality_key(row, reading).partition(" ")
        return _Referenced(reference, key, _status(row) == "BOOK")
    except (EventRejected, InvalidField):
        return None


def _reference(row: Row) -> str | None:
    """The reference, or None where there is none, or only something in its place that every row of the bank has."""
    reference = optional_id(row, "entry_reference")
    if reference is None or reference.upper() in _NO_REFERENCE or not reference.strip(_FILLERS):
        return None
    return reference


def _transaction(row: Row, reading: Reading) -> Iterator[Statement]:
    """A row whose reference is known replaces the row that it was before: some banks give the reference days later.

    The reference never changes. `transaction_id` is not used: it may be another one in each pull.
    """
    account, status, reference = reading.only_account(), _status(row), _reference(row)
    if status in _VOID:
        if reference is not None:
            yield make_statement("transaction.removed", account, reading.time(), transaction_id=reference)
        return
    amount, currency = _amount(row, reading)
    posted, is_pending = _posted(row, reading), status in _PENDING
    if account.is_former(posted.day):
        return
    key = (pending_key if is_pending else booked_key)(posted.day.isoformat(), amount, currency, reading.order)
    is_referenced = reference is not None and not is_pending
    yield make_statement(
        "transaction.recorded",
        account,
        reading.time(),
        transaction_id=reference if is_referenced else key,
        amount=amount,
        currency=currency,
        posted_at=posted.text,
        pending=is_pending,
        replaces=key if is_referenced else None,
        description=_description(row),
    )


def _status(row: Row) -> str:
    status = optional_word(row, "status")
    if status is None or status not in _STATUSES:
        raise EventRejected("bad_value", f"status must be one of {', '.join(_STATUSES)}")
    return status


def _amount(row: Row, reading: Reading) -> tuple[str, str]:
    """The amount, positive when the holder gains money, on accounts of every type, and its currency."""
    amount, indicator = object_in(row, "transaction_amount"), optional_word(row, "credit_debit_indicator")
    if not amount:
        raise EventRejected("missing_field", "transaction_amount is missing")
    if indicator is None or indicator not in _SIGNS:
        raise EventRejected("bad_value", "credit_debit_indicator must be CRDT or DBIT")
    currency = reading.currency_of(reading.only_account(), amount, "currency")
    minor = exact_minor(amount, "amount", currency)
    if minor < 0:
        raise EventRejected("bad_amount", "amount must not be negative: credit_debit_indicator says in or out")
    return decimal_text(_SIGNS[indicator] * minor, currency), currency


def _posted(row: Row, reading: Reading) -> Posted:
    """When it was booked. A row that is not booked may have no date; it counts nothing, so the pull's will do."""
    if _status(row) != "BOOK" and not any(is_filled(row, name) for name in _DATES):
        return Posted(reading.time().date(), reading.time().isoformat())
    return posted_at(row, _DATES, ())


def _description(row: Row) -> str | None:
    """The other party's name, else the first line about the payment."""
    party = nested(row, "creditor" if row.get("credit_debit_indicator") == "DBIT" else "debtor")
    lines = row.get("remittance_information")
    return first_text(party.get("name"), *(lines if isinstance(lines, list) else ()))


def _balances(row: Row, reading: Reading) -> Iterator[Statement]:
    """Enable Banking's balances do not say what kind of account it is, and the sign of ours depends on it."""
    reading.known_kind(reading.only_account())
    return balance_statements(row, reading, _BALANCE)


def _details(row: Row, reading: Reading) -> Iterator[Statement]:
    """The account. `name` is its holder's, so it comes last."""
    account = reading.only_account()
    facts = {
        "user_id": reading.user_of(account),
        "kind": reading.kind_of(account, KINDS.get(optional_word(row, "cash_account_type") or "")),
        "name": first_text(row.get("details"), row.get("product"), row.get("name")),
        "currency": reading.account_currency(account, row, "currency"),
    }
    if any(facts.values()):
        yield make_statement("account.changed", account, reading.time(), **facts)


TRANSACTION = Part("enablebanking/transaction", _transaction)
BALANCES = Part("enablebanking/balances", _balances)
DETAILS = Part("enablebanking/details", _details)


def _accounts_in(_body: object) -> tuple[object, ...]:
    """No body names its account by the id that the caller gives: `uid` is another one in each session."""
    return ()


ENABLE_BANKING = ProviderSpec(
    "enablebanking",
    formats={"enablebanking": adapt_pulled},
    parts=(TRANSACTION, BALANCES, DETAILS),
    accounts_in=_accounts_in,
    has_windows=True,
)
