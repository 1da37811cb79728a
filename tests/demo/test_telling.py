"""What the demo's process tells in its log, and what a person sees of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.demo.run import Screen, tell, tell_progress


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "demo.log"


def write(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(text)


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_where_no_terminal_is_every_tenth_is_a_line(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a thousand steps a handful of lines is said, the last one with all of them."""
    for done in range(0, 1_001, 5):
        tell_progress("events applied", done, 1_000)
    write(log, told(capsys))
    said: list[str] = []
    screen = Screen(log, said.append)
    screen.look()
    screen.close()
    assert len(said) == 10
    assert said[-1] == "events applied: 1,000 of 1,000"


def test_lines_are_said_once_and_whole(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that is half written is said when it is whole; what is no telling is left in the log."""
    said: list[str] = []
    screen = Screen(log, said.append)
    screen.look()
    tell("first, ünd \N{SNOWMAN}")
    tell("second")
    text = told(capsys)
    write(log, "Traceback (most recent call last):\n[1]\n" + text[:-10])
    screen.look()
    assert said == ["first, ünd \N{SNOWMAN}"]
    write(log, text[-10:])
    screen.look()
    screen.look()
    screen.close()
    assert said == ["first, ünd \N{SNOWMAN}", "second"]
