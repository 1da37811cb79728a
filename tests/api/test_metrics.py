"""GET /metrics: the metrics for monitoring, read from a running system."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.ingestion.drain import ShardDrain
from core.providers.contracts import Refresh
from core.services.deliveries import list_open, mark_done, record_refreshes
from core.services.tenants import create_tenant
from core.settings import Settings
from core.store.database import Sessions
from core.store.days import JobRun, record_run
from core.store.driver import Sql
from core.stream.stats import BatchStats
from core.stream.stream import EventStream
from tests.api.metric_values import elsewhere, names, one, scrape
from tests.ingestion.positions import die
from tests.ingestion.test_drain import clock, spent


@pytest.fixture
def drains(session_factory: Sessions, stream: EventStream) -> Callable[[], int]:
    """Drains both shards; how many events there were."""

    def drain() -> int:
        return sum(ShardDrain(session_factory, stream, shard, 100, clock).drain().events for shard in range(2))

    return drain


def test_any_key_will_do_and_none_will_not(client: Any, app: Any) -> None:
    """A key of any scope reads the metrics; no key, and a wrong one, are 401."""
    assert client("goals:read").get("/metrics").status_code == 200
    assert client("events:write").get("/metrics").status_code == 200
    assert TestClient(app).get("/metrics").status_code == 401
    assert TestClient(app, headers={"X-API-Key": "a key that nobody made"}).get("/metrics").status_code == 401


def test_before_anything_happens_all_is_well(api: TestClient) -> None:
    """On an empty system both servers are up, the drains count as alive and nothing waits."""
    stats = scrape(api)
    assert (one(stats, "up", part="database"), one(stats, "up", part="stream")) == (1, 1)
    for shard in "01":
        assert one(stats, "drain_alive", shard=shard) == 1
        assert one(stats, "stream_oldest_age_seconds", shard=shard) == 0
        assert one(stats, "drain_events_total", shard=shard) == 0
    assert (one(stats, "outbox_unannounced"), one(stats, "stream_aof_last_write_ok")) == (0, 1)
    assert "drain_last_commit_age_seconds" not in names(stats)


def test_what_drains_do_is_counted(api: TestClient, stream: EventStream, drains: Callable[[], int]) -> None:
    """Events, duplicates, dead letters, batch sizes and seconds of every drain are the sums of their batches."""
    stream.append("default", [("a1", spent(number)) for number in range(7)])
    assert drains() == 7
    stream.append("default", [("a1", spent(3)), ("a1", b"{"), ("a1", spent(8))])
    assert drains() == 3
    stats = scrape(api)
    shard = next(s for s in "01" if one(stats, "drain_events_total", shard=s))
    assert one(stats, "drain_events_total", shard=shard) == 10
    assert one(stats, "drain_duplicates_total", shard=shard) == 1
    assert one(stats, "drain_dead_letters_total", shard=shard) == 1
    assert one(stats, "drain_batch_events_sum", shard=shard) == 10
    assert one(stats, "drain_batch_events_bucket", shard=shard, le="10.0") == 2
    assert one(stats, "drain_batch_events_bucket", shard=shard, le="1.0") == 0
    assert one(stats, "drain_batch_seconds_bucket", shard=shard, le="+Inf") == 2
    assert one(stats, "drain_batch_seconds_sum", shard=shard) > 0
    assert one(stats, "drain_last_commit_age_seconds", shard=shard) < 60
    assert one(stats, "dead_letters_waiting", code="unparseable") == 1


def test_an_entry_that_waits_shows_its_age(api: TestClient, session_factory: Sessions, redis_client: Any) -> None:
    """The age of the oldest entry that is not applied counts from its arrival; drains that leave it are not alive."""
    arrived = datetime.now(UTC) - timedelta(minutes=2)
    redis_client.xadd("milepost:events:0", {"event": b"{}"}, id=f"{int(arrived.timestamp() * 1000)}-0")
    die(session_factory, 10, times=2)
    stats = scrape(api)
    assert 120 <= one(stats, "stream_oldest_age_seconds", shard="0") < 180
    assert (one(stats, "stream_entries", shard="0"), one(stats, "stream_pending", shard="0")) == (1, 1)
    assert 0 <= one(stats, "stream_pending_idle_seconds", shard="0") < 60
    assert (one(stats, "drain_alive", shard="0"), one(stats, "drain_alive", shard="1")) == (0, 1)


def test_drains_that_commit_are_alive_with_any_backlog(api: TestClient, stream: EventStream, redis_client: Any) -> None:
    """A shard with an old backlog counts as alive while something was committed in the last 30 seconds."""
    redis_client.xadd("milepost:events:0", {"event": b"{}"}, id="1000-0")
    for seconds, alive in ((31, 0), (1, 1)):
        at = datetime.now(UTC) - timedelta(seconds=seconds)
        stream.note_stats(0, BatchStats(1, 0, 0, 0.1, at))
        assert one(scrape(api), "drain_alive", shard="0") == alive


def test_unannounced_messages_and_waiting_letters_are_counted(api: TestClient, session_factory: Sessions) -> None:
    """Only messages not announced and letters neither replayed nor discarded count; the age is the oldest one's."""
    with session_factory.begin() as session:
        Sql("""INSERT INTO outbox (tenant, message_id, type, goal_id, payload, happened_at, created_at, position) VALUES
                ('default', 'a', 't', 'g', '{}', now(), now() - interval '1 hour', NULL),
                ('default', 'b', 't', 'g', '{}', now(), now() - interval '1 minute', NULL),
                ('default', 'c', 't', 'g', '{}', now(), now() - interval '1 day', 1)""").run(session, {})
        Sql("""INSERT INTO dead_letters (tenant, shard, entry_id, code, reason, event, arrived_at, recorded_at,
                    replayed_at, discarded_at)
                SELECT 'default', 0, n::text, CASE WHEN n < 4 THEN 'bad_value' ELSE 'poison' END, '', '', now(), now(),
                    CASE WHEN n = 1 THEN now() END, CASE WHEN n = 2 THEN now() END FROM generate_series(1, 5) n""").run(
            session, {}
        )
    stats = scrape(api)
    assert one(stats, "outbox_unannounced") == 2
    assert 3600 <= one(stats, "outbox_oldest_age_seconds") < 3700
    assert one(stats, "dead_letters_waiting", code="bad_value") == 1
    assert one(stats, "dead_letters_waiting", code="poison") == 2


def test_what_waits_to_be_pulled_is_counted(api: TestClient, session_factory: Sessions) -> None:
    """Refresh requests of every tenant that nobody saw to since, by provider, and the age of the oldest."""
    now = datetime.now(UTC)
    assert one(scrape(api), "refresh_requests_oldest_age_seconds") == 0
    with session_factory.begin() as session:
        create_tenant(session, "acme", "UTC", now)
        for tenant, provider, hours in (("default", "plaid", 1), ("acme", "plaid", 2), ("acme", "mx", 3)):
            asked = Refresh("item_1", "transactions", "NEW")
            record_refreshes(session, tenant, provider, [asked], now - timedelta(hours=hours))
        for row in list_open(session, "acme", provider="mx", kind=None, limit=1, cursor=None).items:
            mark_done(session, "acme", row.request_id, row.count, now)
    stats = scrape(api)
    assert one(stats, "refresh_requests_open", provider="plaid") == 2
    assert ("milepost_refresh_requests_open", (("provider", "mx"),)) not in stats
    assert 7200 <= one(stats, "refresh_requests_oldest_age_seconds") < 7300


def test_days_behind_are_counted_in_each_tenants_zone(api: TestClient, session_factory: Sessions) -> None:
    """The lag is that of the tenant furthest behind; a tenant of today, and one closed through yesterday, has none."""
    now = datetime.now(UTC)
    with session_factory.begin() as session:
        create_tenant(session, "new", "Asia/Tokyo", now)
        create_tenant(session, "kept", "America/New_York", now - timedelta(days=40))
        create_tenant(session, "late", "Europe/Prague", now - timedelta(days=40))
        closed = "UPDATE tenants SET closed_through = (now() AT TIME ZONE time_zone)::date - :days WHERE tenant = :name"
        for name, days in (("kept", 1), ("late", 4), ("default", 1)):
            Sql(closed).run(session, {"name": name, "days": days})
    stats = scrape(api)
    assert (one(stats, "snapshot_lag_days"), one(stats, "snapshot_tenants_behind")) == (3, 1)


def test_the_last_run_of_each_job_is_shown(api: TestClient, session_factory: Sessions) -> None:
    """Of each job the last period of every tenant counts: its age, whether it ended well, and what verify found."""
    now = datetime.now(UTC)
    runs = [
        ("default", "verify", "2026-03-08", 9, '{"violations": 5}'),
        ("default", "verify", "2026-03-09", 2, '{"violations": 0}'),
        ("acme", "verify", "2026-03-09", 3, '{"violations": 2}'),
        ("default", "retain", "2026-03-09", 1, "{}"),
    ]
    with session_factory.begin() as session:
        create_tenant(session, "acme", "UTC", now - timedelta(days=9))
        for tenant, job, period, hours, result in runs:
            at = now - timedelta(hours=hours)
            record_run(session, JobRun(tenant, job, period, 0, at, at, result))
    stats = scrape(api)
    assert one(stats, "verify_violations") == 2
    assert one(stats, "job_last_run_ok", job="verify") == 0
    assert 7200 <= one(stats, "job_last_run_age_seconds", job="verify") < 7300
    assert 10_800 <= one(stats, "job_furthest_run_age_seconds", job="verify") < 10_900
    assert [name for name, labels in stats if ("job", "retain") in labels] == [
        "milepost_job_furthest_run_age_seconds",
        "milepost_job_last_run_age_seconds",
    ]


def test_accounts_with_a_difference_are_those_of_the_last_audits(api: TestClient, session_factory: Sessions) -> None:
    """The sum over the last audit of each tenant; absent before the first, and not of a result without the number."""
    assert "accounts_with_unexplained_difference" not in names(scrape(api))
    now = datetime.now(UTC)
    runs = [
        ("default", "2026-03-08", '{"violations": 0, "accounts_with_difference": 9}'),
        ("default", "2026-03-09", '{"violations": 1, "accounts_with_difference": 2}'),
        ("acme", "2026-03-09", '{"violations": 0, "accounts_with_difference": 3}'),
        ("older", "2026-03-09", '{"violations": 0}'),
        ("odd", "2026-03-09", '{"accounts_with_difference": "many"}'),
        ("broken", "2026-03-09", "not JSON"),
    ]
    with session_factory.begin() as session:
        for tenant, period, result in runs:
            if tenant != "default":
                create_tenant(session, tenant, "UTC", now)
            record_run(session, JobRun(tenant, "verify", period, 0, now, now, result))
    assert one(scrape(api), "accounts_with_unexplained_difference") == 5


def test_a_tenant_that_a_job_never_comes_to_shows(api: TestClient, session_factory: Sessions) -> None:
    """The age of a job is that of the tenant furthest behind, from its creation on where it never ran for it."""
    now = datetime.now(UTC)
    with session_factory.begin() as session:
        Sql("UPDATE tenants SET created_at = :at").run(session, {"at": now - timedelta(days=90)})
        create_tenant(session, "failing", "UTC", now - timedelta(days=5))
        for job in ("snapshot", "project", "verify", "retain"):
            record_run(session, JobRun("default", job, "2026-03-09", 0, now, now, "{}"))
        record_run(session, JobRun("deleted long ago", "project", "2026-01-01", 0, now, now - timedelta(days=60), "{}"))
        record_run(session, JobRun("failing", "snapshot", "2026-03-08", 0, now, now - timedelta(days=2), "{}"))
    stats = scrape(api)
    days = {job: one(stats, "job_furthest_run_age_seconds", job=job) // 86_400 for job in ("snapshot", "project")}
    assert days == {"snapshot": 2, "project": 5}
    assert one(stats, "job_furthest_run_age_seconds", job="retain") < 100
    assert one(stats, "job_last_run_age_seconds", job="project") < 100


def test_violations_of_any_tenant_count_among_many(
    api: TestClient, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many tenants there are the last one's violations count, until a later run makes them good; what the
    ages leave out is counted.
    """
    monkeypatch.setattr("core.store.monitoring.RUN_TENANTS_MOST", 10_000)
    with session_factory.begin() as session:
        Sql("""INSERT INTO tenants (tenant, time_zone, created_at)
                SELECT 't' || lpad(n::text, 6, '0'), 'UTC', now() FROM generate_series(1, 12000) n""").run(session, {})
        Sql("""INSERT INTO job_runs (tenant, job, period, chunk, started_at, finished_at, result)
                SELECT tenant, 'verify', '2026-03-09', 0, now(), now(),
                    CASE WHEN tenant = 't012000' THEN '{"ok": false, "violations": 7}' ELSE '{"violations": 0}' END
                FROM tenants""").run(session, {})
    stats = scrape(api)
    assert (one(stats, "verify_violations"), one(stats, "job_last_run_ok", job="verify")) == (7, 0)
    assert one(stats, "job_tenants_unseen") == 2001
    now = datetime.now(UTC)
    with session_factory.begin() as session:
        record_run(session, JobRun("t012000", "verify", "2026-03-09", 1, now, now, '{"violations": 0}'))
    assert one(scrape(api), "verify_violations") == 0


def test_what_others_wrote_into_the_figures_breaks_no_scrape(
    api: TestClient, redis_client: Any, stream: EventStream
) -> None:
    """A field that is foreign or no number counts as 0, and so does a key that is no hash; the server stays up."""
    at = datetime.now(UTC)
    stream.note_stats(0, BatchStats(3, 0, 0, 0.1, at))
    odd = {"somebody": "else", b"\xff": "x", "duplicates": "many", "us:5000": "9" * 400, "dead_letters": "-4"}
    redis_client.hset("milepost:drains:0", mapping=odd)
    redis_client.set("milepost:drains:1", "not a hash")
    stats = scrape(api)
    assert one(stats, "up", part="stream") == 1
    assert one(stats, "drain_events_total", shard="0") == 3
    for name in ("duplicates", "dead_letters"):
        assert one(stats, f"drain_{name}_total", shard="0") == 0
    assert one(stats, "drain_events_total", shard="1") == 0
    redis_client.hset("milepost:drains:0", "last_commit_at", str(2**62))
    assert ("milepost_drain_last_commit_age_seconds", (("shard", "0"),)) not in scrape(api)


def test_requests_are_counted_by_route_and_answer(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Requests count under their route's template; made-up paths and methods share one series each."""
    goal_id = new_goal()
    api.get(f"/goals/{goal_id}")
    api.get("/goals/none")
    api.get("/made/up")
    api.request("BREW", "/made/up/too")
    stats = scrape(api)
    route = "/goals/{goal_id}"
    assert one(stats, "http_requests_total", route=route, method="GET", status="200") == 1
    assert one(stats, "http_requests_total", route=route, method="GET", status="404") == 1
    assert one(stats, "http_requests_total", route="none", method="GET", status="404") == 1
    assert one(stats, "http_requests_total", route="none", method="other", status="404") == 1
    assert one(stats, "http_request_seconds_count", route=route, method="GET") == 2
    assert [name for name in names(stats) if name.endswith("_created")] == []


def test_each_application_counts_for_itself(settings: Settings, new_key: Any) -> None:
    """Two applications in one process do not share their counts."""
    with elsewhere(settings, new_key("admin")) as first, elsewhere(settings, new_key("admin")) as second:
        first.get("/goals")
        assert ("milepost_http_requests_total", (("method", "GET"), ("route", "/goals"), ("status", "200"))) in scrape(
            first
        )
        assert "http_requests_total" not in names(scrape(second))


def test_no_tenant_learns_of_another(client: Any) -> None:
    """The metrics name no tenant, since any tenant's key reads them."""
    client(tenant="rival-application").get("/goals")
    assert "rival-application" not in client("goals:read").get("/metrics").text
