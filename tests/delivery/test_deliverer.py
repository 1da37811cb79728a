"""Deliveries: at least once, signed, tried again in the documented times, and no endpoint delays another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Thread

import pytest
from standardwebhooks import WebhookVerificationError

from core.delivery.addresses import AddressRules
from core.delivery.deliverer import FAILING_MOST, RETRIES, Deliverer
from core.delivery.signatures import make_secret
from core.jobs.relay import relay
from core.jobs.retain import run_retain
from core.jobs.snapshot import run_snapshot
from core.providers.sealing import Sealer
from core.services import endpoints as service
from core.services.endpoints import EndpointChanges
from core.services.inputs import MilestoneDraft
from core.services.milestones import add_milestone
from core.settings import Settings
from core.store.database import Sessions
from core.store.deliveries import IN_FLIGHT_MOST, LEASE, ListedAttempt, claim_deliveries, ready_endpoints
from core.store.driver import Sql
from tests.acts import DEFAULT, balance, goal, link, paid
from tests.conftest import NOW, Apply
from tests.delivery.conftest import AddEndpoint, Clock, write
from tests.delivery.receiver import Receiver

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
RULES = AddressRules(allow_http=True, networks=())


def attempts(sessions: Sessions, endpoint_id: str) -> list[ListedAttempt]:
    """The attempts of an endpoint, the oldest first."""
    with sessions() as session:
        page = service.list_attempts(session, "default", endpoint_id, message_id=None, limit=200, cursor=None)
    return list(reversed(page.items))


def state(sessions: Sessions, endpoint_id: str) -> tuple[bool, str | None, datetime | None, int]:
    """Whether an endpoint is enabled, why not, since when it fails, and how many deliveries are pending."""
    with sessions() as session:
        view = service.get_endpoint(session, "default", endpoint_id)
    each = view.endpoint
    return each.enabled, each.disabled_reason, each.failing_since, view.pending


def feed(sessions: Sessions) -> list[str]:
    with sessions() as session:
        rows = Sql("SELECT message_id FROM outbox WHERE position IS NOT NULL ORDER BY position")
        return list(rows.values(session, {}))


def test_a_message_is_sent_signed_as_it_was_written(
    session_factory: Sessions, deliverer: Deliverer, endpoint: AddEndpoint, receiver: Receiver, clock: Clock
) -> None:
    """The package of the specification verifies it, and another secret does not."""
    clock.now = datetime.now(NOW.tzinfo)
    endpoint_id, secret = endpoint()
    write(session_factory, "a", at=clock.now)
    assert deliverer.work_through().delivered == 1
    (received,) = receiver.received
    received.verify(secret)
    with pytest.raises(WebhookVerificationError):
        received.verify(make_secret())
    assert received.message_id == "goal_changed:a:1"
    assert received.body == b'{"type":"goal.changed","timestamp":"2026-03-10T12:00:00Z","data":{}}'
    assert received.headers["content-type"] == "application/json"
    (attempt,) = attempts(session_factory, endpoint_id)
    assert (attempt.status, attempt.attempt, attempt.delivery) == (204, 1, "delivered")
    assert deliverer.work_through().attempts == 0


def test_an_endpoint_gets_the_types_that_it_takes(
    session_factory: Sessions, deliverer: Deliverer, endpoint: AddEndpoint, receiver: Receiver
) -> None:
    """Types that nobody takes make no row; an endpoint without types takes all, but no ping of another one."""
    endpoint("/some", types=["goal.reached"])
    all_id, _ = endpoint("/all")
    write(session_factory, "a")
    write(session_factory, "b", type="goal.reached")
    with session_factory.begin() as session:
        service.ping_endpoint(session, "default", all_id, NOW)
    deliverer.work_through()
    assert receiver.ids("/some") == ["goal_reached:b:1"]
    assert sorted(receiver.ids("/all")) == [f"endpoint_ping:{all_id}:1", "goal_changed:a:1", "goal_reached:b:1"]
    with session_factory() as session:
        assert Sql("SELECT count(*) FROM deliveries").value(session, {}) == 4


def test_nothing_historical_is_sent_and_nothing_from_before_the_endpoint(
    session_factory: Sessions, deliverer: Deliverer, endpoint: AddEndpoint, receiver: Receiver, clock: Clock
) -> None:
    """Both are in the feed."""
    write(session_factory, "before")
    relay(session_factory, clock.now)
    endpoint()
    with session_factory.begin() as session:
        Sql(
            """INSERT INTO outbox (tenant, message_id, type, payload, happened_at, created_at, historical)
            VALUES ('default', 'old', 'goal.reached', '{}', :now, :now, true)"""
        ).run(session, {"now": clock.now})
    write(session_factory, "after")
    deliverer.work_through()
    assert receiver.ids() == ["goal_changed:after:1"]
    assert set(feed(session_factory)) == {"goal_changed:before:1", "old", "goal_changed:after:1"}


def test_attempts_come_in_the_documented_times_and_then_it_has_failed(
    session_factory: Sessions, deliverer: Deliverer, endpoint: AddEndpoint, receiver: Receiver, clock: Clock
) -> None:
    """Each has the same id and body and a new timestamp; after the last one nothing more comes by itself."""
    endpoint_id, _ = endpoint()
    receiver.says(500, body=b"not today")
    write(session_factory, "a")
    deliverer.work_through()
    for number, wait in enumerate(RETRIES, 1):
        # Others keep it from being disabled, which is another test's matter.
        with session_factory.begin() as session:
            Sql("UPDATE endpoints SET failing_since = :now").run(session, {"now": clock.now})
        next_at = attempts(session_factory, endpoint_id)[-1].next_at
        assert next_at is not None
        assert 0.9 * wait <= next_at - clock.now <= 1.1 * wait
        clock.now = next_at - SECOND
        assert deliverer.work_through().attempts == 0
        clock.now = next_at
        assert deliverer.work_through().attempts == 1
        assert len(receiver.received) == number + 1
    tried = attempts(session_factory, endpoint_id)
    assert [(each.attempt, each.status, each.answer) for each in tried] == [(n, 500, "not today") for n in range(1, 11)]
    assert (tried[-1].delivery, tried[-1].next_at) == ("failed", None)
    clock.passes(30 * DAY)
    assert deliverer.work_through().attempts == 0
    assert len({(each.message_id, each.body) for each in receiver.received}) == 1
    assert len({each.headers["webhook-timestamp"] for each in receiver.received}) == 10


@pytest.mark.parametrize("status", [300, 301, 302, 307, 400, 404, 429, 500, 503])
def test_only_2xx_is_success(
    session_factory: Sessions, deliverer: Deliverer, endpoint: AddEndpoint, receiver: Receiver, status: int
) -> None:
    """Redirects are not followed."""
    endpoint_id, _ = endpoint("/from")
    receiver.says(status, "/from", location=f"{receiver.url}/to")
    write(session_factory, "a")
    assert deliverer.work_through().delivered == 0
    assert receiver.ids("/to") == []
    assert attempts(session_factory, endpoint_id)[0].delivery == "pending"


def test_what_a_receiver_asks_for_is_honoured(
    session_factory: Sessions, deliverer: Deliverer, endpoint: AddEndpoint, receiver: Receiver, clock: Clock
) -> None:
    """Nothing is sent to it until the pause is over, neither what was refused nor anything else."""
    endpoint_id, _ = endpoint()
    receiver.says(429, retry_after="600")
    write(session_factory, "a")
    deliverer.work_through()
    write(session_factory, "b")
    clock.passes(timedelta(seconds=599))
    assert deliverer.work_through().attempts == 0
    receiver.says(204)
    clock.passes(SECOND)
    deliverer.work_through()
    deliverer.work_through()
    assert sorted(receiver.ids()) == ["goal_changed:a:1", "goal_changed:a:1", "goal_changed:b:1"]
    assert state(session_factory, endpoint_id) == (True, None, None, 0)


def test_an_endpoint_that_is_gone_is_disabled_at_once(
    session_factory: Sessions, deliverer: Deliverer, endpoint: AddEndpoint, receiver: Receiver, clock: Clock
) -> None:
    """The feed says so once, another endpoint gets it, and what was pending can be recovered."""
    gone_id, _ = endpoint("/gone")
    endpoint("/other", types=["endpoint.disabled"])
    receiver.says(410, "/gone")
    write(session_factory, "a", "b")
    deliverer.work_through()
    assert state(session_factory, gone_id) == (False, "gone", clock.now, 0)
    deliverer.work_through()
    assert receiver.ids("/other") == [f"endpoint_disabled:{gone_id}:1"]
    write(session_factory, "c")
    deliverer.work_through()
    assert "goal_changed:c:1" not in receiver.ids("/gone")
    receiver.says(204, "/gone")
    receiver.received.clear()
    with session_factory.begin() as session:
        service.change_endpoint(
            session, RULES, "default", gone_id, EndpointChanges(enabled=True), clock.now, actor="test"
        )
        assert service.recover_endpoint(session, "default", gone_id, NOW - HOUR, NOW + HOUR, clock.now) == 4
    deliverer.work_through()
    assert sorted(receiver.ids("/gone"))[1:] == [f"goal_changed:{name}:1" for name in "abc"]


def test_an_endpoint_that_fails_for_three_days_is_disabled(
    session_factory: Sessions, deliverer: Deliverer, endpoint: AddEndpoint, receiver: Receiver, clock: Clock
) -> None:
    """An answer in between begins the time anew."""
    endpoint_id, _ = endpoint()
    receiver.says(500)
    write(session_factory, "a")
    deliverer.work_through()
    began = clock.now
    clock.now = began + FAILING_MOST - HOUR
    receiver.says(204)
    deliverer.work_through()
    assert state(session_factory, endpoint_id)[:3] == (True, None, None)
    receiver.says(500)
    again = clock.now
    write(session_factory, "b", at=again)
    deliverer.work_through()
    clock.now = again + FAILING_MOST - SECOND
    deliverer.work_through()
    assert state(session_factory, endpoint_id)[0]
    clock.now = again + FAILING_MOST + 25 * HOUR
    deliverer.work_through()
    assert state(session_factory, endpoint_id)[:3] == (False, "failing", again)
    relay(session_factory, clock.now)
    assert feed(session_factory)[-1] == f"endpoint_disabled:{endpoint_id}:1"


def test_both_secrets_sign_while_they_overlap(
    session_factory: Sessions,
    deliverer: Deliverer,
    endpoint: AddEndpoint,
    receiver: Receiver,
    clock: Clock,
    sealer: Sealer,
) -> None:
    """After that only the new one does."""
    clock.now = datetime.now(NOW.tzinfo) - HOUR
    brought = make_secret()
    endpoint_id, old = endpoint(secret=brought)
    assert old == brought
    with session_factory.begin() as session:
        _, new = service.rotate_secret(
            session, sealer, "default", endpoint_id, None, clock.now, overlap=HOUR - SECOND, actor="test"
        )
    assert new is not None
    for passes in (HOUR - 2 * SECOND, 2 * SECOND):
        clock.passes(passes)
        write(session_factory, f"at {passes}", at=clock.now)
        deliverer.work_through()
    first, second = receiver.received
    first.verify(old)
    first.verify(new)
    second.verify(new)
    with pytest.raises(WebhookVerificationError):
        second.verify(old)


def test_what_was_claimed_and_not_recorded_is_sent_again(
    session_factory: Sessions, deliverer: Deliverer, endpoint: AddEndpoint, receiver: Receiver, clock: Clock
) -> None:
    """A process that is killed after its claim, or after the answer, leaves a lease that ends."""
    endpoint()
    write(session_factory, "a")
    relay(session_factory, clock.now)
    with session_factory.begin() as session:
        ready = ready_endpoints(session)
        assert [each.message_id for each in claim_deliveries(session, ready, clock.now, 10, 5)] == ["goal_changed:a:1"]
    assert deliverer.work_through().attempts == 0
    clock.passes(LEASE)
    assert deliverer.work_through().delivered == 1
    assert receiver.ids() == ["goal_changed:a:1"]


def test_two_that_claim_at_once_get_nothing_twice(
    session_factory: Sessions, endpoint: AddEndpoint, clock: Clock
) -> None:
    """While one has not committed, the other leaves the endpoint to it; then the limit of both together holds."""
    endpoint()
    write(session_factory, *map(str, range(30)))
    relay(session_factory, clock.now)
    with session_factory.begin() as first, session_factory.begin() as second:
        ready = ready_endpoints(first)
        one = claim_deliveries(first, ready, clock.now, 100, 50)
        assert claim_deliveries(second, ready, clock.now, 100, 50) == []
    assert len(one) == IN_FLIGHT_MOST
    with session_factory.begin() as second:
        assert claim_deliveries(second, ready, clock.now, 100, 50) == []


def test_slow_endpoints_delay_no_other(
    session_factory: Sessions,
    deliverer: Deliverer,
    endpoint: AddEndpoint,
    receiver: Receiver,
    eventually: Callable[[Callable[[], object], float], bool],
) -> None:
    """Those that hang have a few attempts each, and the others have all theirs before one of them ends."""
    slow = [f"/slow{number}" for number in range(4)]
    for path in slow:
        receiver.says(204, path, after_s=20.0)
    for path in (*slow, "/a", "/b"):
        endpoint(path)
    write(session_factory, *map(str, range(60)))
    working = Thread(target=lambda: deliverer.work(90.0))
    working.start()
    eventually(lambda: len(receiver.ids("/a")) + len(receiver.ids("/b")) == 120, 60)
    deliverer.stop()
    working.join()
    assert len(receiver.ids("/a")) == len(receiver.ids("/b")) == 60
    assert all(len(receiver.ids(path)) < 60 for path in slow)


def test_a_rate_is_kept(session_factory: Sessions, endpoint: AddEndpoint, clock: Clock) -> None:
    """Of 100 messages to an endpoint with a rate of 20 a second, 20 are begun in each second, two at a time."""
    endpoint(rate=20)
    write(session_factory, *map(str, range(100)))
    relay(session_factory, clock.now)
    begun = []
    for _ in range(300):
        with session_factory.begin() as session:
            ready = [each for each in ready_endpoints(session) if each.at <= clock.now]
            claimed = claim_deliveries(session, ready, clock.now, 100, 50) if ready else []
            Sql(
                "UPDATE deliveries SET leased_until = NULL, status = 'delivered', due_at = NULL WHERE attempts > 0"
            ).run(session, {})
        assert len(claimed) <= 2
        begun += [clock.now] * len(claimed)
        clock.passes(timedelta(milliseconds=10))
    assert len([at for at in begun if at < NOW + SECOND]) == 20
    assert len([at for at in begun if at < NOW + 3 * SECOND]) == 60


def test_a_message_of_which_the_secret_cannot_be_opened_is_not_sent(
    session_factory: Sessions, settings: Settings, endpoint: AddEndpoint, receiver: Receiver, clock: Clock
) -> None:
    """The attempt says why, and it is tried again; the endpoint does not count as one that fails."""
    endpoint_id, _ = endpoint()
    write(session_factory, "a")
    for sealer in (Sealer(["another key than the one that sealed it"]), None):
        other = Deliverer(session_factory, settings, sealer, lambda now: relay(session_factory, now).is_more, clock)
        other.work_through()
        other.close()
        clock.passes(HOUR)
    assert receiver.received == []
    assert all("SECRETS_KEY" in (each.error or "") for each in attempts(session_factory, endpoint_id))
    assert state(session_factory, endpoint_id) == (True, None, None, 1)


def test_work_begins_as_soon_as_something_is_written(
    session_factory: Sessions,
    deliverer: Deliverer,
    endpoint: AddEndpoint,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[[Callable[[], object], float], bool],
) -> None:
    """It listens: by itself it would look only after the test is over."""
    monkeypatch.setattr("core.delivery.deliverer._LOOK_EVERY_S", 600.0)
    endpoint()
    working = Thread(target=lambda: deliverer.work(600.0))
    working.start()
    arrived = []
    for number in range(5):
        write(session_factory, str(number))
        arrived.append(eventually(lambda wanted=number + 1: len(receiver.received) == wanted, 30))
    deliverer.stop()
    working.join()
    assert arrived == [True] * 5


def test_the_half_year_of_ten_people_is_not_delivered_and_what_they_reach_today_is(
    session_factory: Sessions,
    apply: Apply,
    deliverer: Deliverer,
    endpoint: AddEndpoint,
    receiver: Receiver,
    clock: Clock,
) -> None:
    """Each has a goal with milestones that were crossed meanwhile, and a balance of yesterday."""
    endpoint(types=["goal.reached", "milestone.reached"])
    began = NOW - 180 * DAY
    people = [f"account {number}" for number in range(10)]
    for account in people:
        goal_id = goal(session_factory, NOW, target_amount="100", start_date=began.date())
        link(session_factory, NOW, goal_id, account, "100", began.date())
        for amount in ("20", "80", "95"):
            with session_factory.begin() as session:
                add_milestone(session, DEFAULT, goal_id, MilestoneDraft(amount), NOW)
        apply([paid(f"{account} {day}", 500, NOW - (180 - 10 * day) * DAY, account) for day in range(18)])
        apply([balance(9_000, NOW - DAY, account)])
    run_snapshot(session_factory, NOW)
    deliverer.work_through()
    assert receiver.received == []
    assert len([name for name in feed(session_factory) if name.startswith("milestone_reached")]) == 20
    apply([paid(f"{people[0]} today", 500, NOW + HOUR, people[0])], at=NOW + HOUR)
    clock.passes(HOUR)
    deliverer.work_through()
    assert [each.type for each in receiver.received] == ["milestone.reached"]


def test_what_is_past_retention_goes_with_its_message(
    session_factory: Sessions, deliverer: Deliverer, endpoint: AddEndpoint, clock: Clock
) -> None:
    """Deliveries and attempts of messages that are deleted are deleted too, and no others."""
    endpoint()
    write(session_factory, "old")
    deliverer.work_through()
    clock.passes(91 * DAY)
    write(session_factory, "new", at=clock.now)
    deliverer.work_through()
    run_retain(session_factory, clock.now)
    with session_factory() as session:
        for table in ("outbox", "deliveries", "delivery_attempts"):
            assert Sql(f"SELECT message_id FROM {table}").values(session, {}) == ["goal_changed:new:1"]
