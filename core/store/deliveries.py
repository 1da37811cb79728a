"""Rows of deliveries, one for each message and endpoint that takes it, and of the attempts to deliver them.

The endpoint's row is locked first, always: by the job that claims and records, and by requests that change what is due.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from core.store import driver
from core.store.driver import Row, Session, Sql, bools, int8s, moments

LEASE = timedelta(seconds=30)
"""How long an attempt may take, with the record of its answer; after that another one begins."""
IN_FLIGHT_MOST = 20
"""How many attempts of one endpoint are in progress at once; one if the last of them failed."""
_BURSTS_A_SECOND = 10
RECOVERED_MOST = 100_000


class DeliveryStatus(StrEnum):
    """What became of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Ready(NamedTuple):
    """An endpoint with pending deliveries: when the first is due, unless nothing is sent before `held_until`."""

    tenant: str
    endpoint_id: str
    due_at: datetime
    held_until: datetime | None

    @property
    def at(self) -> datetime:
        """When something may be sent to it."""
        return self.due_at if self.held_until is None else max(self.due_at, self.held_until)


class Claimed(NamedTuple):
    """An attempt that was begun: which one of its delivery, how many failed before, and what is sent where."""

    tenant: str
    endpoint_id: str
    message_id: str
    attempt: int
    failures: int
    url: str
    sealed_secrets: bytes
    is_failing: bool
    payload: str


class Attempt(NamedTuple):
    """An attempt that has ended. `next_at` is when to try again; None: never. `error`: why there was no answer."""

    tenant: str
    endpoint_id: str
    message_id: str
    attempt: int
    at: datetime
    status: int | None
    error: str | None
    latency_ms: int
    answer: str
    is_success: bool
    next_at: datetime | None
    # Nothing else is sent to the endpoint before; None: at once.
    held_until: datetime | None


class ListedAttempt(NamedTuple):
    """An attempt as it is listed, with the status of its delivery now."""

    message_id: str
    type: str | None
    attempt: int
    at: datetime
    status: int | None
    error: str | None
    latency_ms: int
    answer: str
    delivery: str
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Failing:
    """What an endpoint's row says of its last attempts."""

    enabled: bool
    url: str
    failing_since: datetime | None


# From one endpoint with pending rows to the next, whatever number of rows each has.
_READY = Sql(
    """WITH RECURSIVE pending AS (
        (SELECT tenant, endpoint_id, due_at FROM deliveries WHERE due_at IS NOT NULL
         ORDER BY tenant, endpoint_id, due_at LIMIT 1)
        UNION ALL
        SELECT n.* FROM pending p CROSS JOIN LATERAL (
            SELECT d.tenant, d.endpoint_id, d.due_at FROM deliveries d
            WHERE d.due_at IS NOT NULL AND (d.tenant, d.endpoint_id) > (p.tenant, p.endpoint_id)
            ORDER BY d.tenant, d.endpoint_id, d.due_at LIMIT 1) n)
    SELECT p.tenant, p.endpoint_id, p.due_at, e.held_until
    FROM pending p JOIN endpoints e USING (tenant, endpoint_id)"""
)
_GIVEN = f"{driver.keys('tenants', 'endpoints')} AS g(tenant, endpoint_id)"
# What another process has locked, it is claiming now.
_LOCK_FREE = Sql(
    f"""SELECT e.tenant, e.endpoint_id FROM {_GIVEN} JOIN endpoints e USING (tenant, endpoint_id)
    WHERE e.enabled AND (e.held_until IS NULL OR e.held_until <= :now)
    ORDER BY e.tenant, e.endpoint_id FOR NO KEY UPDATE OF e SKIP LOCKED"""
)
# Endpoints with the fewest attempts in progress come first, and those that fail have at most half of the room.
_CLAIM = Sql(
    f"""WITH counted AS MATERIALIZED (
        SELECT e.*, (SELECT count(*) FROM deliveries d WHERE d.tenant = e.tenant AND d.endpoint_id = e.endpoint_id
            AND d.leased_until > :now) AS in_flight
        FROM {_GIVEN} JOIN endpoints e USING (tenant, endpoint_id)),
    due AS (
        SELECT e.tenant, e.endpoint_id, d.message_id, e.failing_since IS NOT NULL AS is_failing, d.due_at,
            e.in_flight + row_number() OVER (PARTITION BY e.tenant, e.endpoint_id ORDER BY d.due_at) AS turn
        FROM counted e CROSS JOIN LATERAL (
            SELECT d.message_id, d.due_at FROM deliveries d
            WHERE d.tenant = e.tenant AND d.endpoint_id = e.endpoint_id AND d.due_at <= :now
            ORDER BY d.due_at LIMIT greatest(0, least(
                CASE WHEN e.failing_since IS NULL THEN {IN_FLIGHT_MOST} ELSE 1 END - e.in_flight,
                CASE WHEN e.rate IS NOT NULL THEN greatest(e.rate / {_BURSTS_A_SECOND}, 1) END))) d),
    chosen AS (
        (SELECT * FROM due WHERE NOT is_failing ORDER BY turn, due_at LIMIT :most)
        UNION ALL
        (SELECT * FROM due WHERE is_failing ORDER BY turn, due_at LIMIT :failing_most)),
    fitting AS (SELECT * FROM chosen ORDER BY is_failing, turn, due_at LIMIT :most),
    leased AS (
        UPDATE deliveries d SET due_at = :until, leased_until = :until, attempts = d.attempts + 1
        FROM fitting f WHERE (d.tenant, d.endpoint_id, d.message_id) = (f.tenant, f.endpoint_id, f.message_id)
        RETURNING d.tenant, d.endpoint_id, d.message_id, d.attempts, d.failures),
    paced AS (
        UPDATE endpoints e SET held_until = CAST(:now AS timestamptz) + l.number * interval '1 second' / e.rate
        FROM (SELECT tenant, endpoint_id, count(*) AS number FROM leased GROUP BY tenant, endpoint_id) l
        WHERE (e.tenant, e.endpoint_id) = (l.tenant, l.endpoint_id) AND e.rate IS NOT NULL)
    SELECT l.tenant, l.endpoint_id, l.message_id, l.attempts, l.failures, e.url, e.sealed_secrets,
        e.failing_since IS NOT NULL, o.payload
    FROM leased l JOIN counted e USING (tenant, endpoint_id) JOIN outbox o USING (tenant, message_id)"""
)
_LOCK = Sql(
    f"""SELECT e.tenant, e.endpoint_id, e.enabled, e.url, e.failing_since
    FROM {_GIVEN} JOIN endpoints e USING (tenant, endpoint_id)
    ORDER BY e.tenant, e.endpoint_id FOR NO KEY UPDATE OF e"""
)
_ENDED = f"""unnest({driver.split("tenants")}, {driver.split("endpoints")}, {driver.split("messages")}, :attempts,
        :ats, CAST(:statuses AS bigint[]), {driver.split_or_null("errors")}, :latencies, CAST(:answers AS text[]),
        :successes, :nexts)
        AS g(tenant, endpoint_id, message_id, attempt, at, status, error, latency_ms, answer, is_success, next_at)"""
# A late answer counts if it is a success. A failure counts for the attempt that was begun last.
_RECORD = Sql(
    f"""WITH g AS MATERIALIZED (SELECT * FROM {_ENDED}),
    known AS MATERIALIZED (
        SELECT g.* FROM g JOIN deliveries d USING (tenant, endpoint_id, message_id) FOR NO KEY UPDATE OF d),
    noted AS (
        UPDATE deliveries d SET
            status = CASE WHEN g.is_success THEN 'delivered' WHEN g.next_at IS NULL THEN 'failed' ELSE d.status END,
            due_at = CASE WHEN g.is_success THEN NULL ELSE g.next_at END,
            leased_until = NULL,
            failures = d.failures + CASE WHEN g.is_success THEN 0 ELSE 1 END
        FROM known g WHERE (d.tenant, d.endpoint_id, d.message_id) = (g.tenant, g.endpoint_id, g.message_id)
          AND (CASE WHEN g.is_success THEN d.status <> 'delivered' ELSE d.status = 'pending' AND d.attempts = g.attempt
              END))
    INSERT INTO delivery_attempts (tenant, endpoint_id, message_id, attempt, at, status, error, latency_ms, answer)
    SELECT tenant, endpoint_id, message_id, attempt, at, status, error, latency_ms, answer FROM known
    ON CONFLICT DO NOTHING"""
)
_NOTE_FAILING = Sql(
    """UPDATE endpoints SET failing_since = :failing_since,
        held_until = greatest(held_until, CAST(:held_until AS timestamptz))
    WHERE tenant = :tenant AND endpoint_id = :endpoint_id"""
)
_DISABLE = Sql(
    """WITH given_up AS (
        UPDATE deliveries SET status = 'failed', due_at = NULL, leased_until = NULL
        WHERE tenant = :tenant AND endpoint_id = :endpoint_id AND due_at IS NOT NULL)
    UPDATE endpoints SET enabled = false, disabled_reason = :reason, disabled_at = :now
    WHERE tenant = :tenant AND endpoint_id = :endpoint_id AND enabled"""
)
_COUNT_PENDING = Sql(
    """SELECT endpoint_id, count(*) FROM deliveries WHERE tenant = :tenant AND due_at IS NOT NULL
    GROUP BY endpoint_id"""
)
_ANEW = "status = 'pending', due_at = excluded.due_at, leased_until = NULL, failures = 0"
_RECOVER = Sql(
    f"""INSERT INTO deliveries AS d (tenant, endpoint_id, message_id, due_at)
    SELECT o.tenant, e.endpoint_id, o.message_id, :now
    FROM endpoints e JOIN outbox o ON o.tenant = e.tenant
    LEFT JOIN deliveries b ON b.tenant = e.tenant AND b.endpoint_id = e.endpoint_id AND b.message_id = o.message_id
    WHERE e.tenant = :tenant AND e.endpoint_id = :endpoint_id AND o.position >= :since AND o.position < :until
      AND NOT o.historical AND o.type <> 'endpoint.ping' AND (e.types IS NULL OR o.type = ANY(e.types))
      AND (b.status IS NULL OR b.status = 'failed')
    ORDER BY o.position LIMIT {RECOVERED_MOST}
    ON CONFLICT (tenant, endpoint_id, message_id) DO UPDATE SET {_ANEW}"""
)
_RESEND = Sql(
    f"""INSERT INTO deliveries AS d (tenant, endpoint_id, message_id, due_at)
    SELECT tenant, :endpoint_id, message_id, :now FROM outbox
    WHERE tenant = :tenant AND message_id = :message_id AND position IS NOT NULL
    ON CONFLICT (tenant, endpoint_id, message_id) DO UPDATE SET {_ANEW}"""
)
_LIST_ATTEMPTS = Sql(
    """SELECT a.message_id, o.type, a.attempt, a.at, a.status, a.error, a.latency_ms, a.answer, d.status, d.due_at
    FROM delivery_attempts a JOIN deliveries d USING (tenant, endpoint_id, message_id)
    LEFT JOIN outbox o USING (tenant, message_id)
    WHERE a.tenant = :tenant AND a.endpoint_id = :endpoint_id
      AND (CAST(:message_id AS text) IS NULL OR a.message_id = :message_id)
      AND (CAST(:at AS timestamptz) IS NULL OR (a.at, a.message_id, a.attempt) < (:at, :after_id, :after_attempt))
    ORDER BY a.at DESC, a.message_id DESC, a.attempt DESC LIMIT :limit"""
)


def ready_endpoints(session: Session) -> list[Ready]:
    """All endpoints with pending deliveries."""
    return [Ready(*row) for row in _READY.rows(session, {})]


def claim_deliveries(
    session: Session, endpoints: Sequence[Ready], now: datetime, most: int, failing_most: int
) -> list[Claimed]:
    """Begin at most `most` attempts of deliveries that are due, of which `failing_most` to endpoints that fail.

    Each has a lease of LEASE, which the caller must commit before it sends anything.
    """
    parameters = {**_keys([(each.tenant, each.endpoint_id) for each in endpoints]), "now": now}
    # By a statement of its own: the next one sees what others committed before these locks were free.
    free = _LOCK_FREE.rows(session, parameters)
    if not free:
        return []
    parameters = {**_keys(free), "now": now, "until": now + LEASE, "most": most, "failing_most": failing_most}
    return [Claimed(*row) for row in _CLAIM.rows(session, parameters)]


def lock_failing(session: Session, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Failing]:
    """What is known of these (tenant, endpoint id), which are locked; those that are gone are missing."""
    rows = _LOCK.rows(session, _keys(sorted(set(keys))))
    return {(tenant, endpoint_id): Failing(*rest) for tenant, endpoint_id, *rest in rows}


def record_attempts(session: Session, attempts: Sequence[Attempt]) -> None:
    """Write attempts that have ended, and what becomes of their deliveries; the endpoints are locked."""
    columns = {
        "tenants": driver.joined([each.tenant for each in attempts]),
        "endpoints": driver.joined([each.endpoint_id for each in attempts]),
        "messages": driver.joined([each.message_id for each in attempts]),
        "attempts": int8s([each.attempt for each in attempts]),
        "ats": moments([each.at for each in attempts]),
        "statuses": int8s([each.status for each in attempts]),
        "errors": driver.joined_or_null([each.error for each in attempts]),
        "latencies": int8s([each.latency_ms for each in attempts]),
        "answers": [each.answer for each in attempts],
        "successes": bools([each.is_success for each in attempts]),
        "nexts": moments([each.next_at for each in attempts]),
    }
    _RECORD.run(session, columns)


def note_failing(
    session: Session, key: tuple[str, str], failing_since: datetime | None, held_until: datetime | None
) -> None:
    """Write since when a locked endpoint fails, and until when nothing is sent to it."""
    tenant, endpoint_id = key
    parameters = {"failing_since": failing_since, "held_until": held_until}
    _NOTE_FAILING.run(session, {"tenant": tenant, "endpoint_id": endpoint_id, **parameters})


def disable_endpoint(session: Session, key: tuple[str, str], reason: str, now: datetime) -> bool:
    """Disable a locked endpoint, and give up what is pending; False if it was disabled already."""
    tenant, endpoint_id = key
    parameters = {"tenant": tenant, "endpoint_id": endpoint_id, "reason": reason, "now": now}
    return bool(_DISABLE.run(session, parameters))


def count_pending(session: Session, tenant: str) -> dict[str, int]:
    """By endpoint id, how many deliveries are pending; endpoints without any are missing."""
    return {row[0]: row[1] for row in _COUNT_PENDING.rows(session, {"tenant": tenant})}


def recover(session: Session, key: tuple[str, str], since: int, until: int, now: datetime) -> int:
    """Make pending what a locked endpoint takes and did not get, of the positions from `since` up to `until`.

    That is at most RECOVERED_MOST messages, the oldest ones; returns how many.
    """
    tenant, endpoint_id = key
    parameters = {"tenant": tenant, "endpoint_id": endpoint_id, "since": since, "until": until, "now": now}
    return _RECOVER.run(session, parameters)


def resend(session: Session, key: tuple[str, str], message_id: str, now: datetime) -> bool:
    """Make one announced message pending for a locked endpoint; False if there is no such message."""
    tenant, endpoint_id = key
    parameters = {"tenant": tenant, "endpoint_id": endpoint_id, "message_id": message_id, "now": now}
    return bool(_RESEND.run(session, parameters))


def list_attempts(
    session: Session,
    tenant: str,
    endpoint_id: str,
    *,
    message_id: str | None,
    after: tuple[datetime, str, int] | None,
    limit: int,
) -> list[ListedAttempt]:
    """An endpoint's attempts, the newest first, all or those of one message, after the position of a page's last."""
    at, after_id, after_attempt = after or (None, "", 0)
    parameters = {
        "tenant": tenant,
        "endpoint_id": endpoint_id,
        "message_id": message_id,
        "at": at,
        "after_id": after_id,
        "after_attempt": after_attempt,
        "limit": limit,
    }
    return [ListedAttempt(*row) for row in _LIST_ATTEMPTS.rows(session, parameters)]


def _keys(pairs: Sequence[tuple[str, str]] | Sequence[Row]) -> dict[str, str]:
    return driver.key_columns("endpoints", [(pair[0], pair[1]) for pair in pairs])
