"""Delivery: claims what is due, sends it side by side, and records the answers.

What is claimed has a lease that is committed before anything is sent; no transaction waits for a receiver. A process
that is killed before it has recorded an answer sends the message again once the lease is over: at least once.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version
from threading import Event
from typing import NamedTuple, cast

import structlog

from core.delivery.addresses import AddressRules
from core.delivery.sender import Outcome, Sender
from core.delivery.side_by_side import Parcel, SideBySide
from core.delivery.signatures import signed_headers
from core.errors import SecretsUnreadable
from core.messages.others import endpoint_disabled
from core.providers.sealing import Sealer
from core.settings import Settings
from core.store.database import Sessions, listen_url
from core.store.deliveries import (
    Attempt,
    Claimed,
    Failing,
    claim_deliveries,
    disable_endpoint,
    lock_failing,
    note_failing,
    ready_endpoints,
    record_attempts,
)
from core.store.driver import Session
from core.store.endpoints import DisabledReason, row_name
from core.store.outbox import OUTBOX_CHANNEL, write_messages
from core.store.wakeups import Wakeups

log = structlog.get_logger(__name__)

RETRIES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
"""How long after each failed attempt the next one is due, give or take a tenth; after the last one it has failed."""
FAILING_MOST = timedelta(days=3)
"""An endpoint that fails for so long is disabled."""
AT_ONCE = 500
"""How many attempts a process has in progress, of which endpoints that fail have at most half."""
_JITTER = 0.1
_GONE = 410
_ASKED_FOR_A_PAUSE = (429, 503)
_LOOK_EVERY_S, _LOOK_AGAIN_S = 1.0, 0.05
_FINISH_S = 3.0

Clock = Callable[[], datetime]
Relay = Callable[[datetime], bool]
"""Announces the messages that are due; whether some are left, since another process announces them now."""


@dataclass(slots=True)
class Delivered:
    """How many attempts have delivered their message, got another answer, or got none; how long each of them took."""

    delivered: int = 0
    refused: int = 0
    unanswered: int = 0
    latencies_ms: list[int] = field(default_factory=list)

    @property
    def attempts(self) -> int:
        """How many attempts have ended."""
        return len(self.latencies_ms)

    def add(self, outcome: Outcome) -> None:
        """Count an attempt."""
        self.latencies_ms.append(outcome.latency_ms)
        if outcome.is_success:
            self.delivered += 1
        elif outcome.status is None:
            self.unanswered += 1
        else:
            self.refused += 1


class _Ended(NamedTuple):
    """An attempt with its outcome, which is not recorded yet."""

    claimed: Claimed
    at: datetime
    outcome: Outcome
    was_sent: bool = True

    @property
    def endpoint(self) -> tuple[str, str]:
        """The tenant and the id of the endpoint."""
        return self.claimed.tenant, self.claimed.endpoint_id


class Deliverer:
    """Delivers messages in slices of time; what is in progress at the end of one goes on until the next.

    One thread calls its methods, but for `stop`.
    """

    def __init__(
        self, sessions: Sessions, settings: Settings, sealer: Sealer | None, relay: Relay, clock: Clock
    ) -> None:
        self._sessions, self._sealer, self._relay, self._clock = sessions, sealer, relay, clock
        rules, agent = AddressRules.of(settings), f"Milepost/{version('milepost')}"
        self._wakeups = Wakeups(listen_url(settings), OUTBOX_CHANNEL, "milepost deliveries")
        self._sending = SideBySide(lambda: Sender(rules, user_agent=agent), self._wakeups.wake)
        self._ended: list[_Ended] = []
        self._failing_in_progress = 0
        self._stopping = Event()

    def work(self, for_s: float) -> Delivered:
        """Announce and deliver what is due, for so long, or until `stop` is called. Raises psycopg.Error."""
        end_s, total, may_announce = time.monotonic() + for_s, Delivered(), True
        while not self._stopping.is_set() and (left_s := end_s - time.monotonic()) > 0:
            self._record(total)
            is_more = may_announce and self._relay(self._clock())
            next_at = self._claim()
            most_s = _LOOK_AGAIN_S if is_more else _LOOK_EVERY_S
            if next_at is not None:
                most_s = min(most_s, (next_at - self._clock()).total_seconds())
            may_announce = self._wakeups.wait(min(most_s, left_s)) or is_more
        if self._stopping.is_set():
            self._finish(total)
        return total

    def work_through(self) -> Delivered:
        """Announce and deliver what is due now, until nothing is in progress. Raises psycopg.Error."""
        total = Delivered()
        self._relay(self._clock())
        while True:
            self._claim()
            if not self._sending.in_progress and not self._ended:
                return total
            self._wakeups.wait(_LOOK_EVERY_S)
            self._record(total)

    def stop(self) -> None:
        """End the work soon: what is in progress has a few seconds. Any thread may call this."""
        self._stopping.set()
        self._wakeups.wake()

    def close(self) -> None:
        """End what is in progress, and close the connections."""
        self._sending.close()
        self._wakeups.close()

    def _finish(self, total: Delivered) -> None:
        end_s = time.monotonic() + _FINISH_S
        while self._sending.in_progress and time.monotonic() < end_s:
            self._wakeups.wait(end_s - time.monotonic())
            self._record(total)

    def _claim(self) -> datetime | None:
        """Begin as many attempts as there is room for; returns when the next delivery is due, if one is later."""
        with self._sessions.single() as session:
            ready = ready_endpoints(session)
        now = self._clock()
        due = [each for each in ready if each.at <= now]
        room = AT_ONCE - self._sending.in_progress
        if due and room > 0:
            failing_room = max(0, min(room, AT_ONCE // 2 - self._failing_in_progress))
            with self._sessions.begin() as session:
                claimed = claim_deliveries(session, due, now, room, failing_room)
            self._send(claimed, now)
        return min((each.at for each in ready if each.at > now), default=None)

    def _send(self, claimed: Sequence[Claimed], now: datetime) -> None:
        secrets: dict[tuple[str, str], list[str] | SecretsUnreadable] = {}
        parcels = []
        for each in claimed:
            key = (each.tenant, each.endpoint_id)
            if key not in secrets:
                secrets[key] = self._secrets_of(each, now)
            texts = secrets[key]
            if isinstance(texts, SecretsUnreadable):
                self._ended.append(_Ended(each, now, Outcome(None, f"not sent: {texts}", 0), was_sent=False))
                continue
            body = each.payload.encode()
            headers = signed_headers(texts, each.message_id, int(now.timestamp()), body)
            headers["content-type"] = "application/json"
            self._failing_in_progress += each.is_failing
            parcels.append(Parcel((each, now), each.url, headers, body))
        self._sending.send(parcels)

    def _secrets_of(self, claimed: Claimed, now: datetime) -> list[str] | SecretsUnreadable:
        """The secrets that sign now, the newest first."""
        try:
            if self._sealer is None:
                raise SecretsUnreadable("MILEPOST_SECRETS_KEY is not set")
            secrets = self._sealer.open_all(claimed.sealed_secrets, row_name(claimed.tenant, claimed.endpoint_id))
        except SecretsUnreadable as error:
            log.error("messages cannot be signed", error=str(error), endpoint=claimed.endpoint_id)
            return error
        return [each.text for each in reversed(secrets) if each.is_good(now)]

    def _record(self, total: Delivered) -> None:
        """Write the answers that have come. If that fails they are kept, and written the next time."""
        for key, outcome in self._sending.take():
            claimed, at = cast(tuple[Claimed, datetime], key)
            self._failing_in_progress -= claimed.is_failing
            self._ended.append(_Ended(claimed, at, outcome))
        if not self._ended:
            return
        now = self._clock()
        with self._sessions.begin() as session:
            _record(session, self._ended, now)
        for each in self._ended:
            total.add(each.outcome)
        self._ended = []


def _record(session: Session, ended: Sequence[_Ended], now: datetime) -> None:
    locked = lock_failing(session, [each.endpoint for each in ended])
    known = [(each, _attempt(each, now)) for each in ended if each.endpoint in locked]
    record_attempts(session, [attempt for _, attempt in known])
    answered: dict[tuple[str, str], list[Attempt]] = {}
    for each, attempt in known:
        # What we could not sign says nothing of the endpoint.
        if each.was_sent:
            answered.setdefault(each.endpoint, []).append(attempt)
    for key, attempts in answered.items():
        _judge(session, key, locked[key], attempts, now)


def _attempt(ended: _Ended, now: datetime) -> Attempt:
    claimed, at, outcome, _ = ended
    next_at = held_until = None
    if not outcome.is_success:
        pause = None if outcome.retry_after_s is None else timedelta(seconds=outcome.retry_after_s)
        if claimed.failures < len(RETRIES):
            wait = RETRIES[claimed.failures] * random.uniform(1 - _JITTER, 1 + _JITTER)
            next_at = now + max(wait, pause or timedelta())
        if pause is not None and outcome.status in _ASKED_FOR_A_PAUSE:
            held_until = now + pause
    return Attempt(
        claimed.tenant,
        claimed.endpoint_id,
        claimed.message_id,
        claimed.attempt,
        at,
        outcome.status,
        None if outcome.error is None else _printable(outcome.error),
        outcome.latency_ms,
        _printable(outcome.answer.decode("utf-8", "replace")),
        outcome.is_success,
        next_at,
        held_until,
    )


def _judge(session: Session, key: tuple[str, str], before: Failing, attempts: Sequence[Attempt], now: datetime) -> None:
    """Note since when an endpoint fails, and disable one that is gone or fails for too long."""
    since, held_until = before.failing_since, None
    for each in attempts:
        since = None if each.is_success else since or each.at
        held_until = max(filter(None, [held_until, each.held_until]), default=None)
    if since != before.failing_since or held_until is not None:
        note_failing(session, key, since, held_until)
    is_gone = any(each.status == _GONE for each in attempts)
    reason = DisabledReason.GONE if is_gone else DisabledReason.FAILING
    is_over = is_gone or (since is not None and now - since >= FAILING_MOST)
    if is_over and before.enabled and disable_endpoint(session, key, reason, now):
        tenant, endpoint_id = key
        write_messages(session, [endpoint_disabled(tenant, endpoint_id, before.url, reason, since, now)])
        log.warning("an endpoint was disabled", tenant=tenant, endpoint=endpoint_id, reason=reason)


def _printable(text: str) -> str:
    """The text without control characters but line breaks and tabs: Postgres refuses some, and terminals obey them."""
    return "".join(each for each in text if each.isprintable() or each in "\n\t")
