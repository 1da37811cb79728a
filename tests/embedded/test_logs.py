"""The logs of children: kept once, bounded, and read for what a person should see."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.embedded import logs
from milepost.embedded.logs import LogReader, begin_log, bound_log


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"event": "the stream is full", "level": "warning", "logger": "x"}', ["warning: the stream is full"]),
        ('{"event": "request", "level": "info", "status": 200}', []),
        ("2026-01-01 ERROR uvicorn.error: cannot bind", ["2026-01-01 ERROR uvicorn.error: cannot bind"]),
        ("worker: Warm shutdown (MainProcess)", []),
    ],
)
def test_warnings_and_errors_are_picked(tmp_path: Path, line: str, said: list[str]) -> None:
    """A person is told of warnings and errors, whichever form the line has, and of nothing else."""
    log = tmp_path / "log"
    log.write_text(line + "\n")
    assert list(LogReader(log).news()) == said


def test_each_line_is_told_once_and_only_when_whole(tmp_path: Path) -> None:
    """A line that is still being written waits for its end, and no line is told twice."""
    log, reader = tmp_path / "log", LogReader(tmp_path / "log")
    assert list(reader.news()) == []
    log.write_text("ERROR one\nERROR t")
    assert list(reader.news()) == ["ERROR one"]
    with log.open("a") as file:
        file.write("wo\n")
    assert list(reader.news()) == ["ERROR two"]
    assert list(reader.news()) == []


def test_a_flood_stays_in_the_log(tmp_path: Path) -> None:
    """Of a thousand errors a person is shown a few."""
    (tmp_path / "log").write_text("ERROR again\n" * 1000)
    assert 1 <= len(list(LogReader(tmp_path / "log").news())) <= 5


def test_a_long_log_is_emptied_and_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log beyond the limit becomes NAME.1, and reading goes on with what is written next."""
    monkeypatch.setattr(logs, "KEEP_BYTES", 10)
    log, reader = tmp_path / "log", LogReader(tmp_path / "log")
    log.write_text("ERROR one is long\n")
    assert list(reader.news()) == ["ERROR one is long"]
    bound_log(log)
    assert (log.read_text(), (tmp_path / "log.1").read_text()) == ("", "ERROR one is long\n")
    log.write_text("ERROR two\n")
    assert list(reader.news()) == ["ERROR two"]


def test_a_start_keeps_the_log_before(tmp_path: Path) -> None:
    """The log of the run before is there as NAME.1."""
    (tmp_path / "log").write_text("before\n")
    begin_log(tmp_path / "log")
    assert not (tmp_path / "log").exists()
    assert (tmp_path / "log.1").read_text() == "before\n"
