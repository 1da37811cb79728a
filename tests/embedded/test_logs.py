"""The logs of children: one old log is kept, the size is limited, and warnings are selected."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.embedded import logs
from milepost.embedded.logs import LogReader, bound_log, rotate_log


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
    """Warnings and errors are selected, whatever format the line has, and nothing else."""
    log = tmp_path / "log"
    log.write_text(line + "\n")
    assert list(LogReader(log).new_warnings()) == said


def test_each_line_is_reported_once_and_only_when_whole(tmp_path: Path) -> None:
    """A line that is still being written is reported when it is complete, and no line is reported twice."""
    log, reader = tmp_path / "log", LogReader(tmp_path / "log")
    assert list(reader.new_warnings()) == []
    log.write_text("ERROR one\nERROR t")
    assert list(reader.new_warnings()) == ["ERROR one"]
    with log.open("a") as file:
        file.write("wo\n")
    assert list(reader.new_warnings()) == ["ERROR two"]
    assert list(reader.new_warnings()) == []


def test_a_flood_stays_in_the_log(tmp_path: Path) -> None:
    """Of a thousand errors only a few are reported."""
    (tmp_path / "log").write_text("ERROR again\n" * 1000)
    assert 1 <= len(list(LogReader(tmp_path / "log").new_warnings())) <= 5


def test_a_long_log_is_emptied_and_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log beyond the limit becomes NAME.1, and reading goes on with what is written next."""
    monkeypatch.setattr(logs, "KEEP_BYTES", 10)
    log, reader = tmp_path / "log", LogReader(tmp_path / "log")
    log.write_text("ERROR one is long\n")
    assert list(reader.new_warnings()) == ["ERROR one is long"]
    bound_log(log)
    assert (log.read_text(), (tmp_path / "log.1").read_text()) == ("", "ERROR one is long\n")
    log.write_text("ERROR two\n")
    assert list(reader.new_warnings()) == ["ERROR two"]


def test_a_start_keeps_the_log_before(tmp_path: Path) -> None:
    """The log of the run before is there as NAME.1."""
    (tmp_path / "log").write_text("before\n")
    rotate_log(tmp_path / "log")
    assert not (tmp_path / "log").exists()
    assert (tmp_path / "log.1").read_text() == "before\n"
