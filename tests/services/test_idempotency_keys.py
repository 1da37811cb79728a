"""The rows of idempotency keys: taken once, waited for, and forgotten after a day."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from core.errors import KeyBusy
from core.store.database import Sessions
from core.store.driver import Session, Sql
from core.store.idempotency import KEPT, KeyedAnswer, claim_key, fill_key, forget_idempotency_keys

ROUTE, BODY_HASH = "POST /goals", b"hash"


def _claim(session: Session, now: datetime, *, key: str = "key", tenant: str = "default") -> KeyedAnswer | None:
    return claim_key(session, tenant, key, route=ROUTE, body_hash=BODY_HASH, now=now)


def _use(sessions: Sessions, now: datetime, *, key: str = "key", tenant: str = "default") -> None:
    with sessions.begin() as session:
        assert _claim(session, now, key=key, tenant=tenant) is None
        fill_key(session, tenant, key, status=201, location="/goals/g", body=b"{}")


def test_a_key_stands_for_its_first_answer(session_factory: Sessions, now: datetime) -> None:
    """Who claims a key that was used gets the request and the answer that it stands for."""
    _use(session_factory, now)
    with session_factory.begin() as session:
        assert _claim(session, now) == KeyedAnswer(ROUTE, BODY_HASH, 201, "/goals/g", b"{}")
        assert _claim(session, now, tenant="other") is None


def test_a_claim_that_is_rolled_back_leaves_the_key_free(session_factory: Sessions, now: datetime) -> None:
    """What is refused after its claim has not used the key."""
    with session_factory() as session:
        assert _claim(session, now) is None
        session.rollback()
    _use(session_factory, now)


def test_a_key_whose_first_request_takes_too_long_is_busy(session_factory: Sessions, now: datetime) -> None:
    """A second claim waits for the first as long as for any lock, and then says so."""
    with session_factory.begin() as first, session_factory() as second:
        assert _claim(first, now) is None
        Sql("SET LOCAL lock_timeout = '50ms'").run(second, {})
        with pytest.raises(KeyBusy):
            _claim(second, now)


@pytest.mark.parametrize(("age", "is_free"), [(KEPT, True), (KEPT - timedelta(microseconds=1), False)])
def test_a_key_is_free_again_after_a_day(
    session_factory: Sessions, now: datetime, age: timedelta, is_free: bool
) -> None:
    """After 24 hours a key can be used for another request, whether it was dropped yet or not."""
    _use(session_factory, now)
    with session_factory.begin() as session:
        assert (_claim(session, now + age) is None) is is_free


def test_old_keys_are_dropped_a_few_at_a_time(session_factory: Sessions, now: datetime) -> None:
    """At most as many as asked for go, oldest first, of all tenants; those that are young enough stay."""
    for minutes, tenant in ((30, "default"), (20, "other"), (10, "default"), (0, "default")):
        _use(session_factory, now - timedelta(minutes=minutes), key=f"key{minutes}", tenant=tenant)
    dropped = []
    for _ in range(3):
        with session_factory.begin() as session:
            dropped.append(forget_idempotency_keys(session, now - timedelta(minutes=5), most=2))
    assert dropped == [2, 1, 0]
    with session_factory.begin() as session:
        assert _claim(session, now, key="key0") is not None


def test_dropping_keys_does_not_wait_for_those_under_way(session_factory: Sessions, now: datetime) -> None:
    """An old key that a request has claimed anew is left alone."""
    _use(session_factory, now - 2 * KEPT)
    with session_factory.begin() as first, session_factory.begin() as second:
        assert _claim(first, now) is None
        assert forget_idempotency_keys(second, now - KEPT) == 0
