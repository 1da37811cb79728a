"""`milepost dead-letters`: lists, shows, replays and discards events that could not be applied.

Producers write the texts of a dead letter, so they are escaped: none may control the terminal.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from core.errors import MilepostError, NotFound
from core.events.envelope import parse_moment
from core.services.dead_letters import (
    discard_dead_letter,
    find_replayable,
    replay_dead_letter,
    replay_dead_letters,
    show_dead_letter,
)
from core.services.tenants import NoSuchTenant
from core.store.dead_letters import DeadLetterKey, DeadLetterQuery, DeadLetterSummary, list_dead_letters
from core.store.tenants import DEFAULT
from core.stream.stream import SHARDS_MOST, EventStream, connect
from milepost.cli.connection import (
    COMMAND_LINE,
    DataDirOption,
    JsonOption,
    command_session,
    command_sessions,
    connected_settings,
)
from milepost.cli.output import print_json

_WIDTH_OF_A_PIPE = 200
dead_letters = typer.Typer(
    help="Events that could not be applied: show them, replay them after a fix, or discard them.",
    no_args_is_help=True,
    add_completion=False,
)
ShardArgument = Annotated[
    int,
    typer.Argument(
        metavar="SHARD", help="The shard, as `milepost dead-letters list` shows it.", min=0, max=SHARDS_MOST - 1
    ),
]
EntryArgument = Annotated[str, typer.Argument(metavar="ENTRY_ID", help="The entry, as the same list shows it.")]
TenantOption = Annotated[str, typer.Option(help="The tenant that the event named.")]


def print_dead_letters(letters: Sequence[DeadLetterSummary], *, as_json: bool) -> None:
    """Print a list of dead letters, without their events."""
    if as_json:
        print_json([_row(letter) for letter in letters])
    elif not letters:
        print("no dead letters")
    else:
        _print_table(letters)


def print_dead_letter(letter: DeadLetterSummary, event: bytes, *, as_json: bool) -> None:
    r"""Print one dead letter and its event, the bytes that are not UTF-8 as \xff."""
    if as_json:
        print_json(_row(letter) | _event(event))
        return
    for name, value in _row(letter).items():
        print(f"{name.replace('_', ' '):<14}{_text(value)}")
    print("", printable(event.decode("utf-8", "backslashreplace")), sep="\n")


def printable(text: str) -> str:
    """The text, with all characters escaped that are not printable; line breaks and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def _parse_since(text: str) -> datetime:
    try:
        moment = parse_moment(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day, tzinfo=UTC)


@dead_letters.command("list")
def list_all(
    tenant: Annotated[str | None, typer.Option(help="Only those of this tenant.", show_default="all tenants")] = None,
    code: Annotated[
        str | None, typer.Option(help="Only those with this code, as bad_amount.", show_default="all")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Recorded since this date or time, in UTC.", parser=_parse_since, metavar="WHEN", show_default="ever"
        ),
    ] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those neither replayed nor discarded.")] = False,
    limit: Annotated[int, typer.Option(help="The most to show.", min=1, max=10_000)] = 50,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show dead letters, the newest first, without their events.

    Example: milepost dead-letters list --tenant acme --code bad_amount --since 2026-03-01
    """
    query = DeadLetterQuery(tenant=tenant, code=code, since=since, waiting_only=waiting, limit=limit)
    with command_session(data_dir) as session:
        found = list_dead_letters(session, query)
    print_dead_letters(found, as_json=as_json)


@dead_letters.command("show")
def show(
    shard: ShardArgument,
    entry_id: EntryArgument,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    r"""Show one dead letter with its whole event; bytes that are not UTF-8 are shown as \xff.

    Example: milepost dead-letters show 0 1773144000000-1
    """
    key = DeadLetterKey(tenant, shard, entry_id)
    with _naming(key), command_session(data_dir) as session:
        letter, event = show_dead_letter(session, key)
    print_dead_letter(letter, event, as_json=as_json)


@dead_letters.command("replay")
def replay(
    shard: Annotated[
        int | None,
        typer.Argument(
            metavar="SHARD", help="The shard of one dead letter.", min=0, max=SHARDS_MOST - 1, show_default=False
        ),
    ] = None,
    entry_id: Annotated[
        str | None, typer.Argument(metavar="ENTRY_ID", help="The entry of one dead letter.", show_default=False)
    ] = None,
    code: Annotated[
        str | None, typer.Option(help="Instead of one: all waiting ones with this code.", show_default=False)
    ] = None,
    tenant: TenantOption = DEFAULT,
    again: Annotated[bool, typer.Option("--again", help="Also those that were replayed before.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Put events onto the stream again, unchanged; they arrive now. One that fails again becomes a new dead letter.

    With --again a single dead letter is replayed even if it was discarded; --code leaves discarded ones out.

    Examples: milepost dead-letters replay 0 1773144000000-1

    milepost dead-letters replay --code unknown_tenant --tenant acme --yes
    """
    if code is not None and shard is None:
        count = _replay_code(data_dir, tenant, code, again=again, must_ask=not yes)
    elif code is None and shard is not None and entry_id is not None:
        _replay_one(data_dir, DeadLetterKey(tenant, shard, entry_id), again=again)
        count = 1
    else:
        raise typer.BadParameter("name one dead letter by SHARD ENTRY_ID, or all of one code by --code CODE")
    if as_json:
        print_json({"tenant": tenant, "replayed": count})
    else:
        print(f"replayed {count:,}; an event that fails again becomes a new dead letter")


@dead_letters.command("discard")
def discard(
    shard: ShardArgument,
    entry_id: EntryArgument,
    reason: Annotated[str, typer.Option(help="Why it is discarded, for the audit table.")],
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Mark a dead letter as discarded. It is kept for 90 more days.

    Example: milepost dead-letters discard 0 1773144000000-1 --reason "a test of the bank's"
    """
    key = DeadLetterKey(tenant, shard, entry_id)
    now = datetime.now(UTC)
    with _naming(key), command_session(data_dir) as session:
        discard_dead_letter(session, key, reason, now, actor=COMMAND_LINE)
    if as_json:
        print_json(asdict(key) | {"discarded_at": now})
    else:
        print(f"discarded {shard} {entry_id}")


def _print_table(letters: Sequence[DeadLetterSummary]) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_PIPE
    table = Table("shard", "entry id", "kept", "tenant", "state", "code", "reason", box=None, header_style="bold")
    table.pad_edge = False
    # These must be whole: they are the arguments of `show`, `replay` and `discard`.
    for column in table.columns[:3]:
        column.no_wrap = True
    for letter in letters:
        kept = f"{letter.recorded_at:%Y-%m-%d %H:%M}"
        texts = (printable(part) for part in (letter.tenant, letter.state, letter.code, letter.reason))
        table.add_row(str(letter.shard), letter.entry_id, kept, *texts)
    console.print(table)


def _row(letter: DeadLetterSummary) -> dict[str, object]:
    return {
        "tenant": letter.tenant,
        "shard": letter.shard,
        "entry_id": letter.entry_id,
        "code": letter.code,
        "reason": letter.reason,
        "state": letter.state,
        "event_bytes": letter.event_bytes,
        "arrived_at": letter.arrived_at,
        "recorded_at": letter.recorded_at,
        "replayed_at": letter.replayed_at,
        "discarded_at": letter.discarded_at,
    }


def _event(event: bytes) -> dict[str, str]:
    r"""The event's text; bytes that are not UTF-8 become \xff, and the encoding is then called `escaped`."""
    try:
        return {"event": event.decode("utf-8"), "event_encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"event": event.decode("utf-8", "backslashreplace"), "event_encoding": "escaped"}


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return "-" if value is None else printable(str(value))


def _replay_one(data_dir: Path | None, key: DeadLetterKey, *, again: bool) -> None:
    with _stream(data_dir) as stream, _naming(key), command_session(data_dir) as session:
        replay_dead_letter(session, stream, key, datetime.now(UTC), actor=COMMAND_LINE, again=again)


def _replay_code(data_dir: Path | None, tenant: str, code: str, *, again: bool, must_ask: bool) -> int:
    with command_session(data_dir) as session:
        found = find_replayable(session, tenant, code, again=again)
    if found.count and must_ask:
        count = "1 dead letter" if found.count == 1 else f"{found.count:,} dead letters"
        _confirm(f"Replay {count} of tenant {tenant} with the code {code}?")
    with _stream(data_dir) as stream, command_sessions(data_dir) as sessions, _progress(found.count) as advance:
        now = datetime.now(UTC)
        return replay_dead_letters(sessions, stream, found, now, actor=COMMAND_LINE, on_replayed=advance)


@contextmanager
def _stream(data_dir: Path | None) -> Iterator[EventStream]:
    settings = connected_settings(data_dir)
    assert settings.redis_url is not None, "connected_settings names both servers"
    with connect(settings.redis_url.get_secret_value()) as client:
        yield EventStream(client, settings.shards, settings.stream_durability)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("onto the stream", total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def _naming(key: DeadLetterKey) -> Iterator[None]:
    """Name the tenant if there is no such dead letter: another tenant may have one of this shard and entry."""
    try:
        yield
    except NoSuchTenant:
        raise
    except NotFound:
        raise MilepostError(
            f"tenant {key.tenant} has no dead letter {key.shard} {key.entry_id}; `milepost dead-letters list` shows all"
        ) from None


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise MilepostError(f"{question} There is no terminal to answer at: add --yes")
    typer.confirm(question, abort=True, err=True)
