"""A run that has to fail does: a stream server that keeps nothing, and a drain that is wrong on purpose."""

from __future__ import annotations

from pathlib import Path

from tests.faults.chaos_command import chaos

SHORT = ("--seed", "1", "--minutes", "0.05")
# A few deaths: the batch that one of them loses may be small, and hold only events that were sent twice.
LONGER = ("--seed", "1", "--minutes", "0.15")


def test_a_stream_server_that_keeps_nothing_is_seen_to_lose_events(tmp_path: Path) -> None:
    """Without a file under the stream a killed server has lost what was acknowledged, and the run says which."""
    ran = chaos(tmp_path, *SHORT, "--stream-fsync", "none", "--fault", "kill the stream server")
    assert ran.status == 1
    assert any("stored nothing" in row for row in ran.wrong("acknowledged is applied"))


def test_a_drain_that_moves_its_position_in_a_transaction_of_its_own_is_caught(tmp_path: Path) -> None:
    """Killed in between, it has lost a batch that nobody will give it again."""
    ran = chaos(tmp_path, *LONGER, "--broken", "position-first", "--fault", "die before commit")
    assert ran.status == 1
    assert any("stored nothing" in row for row in ran.wrong("acknowledged is applied"))
