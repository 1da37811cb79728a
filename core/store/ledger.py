"""The ledger's entries, which say how a commit changed goals, and the outbox's messages, which notify others of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from core.store import driver
from core.store.driver import HIGHEST, Session, Sql, moments
from core.store.goals import GoalKey

_ENTRY = {
    "tenant": driver.TEXT,
    "goal_id": driver.TEXT,
    "entry": driver.INT8,
    "recorded_at": driver.TIMESTAMPTZ,
    "before_minor": driver.INT8,
    "after_minor": driver.INT8,
    "cause": driver.TEXT,
    "account_ids": driver.TEXTS,
}
# The longest payloads have about 26 kB, and Postgres accepts a parameter of up to a gigabyte.
_SENT_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a goal's ledger; `before_minor` is None for the first line."""

    tenant: str
    goal_id: str
    entry: int
    recorded_at: datetime
    before_minor: int | None
    after_minor: int
    cause: str
    account_ids: list[str]


class Message(NamedTuple):
    """One message of the outbox. `message_id` is derived from what happened, so that it is written only once.

    `payload` is serialized JSON, which has no control characters.
    """

    tenant: str
    message_id: str
    type: str
    goal_id: str
    payload: str
    created_at: datetime


_READ_PAGE = Sql(
    f"""SELECT {", ".join(_ENTRY)} FROM goal_entries
    WHERE tenant = :tenant AND goal_id = :goal_id AND entry < least(:below, CASE
        WHEN CAST(:at AS timestamptz) IS NOT NULL THEN (
            SELECT entry FROM goal_entries
            WHERE tenant = :tenant AND goal_id = :goal_id AND recorded_at > :at ORDER BY entry LIMIT 1) END)
    ORDER BY entry DESC LIMIT :limit"""
)
_SEND = Sql(
    f"""INSERT INTO outbox (tenant, message_id, type, goal_id, payload, created_at)
    SELECT * FROM unnest({driver.split("tenants")}, {driver.split("ids")}, {driver.split("types")},
        {driver.split("goals")}, {driver.split("payloads")}, :at)
    ON CONFLICT (tenant, message_id) DO NOTHING"""
)
_FORGET = Sql(
    f"""DELETE FROM outbox o USING {driver.keys("tenants", "ids")} AS k(tenant, message_id)
    WHERE o.tenant = k.tenant AND o.message_id = k.message_id"""
)
_FORGET_DELIVERED = Sql(
    """DELETE FROM outbox WHERE (tenant, message_id) IN (
        SELECT tenant, message_id FROM outbox WHERE delivered_at < :before
        LIMIT :most FOR UPDATE SKIP LOCKED)"""
)


def write_entries(session: Session, entries: Sequence[Entry]) -> None:
    """Add lines to the ledgers of locked goals."""
    if entries:
        rows = (
            (
                entry.tenant,
                entry.goal_id,
                entry.entry,
                entry.recorded_at,
                entry.before_minor,
                entry.after_minor,
                entry.cause,
                driver.texts(entry.account_ids),
            )
            for entry in entries
        )
        driver.copy_rows(session, "goal_entries", _ENTRY, rows)


def entries_of_goal(
    session: Session, key: GoalKey, *, below: int | None, limit: int, at: datetime | None = None
) -> list[Entry]:
    """At most `limit` lines of a goal's ledger, newest first; with `below`, only those with a lower number.

    With `at`, the ledger as it was at that moment: the first line that was recorded later is left out, and so are all
    lines after it.
    """
    last = HIGHEST if below is None else below
    parameters = {"tenant": key[0], "goal_id": key[1], "below": last, "limit": limit, "at": at}
    return [Entry(*row) for row in _READ_PAGE.rows(session, parameters)]


def write_messages(session: Session, messages: Sequence[Message]) -> None:
    """Add messages to the outbox; one that is there already stays unchanged."""
    for start in range(0, len(messages), _SENT_AT_ONCE):
        part = messages[start : start + _SENT_AT_ONCE]
        columns = {
            "tenants": driver.joined([message.tenant for message in part]),
            "ids": driver.joined([message.message_id for message in part]),
            "types": driver.joined([message.type for message in part]),
            "goals": driver.joined([message.goal_id for message in part]),
            "payloads": driver.joined([message.payload for message in part]),
            "at": moments([message.created_at for message in part]),
        }
        _SEND.run(session, columns)


def forget_messages(session: Session, messages: Sequence[tuple[str, str]]) -> None:
    """Remove messages, by (tenant, message id), delivered or not, so that what they say can be said again."""
    if messages:
        _FORGET.run(session, driver.key_columns("ids", messages))


def forget_delivered(session: Session, before: datetime, most: int = 10_000) -> int:
    """Delete at most `most` messages that were delivered before a moment, and return how many.

    Messages that are not delivered stay, however old they are.
    """
    return _FORGET_DELIVERED.run(session, {"before": before, "most": most})
