"""Reads one row of a provider into our events; a row that is not understood becomes an event that contains it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import simplejson

from core.errors import EventRejected, InvalidField, ProviderBodyRefused
from core.events.envelope import EVENT_LONGEST_BYTES, Envelope, identifier
from core.events.facts import ACCOUNTS_MOST
from core.providers.contracts import ROWS_MOST, AdaptedEvent, Context, KnownAccount, context_as_json
from core.providers.fields import MissingValue, Row, as_row, currency_code, optional_currency, optional_id

Data = Mapping[str, object]

ROW_TYPE = "milepost.provider.row"
# Made once: simplejson.dumps makes a new one for every call that asks for other separators.
_in_order = simplejson.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_as_given = simplejson.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Statement:
    """What becomes one event, of one account (for a connection: its first). `time` is when the provider knew it."""

    type: str
    account_id: str
    time: datetime
    data: Data


def make_statement(type: str, account: KnownAccount, time: datetime, **data: Any) -> Statement:
    """Make a statement about one account, under the integrator's id for it; values that are None are left out.

    An adapter gives amounts as if the account were registered without a sign. Here they get the sign that it was
    registered with, and an available balance that says nothing of what the account has is left out.
    """
    given = {name: value for name, value in data.items() if value is not None}
    if type == "transaction.recorded" and account.turns_amounts:
        given["amount"] = _turned(given["amount"])
    if type == "balance.reported":
        if account.turns_balances:
            given["current"] = _turned(given["current"])
        if not account.has_available(given.get("kind")):
            given.pop("available", None)
    return Statement(f"milepost.{type}", account.account_id, time, {"account_id": account.account_id} | given)


def _turned(amount: str) -> str:
    return str(-Decimal(amount))


def connection_statements(
    account_ids: Sequence[str], time: datetime, state: str, reason: str | None
) -> Iterator[Statement]:
    """The state of the connection of some accounts, in as few events as their maximum of accounts allows."""
    names = sorted(set(account_ids))
    for start in range(0, len(names), ACCOUNTS_MOST):
        some = names[start : start + ACCOUNTS_MOST]
        data = {"account_ids": some, "state": state} | ({} if reason is None else {"reason": reason})
        yield Statement("milepost.connection.changed", some[0], time, data)


def envelope_of(statement: Statement, source: str, order: str) -> Envelope:
    """The statement with its id. Equal statements have equal ids; of several at one time the greatest order wins.

    The order is the provider's own (a page's sections, an object's revision), or empty where the provider has none.
    Then the digest of the content decides, so that the result does not depend on which arrived first.
    """
    content = [statement.type, statement.time.isoformat(), statement.data]
    text = _in_order(content)
    digest = blake2b(text.encode(), digest_size=12).hexdigest()
    return Envelope(
        event_id=f"{order}-{digest}" if order else digest,
        source=source,
        type=statement.type,
        time=statement.time,
        subject=None,
        data=dict(statement.data),
    )


def event_of(statement: Statement, source: str, order: str) -> AdaptedEvent:
    """The statement as POST /events takes it. ASCII, since half a surrogate pair has no UTF-8."""
    envelope = envelope_of(statement, source, order)
    text = _as_given(
        {
            "specversion": "1.0",
            "id": envelope.event_id,
            "source": source,
            "type": envelope.type,
            "time": envelope.time.isoformat(),
            "data": envelope.data,
        }
    )
    return AdaptedEvent(statement.account_id, text.encode())


def account_facts_of(names: Iterable[str], context: Context, kind: str | None = None) -> Iterator[AdaptedEvent]:
    """State whose the accounts of a body's transactions are and of what kind, as registered, at the time of the pull.

    Transactions do not say it: after a body of transactions alone, their accounts would belong to nobody. `kind` is the
    caller's value for the whole body, for providers whose bodies do not have the kind.
    """
    if context.pulled_at is None:
        return
    for name in sorted({*names, *([] if context.account_id is None else [context.account_id])}):
        account = context.accounts.get(name, KnownAccount(name))
        facts = {"user_id": account.user_id or context.user_id, "kind": account.kind or kind}
        if any(facts.values()):
            statement = make_statement("account.changed", account, context.pulled_at, **facts)
            yield event_of(statement, context.source, "")


@dataclass(frozen=True, slots=True)
class Reading:
    """What is needed to read one row: what the caller says, and the order of the row's statements at one time."""

    context: Context
    order: str = ""

    def time(self, known_at: datetime | None = None) -> datetime:
        """When the provider knew of the row, else when it was pulled; raises MissingValue where both are missing."""
        time = self.context.time(known_at)
        if time is None:
            raise MissingValue("pulled_at", "the provider gives no time here: say when the body was pulled (pulled_at)")
        return time

    def account(self, row: Row, field: str) -> KnownAccount:
        """The account that a row names in `field`, else the account of the whole body."""
        name = optional_id(row, field) or self.context.account_id
        if name is None:
            raise EventRejected("missing_field", f"{field} is missing or blank")
        return self._known(name)

    def only_account(self) -> KnownAccount:
        """The account of a body whose format has no account id; raises MissingValue."""
        if self.context.account_id is None:
            raise MissingValue("account_id", "the body does not say whose it is: give the provider's account_id")
        return self._known(self.context.account_id)

    def _known(self, name: str) -> KnownAccount:
        known = self.context.accounts.get(name)
        return KnownAccount(identifier(name, "account_id")) if known is None else known

    def user_of(self, account: KnownAccount) -> str | None:
        """The user whose account it is, if registered or given for the body."""
        return account.user_id or self.context.user_id

    def kind_of(self, account: KnownAccount, by_provider: str | None = None) -> str | None:
        """Asset or liability: as registered for the account, else by the provider, else as given for the body."""
        return account.kind or by_provider or self.context.kind

    def known_kind(self, account: KnownAccount) -> str:
        """Asset or liability, from whoever has said it, for bodies whose signs depend on it; raises MissingValue."""
        kind = self.kind_of(account) or account.recorded_kind
        if kind is None:
            raise MissingValue(
                "kind", "asset or liability? The sign depends on it: give kind, or register the account with its kind"
            )
        return kind

    def currency_of(self, account: KnownAccount, row: Row, field: str) -> str:
        """The row's own currency, else the account's registered one, else the body's; raises MissingValue."""
        return currency_code(row, field, account.currency, self.context.currency)

    def account_currency(self, account: KnownAccount, row: Row, field: str) -> str | None:
        """The account's own currency: as registered, else by its details, else as given for the body."""
        return account.currency or optional_currency(row, field) or self.context.currency


Reader = Callable[[Row, Reading], Iterable[Statement]]


@dataclass(frozen=True, slots=True)
class Part:
    """A kind of row in a provider's bodies. Its name is stored with a row that was not understood."""

    name: str
    reader: Reader


def statements_of(part: Part, row: object, reading: Reading) -> tuple[Statement, ...]:
    """What a row states; raises EventRejected (MissingValue for what only the caller can supply)."""
    try:
        return tuple(part.reader(as_row(row), reading))
    except InvalidField as error:
        code = "bad_currency" if error.field == "currency" else "bad_amount"
        raise EventRejected(code, str(error)) from None


def read_rows(
    part: Part, rows: Iterable[object], context: Context, where: str, order: str = ""
) -> Iterator[AdaptedEvent]:
    """The events of an array of rows; a row that is not understood affects no other. `order` may contain {index}."""
    for index, row in enumerate(rows):
        reading = Reading(context, order.format(index=f"{index:06}"))
        yield from read_row(part, row, reading, f"{where}[{index}]")


def read_row(part: Part, row: object, reading: Reading, where: str) -> Iterator[AdaptedEvent]:
    """The events of one row; raises MissingValue, with its place in the body, for what only the caller can supply."""
    try:
        statements = statements_of(part, row, reading)
    except MissingValue as missing:
        raise missing.at(where) from None
    except EventRejected:
        yield _unread_row_event(part, row, reading, where)
    else:
        for statement in statements:
            yield event_of(statement, reading.context.source, reading.order)


def _of_the_pull(reading: Reading) -> tuple[KnownAccount, datetime]:
    return reading.only_account(), reading.time()


def with_window(
    events: Iterable[AdaptedEvent],
    context: Context,
    whose_and_when: Callable[[Reading], tuple[KnownAccount, datetime]] = _of_the_pull,
) -> Iterator[AdaptedEvent]:
    """The events of all booked rows of an account's pull and, if it is the whole of its days, that it is.

    That is left out if a row was not understood: the row would count as removed only because nobody could read it. Of
    the days before `since` the pull has no rows, since the provider reported them under the account's former id; and
    what the former id no longer has from the next id's `since` on is under that.
    `whose_and_when` gives the account and the window's time, which no row of the pull may be older than.
    """
    are_understood = True
    for each in events:
        are_understood = are_understood and each.is_understood
        yield each
    if context.complete is None or not are_understood:
        return
    first, last = context.complete
    account, time = whose_and_when(Reading(context))
    if account.since is not None:
        first = max(first, account.since)
    own = [known.since for known in context.accounts.values() if known.account_id == account.account_id]
    last = min([last, *(since - timedelta(days=1) for since in own if since and since > (account.since or date.min))])
    if first <= last:
        days = {"from": first.isoformat(), "through": last.isoformat()}
        yield event_of(make_statement("window.reported", account, time, **days), context.source, "")


def refuse_window(context: Context, why: str) -> None:
    """Raise ProviderBodyRefused if the caller says that a body is the whole of its days which is not."""
    if context.complete is not None:
        message = f"{why}, so it is not the whole of its days: send it without complete_from and complete_through"
        raise ProviderBodyRefused("not_this_form", message)


def rows_of(value: object, where: str) -> list[Any]:
    """The value as an array, empty for null; raises ProviderBodyRefused for any other, or if it has too many rows."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ProviderBodyRefused("not_this_form", "must be an array", where)
    if len(value) > ROWS_MOST:
        raise ProviderBodyRefused("too_large", f"has more than {ROWS_MOST:,} rows: send them in several bodies", where)
    return value


def _unread_row_event(part: Part, row: object, reading: Reading, where: str) -> AdaptedEvent:
    """An event that has the whole row, so that it is not lost and can be read again once it is understood."""
    context = reading.context
    data = {"part": part.name, "order": reading.order, "row": row, "context": context_as_json(context, row)}
    try:
        time = reading.time().isoformat()
    except MissingValue as missing:
        raise missing.at(where) from None
    content = exact_json(data, where)
    head = {"specversion": "1.0", "id": "row-" + blake2b(content, digest_size=12).hexdigest()}
    about = {"source": context.source, "type": ROW_TYPE, "time": time}
    event = exact_json(head | about | {"data": data}, where)
    if len(event) > EVENT_LONGEST_BYTES:
        raise ProviderBodyRefused(
            "too_large", f"cannot be understood, and is too large to be stored ({EVENT_LONGEST_BYTES:,} bytes)", where
        )
    return AdaptedEvent(_account_for_shard(row, context), event, is_understood=False)


def exact_json(value: object, where: str) -> bytes:
    """JSON that keeps every digit, in UTF-8 if that can encode the text; it cannot encode half a surrogate pair."""
    try:
        text = simplejson.dumps(value, use_decimal=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except UnicodeEncodeError:
        return simplejson.dumps(value, use_decimal=True, allow_nan=False, separators=(",", ":")).encode()
    except RecursionError:
        raise ProviderBodyRefused("not_this_form", "nested too deeply", where) from None


def _account_for_shard(row: object, context: Context) -> str:
    named = context.account_id
    if isinstance(row, dict):
        named = next((n for key in ("account_id", "account_guid") if isinstance(n := row.get(key), str)), named)
    known = context.accounts.get(named) if named else None
    return known.account_id if known else named or context.source
