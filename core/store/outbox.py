"""The outbox: messages for other systems, written in the transaction of what happened, and read as a feed by position.

A message is written once and never changes, but for its position, which the relay gives it when it is announced.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from core.store import announcements, driver
from core.store.driver import Session, Sql, bools, int8s, moments

# The longest payloads have about 26 kB, and Postgres accepts a parameter of up to a gigabyte.
_SENT_AT_ONCE = 5_000
_RELAY_NAMESPACE = 0x6D73_6773
OUTBOX_CHANNEL = "milepost_outbox"
"""The channel of NOTIFY on which it is said that there are messages to announce."""


class Message(NamedTuple):
    """A message to be written. `subject` says what happens, and to what; it gets the number of times it has happened.

    It becomes the message's id, so it has no full stop, and no text that others choose.
    `payload` is the body as receivers get it: serialized JSON, which has no control characters.
    """

    tenant: str
    # None in a message that is about no goal.
    goal_id: str | None
    subject: str
    type: str
    user_id: str | None
    payload: str
    happened_at: datetime
    created_at: datetime
    is_historical: bool = False
    # What the goal's amount has to be at or beyond for the message to be true.
    threshold_minor: int | None = None


class Listed(NamedTuple):
    """A message of the feed. `position` is unique in its tenant, and higher than that of every one announced before."""

    message_id: str
    type: str
    goal_id: str | None
    user_id: str | None
    payload: str
    created_at: datetime
    is_historical: bool
    position: int


class FeedFilter(NamedTuple):
    """Which messages of the feed are wanted; None: all."""

    types: Sequence[str] | None = None
    user_id: str | None = None
    goal_id: str | None = None


# A message that is about no goal is counted under the goal id ''.
_GIVEN = f"""(SELECT *, coalesce(goal_id, '') AS counted_under
        FROM unnest({driver.split("tenants")}, {driver.split_or_null("goals")}, {driver.split("subjects")},
            {driver.split("types")}, {driver.split_or_null("users")}, {driver.split("payloads")}, :happened, :created,
            :historical, :thresholds)
        AS u(tenant, goal_id, subject, type, user_id, payload, happened_at, created_at, historical, threshold_minor)
        ) AS g"""
_COUNTER = "(c.tenant, c.goal_id, c.subject) = (g.tenant, g.counted_under, g.subject)"
# Whoever listens for it announces the messages once this transaction is committed.
_NOTIFY = f"(SELECT pg_notify('{OUTBOX_CHANNEL}', '')) notified"
_VALUES = "type, goal_id, user_id, payload, happened_at, created_at"
_OF_GIVEN = ", ".join(f"g.{column}" for column in _VALUES.split(", "))
# The rows of the counters are locked in an order, and after their goals.
_WRITING = f"""WITH g AS MATERIALIZED (SELECT * FROM {_GIVEN} {{of_given}}),
    counted AS (
        INSERT INTO message_counts AS c (tenant, goal_id, subject, times, holds)
        SELECT tenant, counted_under, subject, 1, true FROM g ORDER BY tenant, counted_under, subject
        ON CONFLICT (tenant, goal_id, subject) DO UPDATE SET times = c.times + 1, holds = true {{of_counted}}
        RETURNING tenant, goal_id, subject, times),
    written AS (
        INSERT INTO outbox (tenant, message_id, {_VALUES}, historical, threshold_minor)
        SELECT g.tenant, concat(g.subject, ':', c.times), {_OF_GIVEN}, g.historical, g.threshold_minor
        FROM g JOIN counted c ON {_COUNTER}
        RETURNING message_id)
    SELECT message_id FROM written, {_NOTIFY}"""
_WRITE = Sql(_WRITING.format(of_given="", of_counted=""))
# Of two transactions that write the same, one waits for the other's counter, and then finds that it holds.
_WRITE_MISSING = Sql(
    _WRITING.format(
        of_given=f"WHERE NOT EXISTS (SELECT FROM message_counts c WHERE {_COUNTER} AND c.holds)",
        of_counted="WHERE NOT c.holds",
    )
)
_RULE_OUT = Sql(
    """INSERT INTO message_counts (tenant, goal_id, subject, times, holds) VALUES (:tenant, '', :subject, 0, true)
    ON CONFLICT (tenant, goal_id, subject) DO UPDATE SET holds = true"""
)
_END = Sql(
    """UPDATE message_counts SET holds = false
    WHERE tenant = :tenant AND goal_id = '' AND subject = :subject AND holds"""
)
# What was not announced needs no withdrawal. That of a historical message is historical too.
_WITHDRAW = Sql(
    f"""WITH g AS MATERIALIZED (
        SELECT g.*, c.times, concat(g.subject, ':', c.times) AS withdrawn_id FROM {_GIVEN}
        JOIN message_counts c ON {_COUNTER} WHERE c.holds),
    noted AS (
        UPDATE message_counts c SET holds = false FROM g WHERE {_COUNTER}),
    dropped AS (
        DELETE FROM outbox o USING g
        WHERE o.tenant = g.tenant AND o.message_id = g.withdrawn_id AND o.position IS NULL
        RETURNING o.tenant, o.message_id),
    written AS (
        INSERT INTO outbox (tenant, message_id, {_VALUES}, historical)
        SELECT g.tenant, concat(replace(g.type, '.', '_'), substr(g.subject, strpos(g.subject, ':')), ':', g.times),
            {_OF_GIVEN}, coalesce(o.historical, false)
        FROM g LEFT JOIN outbox o ON o.tenant = g.tenant AND o.message_id = g.withdrawn_id
        WHERE NOT EXISTS (SELECT FROM dropped d WHERE d.tenant = g.tenant AND d.message_id = g.withdrawn_id)
        RETURNING message_id)
    SELECT message_id FROM written, {_NOTIFY}"""
)
_IS_OLD = "(o.historical OR o.happened_at < o.created_at - t.announce_within_s * interval '1 second')"
# That something was reached is announced while the amount is there, or once all facts of its day are in a close, which
# has withdrawn what they do not bear out. A paused goal is not closed anew until it is active again.
_DAY = "CAST(o.happened_at AT TIME ZONE t.time_zone AS date)"
_IS_THERE = """CASE g.type WHEN 'debt' THEN g.amount_minor <= o.threshold_minor
                ELSE g.amount_minor >= o.threshold_minor END"""
_IS_CLOSED = f"""({_DAY} <= t.closed_through AND (g.dirty_from <= {_DAY}) IS NOT TRUE AND NOT EXISTS (
                SELECT FROM links l JOIN accounts a ON a.tenant = l.tenant AND a.account_id = l.account_id
                WHERE l.tenant = g.tenant AND l.goal_id = g.goal_id AND least(a.dirty_from, a.late_from) <= {_DAY}))"""
_IS_DUE = f"""({_IS_OLD} OR o.threshold_minor IS NULL
        OR (o.created_at + t.announce_after_s * interval '1 second' <= :now AND EXISTS (
            SELECT FROM goals g WHERE g.tenant = o.tenant AND g.goal_id = o.goal_id AND g.status <> 'paused'
                AND ((NOT t.announce_at_close AND {_IS_THERE}) OR {_IS_CLOSED}))))"""
_TENANTS_DUE = Sql(
    f"""SELECT t.tenant FROM tenants t
    WHERE EXISTS (SELECT FROM outbox o WHERE o.tenant = t.tenant AND o.position IS NULL AND {_IS_DUE})
    ORDER BY t.tenant"""
)
_LOCK_RELAY = Sql("SELECT pg_try_advisory_xact_lock(:namespace, hashtext(:tenant))")
# By the clock, so that a database which was restored from a backup gives no position a second time.
_ANNOUNCE = Sql(
    f"""WITH due AS (
        SELECT o.message_id, o.created_at, {_IS_OLD} AS is_old
        FROM outbox o JOIN tenants t USING (tenant)
        WHERE o.tenant = :tenant AND o.position IS NULL AND {_IS_DUE}
        ORDER BY o.created_at, o.message_id LIMIT :most FOR UPDATE OF o SKIP LOCKED),
    placed AS (
        SELECT message_id, is_old, row_number() OVER (ORDER BY created_at, message_id)
            + greatest((SELECT max(position) FROM outbox WHERE tenant = :tenant),
                (SELECT messages_from FROM tenants WHERE tenant = :tenant), :clock_us) AS position
        FROM due),
    announced AS (
        UPDATE outbox o SET position = p.position, historical = p.is_old
        FROM placed p WHERE o.tenant = :tenant AND o.message_id = p.message_id
        RETURNING o.message_id, o.type, o.historical),
    to_deliver AS (
        INSERT INTO deliveries (tenant, endpoint_id, message_id, due_at)
        SELECT e.tenant, e.endpoint_id, a.message_id, :now
        FROM announced a JOIN endpoints e ON e.tenant = :tenant AND e.enabled AND NOT a.historical
            AND CASE a.type WHEN 'endpoint.ping' THEN e.endpoint_id = split_part(a.message_id, ':', 2)
                ELSE e.types IS NULL OR a.type = ANY(e.types) END)
    SELECT count(*) FROM announced"""
)
_LISTED = "message_id, type, goal_id, user_id, payload, created_at, historical, position"
_SCANNED = Sql(
    """SELECT count(*), max(position) FROM (
        SELECT position FROM outbox WHERE tenant = :tenant AND position > :after ORDER BY position LIMIT :scanned) s"""
)
_FEED = Sql(
    f"""SELECT {_LISTED} FROM outbox
    WHERE tenant = :tenant AND position > :after AND position <= :through
      AND (CAST(:types AS text[]) IS NULL OR type = ANY(CAST(:types AS text[])))
      AND (CAST(:user_id AS text) IS NULL OR user_id = :user_id)
      AND (CAST(:goal_id AS text) IS NULL OR goal_id = :goal_id)
    ORDER BY position LIMIT :limit"""
)
_ALL_FROM = Sql("SELECT messages_from FROM tenants WHERE tenant = :tenant")
_FORGET = Sql(
    """WITH forgotten AS (
        DELETE FROM outbox WHERE (tenant, message_id) IN (
            SELECT o.tenant, o.message_id FROM tenants t CROSS JOIN LATERAL (
                SELECT tenant, message_id FROM outbox
                WHERE tenant = t.tenant AND position < :before ORDER BY position LIMIT :most) o
            LIMIT :most)
        RETURNING tenant, message_id, position),
    not_delivered AS (
        DELETE FROM deliveries WHERE (tenant, endpoint_id, message_id) IN (
            SELECT f.tenant, e.endpoint_id, f.message_id FROM forgotten f JOIN endpoints e USING (tenant))),
    noted AS (
        UPDATE tenants t SET messages_from = greatest(t.messages_from, f.position)
        FROM (SELECT tenant, max(position) AS position FROM forgotten GROUP BY tenant) f
        WHERE t.tenant = f.tenant)
    SELECT count(*) FROM forgotten"""
)


def write_messages(session: Session, messages: Sequence[Message]) -> list[str]:
    """Write messages about what has happened, each with the next number of its subject; the goals are locked.

    Returns their ids, in no order.
    """
    return _run(session, _WRITE, messages)


def write_missing(session: Session, messages: Sequence[Message]) -> int:
    """Write those of these messages of which the last one of their subject does not hold any more; returns how many."""
    return len(_run(session, _WRITE_MISSING, messages))


def end_message(session: Session, tenant: str, subject: str) -> None:
    """Note that the last message of a subject, which is about no goal, does not hold any more; no message says so."""
    _END.run(session, {"tenant": tenant, "subject": subject})


def rule_out(session: Session, tenant: str, subject: str) -> None:
    """Let `write_missing` write no message of a subject, which is about no goal, as if there were one that holds."""
    _RULE_OUT.run(session, {"tenant": tenant, "subject": subject})


def withdraw_messages(session: Session, messages: Sequence[Message]) -> None:
    """Take back the last message of each of these subjects, if it holds: it is dropped if it was not announced.

    If it was, or is not there any more, the message that is given is written, with the number of what it takes back.
    Its type is that of the subject with `.withdrawn` behind it; in ids each full stop of a type is an underscore.
    """
    _run(session, _WITHDRAW, messages)


def _run(session: Session, statement: Sql, messages: Sequence[Message]) -> list[str]:
    written: list[str] = []
    for start in range(0, len(messages), _SENT_AT_ONCE):
        part = messages[start : start + _SENT_AT_ONCE]
        columns = {
            "tenants": driver.joined([message.tenant for message in part]),
            "goals": driver.joined_or_null([message.goal_id for message in part]),
            "subjects": driver.joined([message.subject for message in part]),
            "types": driver.joined([message.type for message in part]),
            "users": driver.joined_or_null([message.user_id for message in part]),
            "payloads": driver.joined([message.payload for message in part]),
            "happened": moments([message.happened_at for message in part]),
            "created": moments([message.created_at for message in part]),
            "historical": bools([message.is_historical for message in part]),
            "thresholds": int8s([message.threshold_minor for message in part]),
        }
        written += statement.values(session, columns)
    return written


def tenants_to_announce(session: Session, now: datetime) -> list[str]:
    """The tenants with messages that are due to be announced at `now`."""
    return [str(name) for name in _TENANTS_DUE.values(session, {"now": now})]


def announce(session: Session, tenant: str, now: datetime, most: int) -> int:
    """Give the next positions to at most `most` messages of a tenant that are due; returns to how many.

    What an endpoint takes of them becomes a delivery, unless it is historical.

    No other transaction gives positions of this tenant until this one ends; one that tries gives none. So no reader of
    the feed can see a position while a lower one is still to come. What somebody is withdrawing is left for later.
    """
    if not _LOCK_RELAY.value(session, {"namespace": _RELAY_NAMESPACE, "tenant": tenant}):
        return 0
    parameters = {"tenant": tenant, "now": now, "most": most, "clock_us": position_at(now)}
    number = int(_ANNOUNCE.value(session, parameters))
    if number:
        announcements.notify(session, tenant)
    return number


def position_at(moment: datetime) -> int:
    """The lowest position that is given at a moment: its microseconds since 1970."""
    return round(moment.timestamp() * 1_000_000)


def read_feed(
    session: Session, tenant: str, wanted: FeedFilter, *, after: int, limit: int, scanned: int
) -> tuple[list[Listed], int, bool]:
    """At most `limit` messages after a position, in order; where to go on after them, and whether there are more.

    At most `scanned` messages are looked at, so there may be more where few or none are returned.
    """
    number, through = _SCANNED.one(session, {"tenant": tenant, "after": after, "scanned": scanned})
    if not number:
        return [], after, False
    parameters = {**wanted._asdict(), "tenant": tenant, "after": after, "through": through, "limit": limit + 1}
    found = [Listed(*row) for row in _FEED.rows(session, parameters)]
    if len(found) > limit:
        return found[:limit], found[limit - 1].position, True
    return found, through, number == scanned


def all_from(session: Session, tenant: str) -> int:
    """The position after which all messages of the feed are still there."""
    return int(_ALL_FROM.value(session, {"tenant": tenant}))


def forget_messages(session: Session, before: datetime, most: int = 10_000) -> int:
    """Delete at most `most` messages that were announced before a moment; returns how many."""
    return int(_FORGET.value(session, {"before": position_at(before), "most": most}))
