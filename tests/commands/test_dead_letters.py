"""`milepost dead-letters`: listed without their events, shown whole, or discarded."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from core.stream.stream import EventStream
from tests.commands.conftest import Drain, Rows
from tests.commands.dead_letter_rows import SECRET, listed, place, too_exact
from tests.conftest import Run


@pytest.mark.usefixtures("two_refused")
def test_a_list_shows_everything_but_the_event(run: Run, stream: EventStream, drain: Drain) -> None:
    """Newest first, filtered by tenant, code and age, as a table and as JSON; the payload is in neither."""
    stream.append("nobody", [("", b"{")])
    drain()
    letters = listed(run)
    assert [letter["code"] for letter in letters] == ["unknown_tenant", "bad_amount", "bad_amount"]
    assert letters[1]["event_bytes"] == len(too_exact("y"))
    assert [len(listed(run, *only)) for only in (["--tenant", "default"], ["--code", "unknown_tenant"])] == [2, 1]
    later = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    assert (listed(run, "--since", later), len(listed(run, "--since", "2026-01-01"))) == ([], 3)
    assert listed(run, "--limit", "1") == letters[:1]
    status, out, _ = run("dead-letters", "list")
    assert status == 0
    assert all(" ".join(place(letter)) in " ".join(out.split()) for letter in letters)
    assert SECRET not in out + json.dumps(letters)


def test_an_empty_list_says_so(run: Run) -> None:
    """Without dead letters it prints one line, or an empty array."""
    assert run("dead-letters", "list") == (0, "no dead letters\n", "")
    assert listed(run) == []


@pytest.mark.parametrize(
    ("raw", "shown", "encoding"),
    [
        (b'{"a": "\xc5\x99"}', '{"a": "ř"}', "utf-8"),
        (b"\xff\xfe{", r"\xff\xfe{", "escaped"),
        (b"a\x1b[31mb\x07", "a\x1b[31mb\x07", "utf-8"),
    ],
)
def test_a_letter_is_shown_whole_and_controls_no_terminal(
    run: Run, stream: EventStream, drain: Drain, raw: bytes, shown: str, encoding: str
) -> None:
    """The event as it came, what is not UTF-8 escaped; a person also sees control characters escaped."""
    stream.append("default", [("", raw)])
    drain()
    (letter,) = listed(run)
    status, out, _ = run("dead-letters", "show", *place(letter), "--json")
    assert status == 0
    assert json.loads(out) == letter | {"event": shown, "event_encoding": encoding}
    _, printed, _ = run("dead-letters", "show", *place(letter))
    assert shown.replace("\x1b", r"\x1b").replace("\x07", r"\x07") in printed
    assert letter["reason"] in printed
    assert "\x1b" not in printed


@pytest.mark.usefixtures("two_refused")
def test_a_letter_is_discarded_with_a_reason(run: Run, rows: Rows) -> None:
    """A discarded letter stays, marked, with the reason in the audit; it is neither discarded twice nor replayed."""
    letter = listed(run)[0]
    status, out, _ = run("dead-letters", "discard", *place(letter), "--reason", "a test of the bank's", "--json")
    assert (status, json.loads(out)["entry_id"]) == (0, letter["entry_id"])
    assert listed(run)[0]["state"] == "discarded"
    acts = rows("SELECT actor, subject, detail FROM audit WHERE action = 'dead_letter.discarded'")
    assert acts == [("command line", " ".join(place(letter)), "a test of the bank's")]
    for command in (("discard", *place(letter), "--reason", "again"), ("replay", *place(letter))):
        status, _, errors = run("dead-letters", *command)
        assert (status, errors.startswith("milepost: the dead letter was discarded on ")) == (1, True)
    assert run("dead-letters", "replay", *place(letter), "--again")[0] == 0


@pytest.mark.usefixtures("two_refused")
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("show", "0", "1-1"), 1, "tenant default has no dead letter 0 1-1; `milepost dead-letters list` shows all"),
        (("replay", "0", "1-1"), 1, "tenant default has no dead letter 0 1-1"),
        (("discard", "0", "1-1", "--reason", "x"), 1, "tenant default has no dead letter 0 1-1"),
        (("show", "99999999999", "1-1"), 2, "SHARD"),
        (("replay",), 2, "SHARD ENTRY_ID"),
        (("replay", "0"), 2, "SHARD ENTRY_ID"),
        (("replay", "0", "1-1", "--code", "x"), 2, "SHARD ENTRY_ID"),
        (("replay", "--code", "bad_amount", "--tenant", "nope", "--yes"), 1, "there is no tenant nope"),
        (("discard", "0", "1-1"), 2, "--reason"),
        (("list", "--since", "yesterday"), 2, "must be a date"),
        (("list", "--limit", "0"), 2, "--limit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    run: Run, rows: Rows, stream: EventStream, arguments: tuple[str, ...], status: int, said: str
) -> None:
    """Each refusal says what is wrong, and neither the letters nor the stream change."""
    everything = "SELECT t::text FROM dead_letters t ORDER BY 1"
    before, ends = rows(everything), stream.ends()
    found, out, errors = run("dead-letters", *arguments)
    assert (found, out) == (status, "")
    assert said in errors
    assert "Traceback" not in errors
    assert (rows(everything), stream.ends()) == (before, ends)


@pytest.mark.usefixtures("two_refused")
def test_a_blank_reason_is_no_reason(run: Run) -> None:
    """A reason of white space is refused, and the letter waits on."""
    status, _, errors = run("dead-letters", "discard", *place(listed(run)[0]), "--reason", "  ")
    assert (status, errors) == (1, "milepost: reason: must not be blank\n")
    assert len(listed(run, "--waiting")) == 2
