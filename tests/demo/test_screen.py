"""The lines that the demo's process writes into its log, and how a terminal shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.demo.run import Screen, log_line, log_progress


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "demo.log"


def write(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(text)


def output_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_where_no_terminal_is_every_tenth_is_a_line(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a thousand steps ten lines are shown, the last one with all of them."""
    for done in range(0, 1_001, 5):
        log_progress("events applied", done, 1_000)
    write(log, output_of(capsys))
    said: list[str] = []
    screen = Screen(log, said.append)
    screen.show_new_lines()
    screen.close()
    assert len(said) == 10
    assert said[-1] == "events applied: 1,000 of 1,000"


def test_nothing_to_catch_up_with_is_not_shown(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A demo that is started again after a moment has no events to apply."""
    log_progress("events applied", 0, 0)
    write(log, output_of(capsys))
    said: list[str] = []
    screen = Screen(log, said.append)
    screen.show_new_lines()
    screen.close()
    assert said == []


def test_lines_are_said_once_and_whole(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A half-written line is shown when it is whole; lines that are not ours stay in the log."""
    said: list[str] = []
    screen = Screen(log, said.append)
    screen.show_new_lines()
    log_line("first, ünd \N{SNOWMAN}")
    log_line("second")
    text = output_of(capsys)
    write(log, "Traceback (most recent call last):\n[1]\n" + text[:-10])
    screen.show_new_lines()
    assert said == ["first, ünd \N{SNOWMAN}"]
    write(log, text[-10:])
    screen.show_new_lines()
    screen.show_new_lines()
    screen.close()
    assert said == ["first, ünd \N{SNOWMAN}", "second"]
