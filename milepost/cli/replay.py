"""`milepost replay`: puts a file of events onto the stream."""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from core.errors import MalformedEvent, MilepostError
from core.events.envelope import check_envelope, parse_json
from core.services.inputs import is_id
from core.store.database import Sessions
from core.store.tenants import DEFAULT, read_tenants
from core.stream.backlog import not_applied, shard_statuses
from core.stream.stream import EventStream, connect
from milepost.cli.connection import DataDirOption, JsonOption, command_sessions, connected_settings
from milepost.cli.output import print_json

CHUNK_EVENTS = 1_000
POLL_S = 0.05
_COMPLAIN_AFTER_S = 30.0


class BadLine(MilepostError):
    """A line of the file is not an event; nothing was put on the stream."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number}: {reason}; nothing was replayed")


def replay(
    file: Annotated[Path, typer.Argument(help="NDJSON: one CloudEvents object a line. - reads standard input.")],
    tenant: Annotated[str, typer.Option(help="The tenant whose events these are.")] = DEFAULT,
    wait: Annotated[bool, typer.Option(help="Wait until all of them are applied.")] = True,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Put a file of events onto the stream, in the file's order. If any line is not an event, nothing is replayed."""
    settings = connected_settings(data_dir)
    assert settings.redis_url is not None
    stream = EventStream(connect(settings.redis_url.get_secret_value()), settings.shards, settings.stream_durability)
    with command_sessions(data_dir) as sessions:
        _require_tenant(sessions, tenant)
        with _seekable(file) as lines, _progress() as progress:
            total = _check(lines, progress)
            began = time.monotonic()
            lines.seek(0)
            _append(stream, tenant, lines, total, progress)
            appended_s = time.monotonic() - began
            if wait:
                _wait_until_applied(sessions, stream, total, progress)
            applied_s = time.monotonic() - began
    stats = {"events": total, "appended_s": round(appended_s, 3)}
    if wait:
        stats["applied_s"] = round(applied_s, 3)
    if as_json:
        print_json(stats)
    else:
        print(_sentence(stats))


def _require_tenant(sessions: Sessions, tenant: str) -> None:
    with sessions() as session:
        if tenant not in read_tenants(session, [tenant]):
            raise MilepostError(
                f"there is no tenant {tenant}; make it with `milepost tenants create {tenant} --time-zone ZONE`"
            )


def _sentence(stats: dict[str, int | float]) -> str:
    text = f"{stats['events']:,} events on the stream after {stats['appended_s']:.1f} s"
    return text + (f", applied after {stats['applied_s']:.1f} s" if "applied_s" in stats else "")


def _check(lines: IO[bytes], progress: Progress) -> int:
    """Check every line before anything is written; returns the number of events. Raises BadLine."""
    task = progress.add_task("checking", total=None)
    total = 0
    for total, _ in enumerate(_events(lines), start=1):
        if total % CHUNK_EVENTS == 0:
            progress.update(task, completed=total)
    progress.update(task, completed=total, total=total)
    return total


def _append(stream: EventStream, tenant: str, lines: IO[bytes], total: int, progress: Progress) -> None:
    task = progress.add_task("onto the stream", total=total)
    events = _events(lines)
    while chunk := list(islice(events, CHUNK_EVENTS)):
        stream.append(tenant, chunk)
        progress.advance(task, len(chunk))


def _events(lines: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield (account id, event) of every line but blank ones. Raises BadLine."""
    for number, raw in enumerate(lines, start=1):
        body = raw.strip()
        if body:
            yield _account_of(number, body), body


def _account_of(number: int, body: bytes) -> str:
    try:
        account_id = check_envelope(parse_json(body)).data.get("account_id")
    except MalformedEvent as error:
        raise BadLine(number, error.message) from None
    # An invalid id becomes a dead letter, whichever shard the event is on.
    return account_id if isinstance(account_id, str) and is_id(account_id) else ""


def _wait_until_applied(sessions: Sessions, stream: EventStream, total: int, progress: Progress) -> None:
    """Wait until the entries that are on the stream now are applied, not for what others append meanwhile."""
    task = progress.add_task("applied", total=total)
    waiting, fewest_left, fewest_left_at = stream.ends(), total, time.monotonic()
    while waiting:
        waiting = not_applied(sessions, waiting)
        left = sum(status.unapplied for status in shard_statuses(sessions, stream))
        progress.update(task, completed=max(0, total - left))
        if left < fewest_left:
            fewest_left, fewest_left_at = left, time.monotonic()
        if time.monotonic() - fewest_left_at > _COMPLAIN_AFTER_S:
            progress.console.print("nothing is applied: is a worker of drains running? `milepost doctor` checks that")
            fewest_left_at = float("inf")
        if waiting:
            time.sleep(POLL_S)
    progress.update(task, completed=total)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:>16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )


@contextmanager
def _seekable(file: Path) -> Iterator[IO[bytes]]:
    """The file, or a copy of standard input, since standard input can be read only once."""
    if str(file) != "-":
        with file.open("rb") as opened:
            yield opened
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.seek(0)
        yield copy
