"""The job relinks: each pair of accounts that are probably one has one message, as GET lists it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import simplejson

from api.routes import relinks as route
from core.jobs import relinks
from core.jobs.job import PartDone
from core.jobs.relinks import RelinksFound, run_relinks
from core.services.relinks import RelinkDraft, accept_relink, list_relinks, undo_relink
from core.store.database import Sessions
from core.store.driver import Sql
from tests.acts import DEFAULT, balance, event
from tests.conftest import Apply

DAY = timedelta(days=1)


def messages(sessions: Sessions) -> list[tuple[str, str, dict[str, Any]]]:
    """Id, user and body of each message."""
    with sessions() as session:
        rows = Sql("SELECT message_id, user_id, payload FROM outbox ORDER BY created_at, payload").rows(session, {})
    return [(row[0], row[1], simplejson.loads(row[2], use_decimal=True)) for row in rows]


def test_a_pair_is_announced_once_it_is_probable(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """At two days of silence, as the list has it, once however often it runs; its id has no text of others."""
    apply([balance(1_000, now - 3 * DAY, "old.1", user_id="ann"), balance(1_010, now - DAY, "new.1", user_id="ann")])
    assert run_relinks(session_factory, now - DAY - timedelta(seconds=1)) == RelinksFound(0)
    assert [run_relinks(session_factory, now + timedelta(hours=hours)).messages for hours in (0, 0, 99)] == [1, 0, 0]
    ((message_id, user_id, body),) = messages(session_factory)
    type_, name, number = message_id.split(":")
    assert (type_, len(name), number, user_id) == ("account_relink_suspected", 32, "1", "ann")
    assert "." not in message_id
    assert (body["type"], body["timestamp"]) == ("account.relink.suspected", "2026-03-09T12:00:00Z")
    with session_factory() as session:
        (pair,) = list_relinks(session, DEFAULT, user_id=None, limit=9, cursor=None, now=now).items
    assert body["data"] == route._body(pair)


def test_a_broken_connection_is_no_silence(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A pair of a broken one has one at once, and of two candidates each."""
    apply([balance(1_000, now - DAY, "a", user_id="ann")])
    apply([event("connection.changed", now - DAY / 2, "c", {"account_ids": ["a"], "state": "broken", "reason": "r"})])
    apply([balance(1_010, now - DAY / 4, name, user_id="ann") for name in ("b", "c")])
    assert run_relinks(session_factory, now).messages == 2
    found = [body["data"] for _, _, body in messages(session_factory)]
    assert [(each["new_account_id"], each["why"]) for each in found] == [("b", "broken"), ("c", "broken")]


def test_what_somebody_decided_has_no_message(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A pair that was accepted, and one that was undone, before or after its message."""
    for user in ("ann", "bob"):
        old, new = f"{user} old", f"{user} new"
        apply([balance(1_000, now - 9 * DAY, old, user_id=user), balance(1_000, now, new, user_id=user)])
        if user == "bob":
            assert run_relinks(session_factory, now).messages == 1
        with session_factory.begin() as session:
            accept_relink(session, DEFAULT, RelinkDraft(old, new), now, actor="test")
        assert run_relinks(session_factory, now).messages == 0
        with session_factory.begin() as session:
            undo_relink(session, DEFAULT, old, now + timedelta(hours=1), actor="test")
        with session_factory() as session:
            later = now + timedelta(hours=2)
            pairs = list_relinks(session, DEFAULT, user_id=user, limit=9, cursor=None, now=later).items
            assert [pair.new_id for pair in pairs] == [new]
        assert run_relinks(session_factory, later).messages == 0
    assert [user for _, user, _ in messages(session_factory)] == ["bob"]


def test_a_part_stops_after_its_time_and_goes_on(
    session_factory: Sessions, apply: Apply, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every account is looked at once, in parts of at most so many seconds, and of so many accounts at a time."""
    for number in range(3):
        old, new = f"a{number}", f"b{number}"
        apply([balance(1_000, now - 9 * DAY, old, user_id=str(number)), balance(1_000, now, new, user_id=str(number))])
    monkeypatch.setattr(relinks, "ACCOUNTS_AT_ONCE", 2)
    assert relinks._write(session_factory, "default", now, "", 0) == PartDone(0, ("default", ""))
    assert relinks._write(session_factory, "default", now, "a1", 60) == PartDone(1)
    assert run_relinks(session_factory, now).messages == 2
