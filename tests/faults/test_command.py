"""The command itself: what it does when it is stopped, and when it is asked for what there is not."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.chaos.__main__ import main
from tests.faults.chaos_command import begin, interrupt_once_up, require_gone


@pytest.mark.parametrize("what", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_takes_everything_with_it(tmp_path: Path, what: signal.Signals) -> None:
    """Ctrl-C and TERM end it with status 130, with all of its processes and its folder gone."""
    process = begin(tmp_path, "--minutes", "5")
    assert interrupt_once_up(tmp_path, process, what) == 130
    require_gone(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [("--fault", "rain"), ("--minutes", "0"), ("--broken", "nothing"), ("--stream-fsync", "never")],
    ids=" ".join,
)
def test_wrong_usage_is_status_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    """Unknown values are refused before anything is started, and for an unknown fault the known ones are listed."""
    monkeypatch.setattr(sys, "argv", ["tests.chaos", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    if "rain" in arguments:
        assert "kill the postmaster" in " ".join(capsys.readouterr().err.split())
