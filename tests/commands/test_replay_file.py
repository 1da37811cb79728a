"""`milepost replay` on real servers: all of a file, in its order, or nothing of it."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from core.stream.stream import EventStream
from milepost.cli import main
from tests.acts import event

AT = datetime(2026, 3, 9, tzinfo=UTC)


@pytest.fixture
def milepost(monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str) -> pytest.MonkeyPatch:
    """An environment that names the test's servers."""
    monkeypatch.setenv("MILEPOST_DATABASE_URL", database_url)
    monkeypatch.setenv("MILEPOST_REDIS_URL", redis_url)
    return monkeypatch


def lines(count: int) -> list[bytes]:
    """Events, a line each."""
    return [
        event(
            "transaction.recorded",
            AT,
            str(number),
            {
                "account_id": f"a{number % 7}",
                "transaction_id": str(number),
                "amount": 1,
                "currency": "USD",
                "posted_at": AT.isoformat(),
            },
        )
        for number in range(count)
    ]


def run(environment: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command; its exit status."""
    environment.setattr(sys, "argv", ["milepost", "replay", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def length(client: redis.Redis) -> int:
    """Entries on all shards."""
    return sum(status.length for status in EventStream(client, 2).status({}))


def test_a_file_is_put_onto_the_stream_whole(
    milepost: pytest.MonkeyPatch, redis_client: redis.Redis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All lines but blank ones, more than fit into one round trip."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n\n".join(lines(2500)))
    assert run(milepost, str(file), "--no-wait", "--json") == 0
    assert json.loads(capsys.readouterr().out)["events"] == 2500
    assert length(redis_client) == 2500


def test_standard_input_is_a_file_too(milepost: pytest.MonkeyPatch, redis_client: redis.Redis) -> None:
    """- reads standard input."""
    milepost.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(lines(3)))))
    assert run(milepost, "-", "--no-wait") == 0
    assert length(redis_client) == 3


@pytest.mark.parametrize("bad", [b"{", b'{"specversion": "1.0"}', b'{"amount": NaN}', b"\xff"])
def test_a_line_that_is_no_event_stops_it_before_it_begins(
    milepost: pytest.MonkeyPatch,
    redis_client: redis.Redis,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    bad: bytes,
) -> None:
    """The refusal names the line, and nothing is on the stream, though the bad line comes late."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n".join([*lines(1200), bad, *lines(3)]))
    assert run(milepost, str(file), "--no-wait") == 1
    assert "line 1201: " in capsys.readouterr().err
    assert length(redis_client) == 0


def test_an_unknown_tenant_and_a_missing_file_are_named(
    milepost: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line each that says what to do or what is not there."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n".join(lines(1)))
    assert run(milepost, str(file), "--tenant", "nobody") == 1
    assert "there is no tenant nobody" in capsys.readouterr().err
    none = tmp_path / "none.ndjson"
    assert run(milepost, str(none)) == 1
    assert capsys.readouterr().err == f"milepost: {none}: No such file or directory\n"
