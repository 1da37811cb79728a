"""The reports and booked rows that are kept and count nothing: they are in another currency than their account."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.store.driver import Session, Sql

FactType = Literal["report", "transaction"]


@dataclass(frozen=True, slots=True)
class OtherCurrencyPosition:
    """A fact's position in the list: reports come before transactions; of each type by account, moment and name.

    `name` is a report's currency, or the id of a transaction.
    """

    type: FactType
    account_id: str
    at: datetime
    name: str


@dataclass(frozen=True, slots=True)
class OtherCurrencyFact:
    """A fact in `currency` of an account that is in `account_currency`, and the event that states it."""

    position: OtherCurrencyPosition
    currency: str
    account_currency: str
    time: datetime
    source: str
    event_id: str


_LIST = """SELECT f.account_id, f.{at}, f.{name}, f.currency, a.currency, f.event_time, f.source, f.event_id
    FROM {table} f JOIN accounts a ON a.tenant = f.tenant AND a.account_id = f.account_id
    WHERE f.tenant = :tenant AND f.currency <> a.currency {conditions}
    ORDER BY f.account_id, f.{at}, f.{name} LIMIT :limit"""
_NAMES: dict[FactType, dict[str, str]] = {
    "report": {"table": "waiting_reports", "at": "as_of", "name": "currency"},
    "transaction": {"table": "transactions", "at": "posted_at", "name": "transaction_id"},
}
# Reads the index of the rows that stand as booked and do not count.
_OF_ROWS = "AND NOT f.counts AND NOT f.pending AND NOT f.removed"


def other_currency_facts(
    session: Session, tenant: str, *, since: datetime | None, after: OtherCurrencyPosition | None, limit: int
) -> list[OtherCurrencyFact]:
    """At most `limit` facts, in the order of their positions, from the one after `after` on.

    With `since`, only those whose event has that time or a later one: when it was accepted is not kept.
    """
    found: list[OtherCurrencyFact] = []
    for type, names in _NAMES.items():
        if after is not None and type < after.type:
            continue
        parameters: dict[str, object] = {"tenant": tenant, "limit": limit - len(found)}
        conditions = [_OF_ROWS] if type == "transaction" else []
        if since is not None:
            conditions.append("AND f.event_time >= :since")
            parameters["since"] = since
        if after is not None and after.type == type:
            conditions.append("AND (f.account_id, f.{at}, f.{name}) > (:account_id, :at, :name)".format(**names))
            parameters |= {"account_id": after.account_id, "at": after.at, "name": after.name}
        statement = Sql(_LIST.format(**names, conditions=" ".join(conditions)))
        for row in statement.rows(session, parameters):
            found.append(OtherCurrencyFact(OtherCurrencyPosition(type, row[0], row[1], row[2]), *row[3:]))
    return found
