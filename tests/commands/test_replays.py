"""`milepost dead-letters replay`: once, unchanged, in batches, and never lost."""

from __future__ import annotations

import gc
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
import redis

from core.errors import Conflict
from core.services.dead_letters import find_replayable, replay_dead_letter, replay_dead_letters
from core.store.database import Sessions
from core.store.dead_letters import DeadLetter, DeadLetterKey, DeadLetterSummary, keep_dead_letters
from core.stream.backlog import shard_statuses
from core.stream.stream import EventStream
from tests.acts import paid
from tests.commands.conftest import Drain, Rows
from tests.commands.dead_letter_rows import AT, listed, place, too_exact
from tests.conftest import Run


def test_after_the_fix_a_replay_takes_effect(
    run: Run, stream: EventStream, session_factory: Sessions, drain: Drain, rows: Rows
) -> None:
    """An event of a tenant that did not exist is refused until the tenant does, and then applied and audited."""
    stream.append("acme", [("a", paid("t", 100, AT))])
    drain()
    (letter,) = listed(run)
    refused = run("dead-letters", "replay", *place(letter), "--tenant", "acme")
    assert refused[0] == 1
    assert refused[2].startswith("milepost: there is no tenant acme")
    assert [status.lag for status in shard_statuses(session_factory, stream)] == [0, 0]
    assert run("tenants", "create", "acme", "--time-zone", "UTC")[0] == 0
    status, out, _ = run("dead-letters", "replay", *place(letter), "--tenant", "acme", "--json")
    assert (status, json.loads(out)) == (0, {"tenant": "acme", "replayed": 1})
    assert drain() == 1
    assert rows("SELECT tenant, worth_minor FROM accounts") == [("acme", 100)]
    (after,) = listed(run)
    assert (after["state"], after["replayed_at"] is None) == ("replayed", False)
    acts = rows("SELECT actor, subject, detail FROM audit WHERE action = 'dead_letter.replayed'")
    assert acts == [("command line", " ".join(place(letter)), "unknown_tenant")]


def test_a_replay_arrives_now(run: Run, session_factory: Sessions, drain: Drain, rows: Rows) -> None:
    """An event that was dated days after its arrival is applied once its day has come."""
    came = AT - timedelta(days=3)
    letter = DeadLetter("default", 0, "1-1", "far_future", "too far ahead", paid("t", 100, AT), came, came)
    with session_factory.begin() as session:
        keep_dead_letters(session, [letter])
    assert run("dead-letters", "replay", "0", "1-1")[0] == 0
    assert drain() == 1
    assert rows("SELECT worth_minor FROM accounts") == [(100,)]


def test_a_crash_between_stream_and_mark_loses_nothing(
    run: Run, session_factory: Sessions, stream: EventStream, drain: Drain, rows: Rows, now: datetime
) -> None:
    """The letter still waits, and replaying it once more counts the event once."""
    stream.append("acme", [("a", paid("t", 100, AT))])
    drain()
    assert run("tenants", "create", "acme", "--time-zone", "UTC")[0] == 0
    (letter,) = listed(run)
    key = DeadLetterKey("acme", letter["shard"], letter["entry_id"])
    with session_factory() as session:
        replay_dead_letter(session, stream, key, now, actor="test")
        session.rollback()
    assert listed(run, "--waiting") == [letter]
    assert run("dead-letters", "replay", *place(letter), "--tenant", "acme")[0] == 0
    assert drain() == 2
    assert rows("SELECT worth_minor FROM accounts") == [(100,)]


def test_two_replays_at_once_are_one(
    run: Run, session_factory: Sessions, stream: EventStream, drain: Drain, now: datetime
) -> None:
    """Of two people who replay one letter at the same time the second is refused."""
    stream.append("default", [("", b"{")])
    drain()
    (letter,) = listed(run)
    key = DeadLetterKey("default", letter["shard"], letter["entry_id"])

    def replay() -> bool:
        try:
            with session_factory.begin() as session:
                replay_dead_letter(session, stream, key, now, actor="test")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor() as pool:
        outcomes = [future.result() for future in [pool.submit(replay) for _ in range(4)]]
    assert (sorted(outcomes), drain()) == ([False, False, False, True], 1)


@pytest.mark.usefixtures("two_refused")
def test_what_fails_again_is_a_new_letter(run: Run, drain: Drain, rows: Rows) -> None:
    """A replay is byte for byte what came, and a second failure becomes another letter; the first stays marked."""
    first = listed(run)[-1]
    assert run("dead-letters", "replay", *place(first))[0] == 0
    drain()
    again = listed(run)[0]
    assert (again["state"], again["code"], len(listed(run))) == ("waiting", "bad_amount", 3)
    found = rows("SELECT count(*) FROM dead_letters WHERE event = :event", event=too_exact("x"))
    assert found == [(2,)]
    assert len(listed(run, "--waiting")) == 2


@pytest.mark.usefixtures("two_refused")
def test_a_letter_is_replayed_once_without_again(run: Run, stream: EventStream) -> None:
    """A second replay is refused and puts nothing on the stream; --again does it."""
    letter = listed(run)[0]
    assert run("dead-letters", "replay", *place(letter))[0] == 0
    before = stream.ends()
    status, out, errors = run("dead-letters", "replay", *place(letter))
    assert (status, out) == (1, "")
    assert errors.startswith("milepost: the dead letter was replayed on 20")
    assert errors.endswith("UTC; add `--again` (over REST `?again=true`) to replay it all the same\n")
    assert stream.ends() == before
    assert run("dead-letters", "replay", *place(letter), "--again")[0] == 0
    assert stream.ends() != before


@pytest.mark.usefixtures("two_refused")
def test_all_of_a_code_are_replayed_after_a_yes(run: Run, drain: Drain, stream: EventStream) -> None:
    """Without --yes and without a terminal nothing happens; with it all that wait go, and discarded ones stay."""
    stream.append("default", [("", b"{")])
    drain()
    status, _, errors = run("dead-letters", "replay", "--code", "bad_amount")
    assert (status, errors.count("\n")) == (1, 1)
    assert "Replay 2 dead letters of tenant default" in errors
    assert "--yes" in errors
    newest, oldest = listed(run, "--code", "bad_amount")
    assert run("dead-letters", "discard", *place(newest), "--reason", "a test")[0] == 0
    status, out, _ = run("dead-letters", "replay", "--code", "bad_amount", "--yes", "--json")
    assert (status, json.loads(out)["replayed"]) == (0, 1)
    assert drain() == 1
    states = {letter["entry_id"]: letter["state"] for letter in listed(run)}
    assert (states[newest["entry_id"]], states[oldest["entry_id"]]) == ("discarded", "replayed")
    assert [letter["code"] for letter in listed(run, "--waiting")] == ["bad_amount", "unparseable"]


def test_many_letters_are_replayed_in_batches(
    run: Run, stream: EventStream, drain: Drain, session_factory: Sessions, now: datetime
) -> None:
    """More than one batch is replayed, each letter once; one that somebody else discarded meanwhile is left out."""
    stream.append("acme", [("a", paid(str(number), 1, AT)) for number in range(250)])
    assert drain() == 250
    assert run("tenants", "create", "acme", "--time-zone", "UTC")[0] == 0
    with session_factory() as session:
        found = find_replayable(session, "acme", "unknown_tenant")
    somebody = listed(run, "--limit", "250")[120]
    counts: list[int] = []

    def discard_one(count: int) -> None:
        if not counts:
            assert run("dead-letters", "discard", *place(somebody), "--tenant", "acme", "--reason", "mine")[0] == 0
        counts.append(count)

    count = replay_dead_letters(session_factory, stream, found, now, actor="test", on_replayed=discard_one)
    assert (count, counts, drain()) == (249, [100, 100, 50], 249)
    assert listed(run, "--waiting") == []


def test_letters_are_read_page_by_page_and_those_that_fail_again_are_left(
    stream: EventStream, drain: Drain, session_factory: Sessions, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay has at most a page and a batch in memory, and ends although every event becomes a new letter."""
    monkeypatch.setattr("core.services.dead_letters.PAGE", 7)
    monkeypatch.setattr("core.services.dead_letters.AT_ONCE", 5)
    stream.append("default", [("", b"{") for _ in range(100)])
    assert drain() == 100
    with session_factory() as session:
        found = find_replayable(session, "default", "unparseable")
    assert found.count == 100
    held: list[int] = []

    def check_and_drain(_: int) -> None:
        held.append(sum(isinstance(each, DeadLetterSummary) for each in gc.get_objects()))
        drain()

    assert replay_dead_letters(session_factory, stream, found, now, actor="test", on_replayed=check_and_drain) == 100
    assert max(held) < 30
    with session_factory() as session:
        assert find_replayable(session, "default", "unparseable").count == 100
        assert find_replayable(session, "default", "unparseable", again=True).count == 200


def test_without_a_stream_server_the_letter_still_waits(
    run: Run, stream: EventStream, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay that could not be written is not marked, and can be done again."""
    stream.append("default", [("", b"{")])
    drain()
    (letter,) = listed(run)
    with monkeypatch.context() as changed:
        changed.setenv("MILEPOST_REDIS_URL", "redis://127.0.0.1:1/0")
        assert run("dead-letters", "replay", *place(letter)) == (1, "", "milepost: the stream server does not answer\n")
    assert listed(run) == [letter]
    assert run("dead-letters", "replay", *place(letter))[0] == 0


def test_a_lost_entry_has_nothing_to_replay(
    run: Run, stream: EventStream, drain: Drain, redis_client: redis.Redis
) -> None:
    """A letter whose content the stream dropped says so instead of sending an empty event."""
    stream.append("default", [("a", paid("t", 1, AT))])
    drain()
    shard = next(iter(stream.ends()))
    stream.append("default", [("a", paid("u", 1, AT))])
    redis_client.xtrim(f"milepost:events:{shard}", maxlen=0, approximate=False)
    drain()
    (letter,) = listed(run)
    for arguments in (place(letter), ("--code", "lost", "--yes")):
        status, _, errors = run("dead-letters", "replay", *arguments)
        assert (status, "its content is gone" in errors) == (1, True)
    assert listed(run) == [letter]
