"""How dead letters look at a terminal and in JSON. Their texts are anybody's: none may steer the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table

from core.store.dead_letters import LetterSummary
from milepost.cli.output import print_json

_WIDTH_OF_A_PIPE = 200


def print_letters(letters: Sequence[LetterSummary], *, as_json: bool) -> None:
    """Print a list, without the events."""
    if as_json:
        print_json([_row(letter) for letter in letters])
    elif not letters:
        print("no dead letters")
    else:
        _print_table(letters)


def print_letter(letter: LetterSummary, event: bytes, *, as_json: bool) -> None:
    r"""Print one letter and its event, the bytes that are not UTF-8 as \xff."""
    if as_json:
        print_json(_row(letter) | _event(event))
        return
    for name, value in _row(letter).items():
        print(f"{name.replace('_', ' '):<14}{_told(value)}")
    print("", printable(event.decode("utf-8", "backslashreplace")), sep="\n")


def printable(text: str) -> str:
    """The text with everything escaped that is no character to be seen, but for line breaks and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def _print_table(letters: Sequence[LetterSummary]) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_PIPE
    table = Table("shard", "entry id", "kept", "tenant", "state", "code", "reason", box=None, header_style="bold")
    table.pad_edge = False
    # These must be whole: they are what `show`, `replay` and `discard` are given.
    for column in table.columns[:3]:
        column.no_wrap = True
    for letter in letters:
        kept = f"{letter.recorded_at:%Y-%m-%d %H:%M}"
        texts = (printable(part) for part in (letter.tenant, letter.state, letter.code, letter.reason))
        table.add_row(str(letter.shard), letter.entry_id, kept, *texts)
    console.print(table)


def _row(letter: LetterSummary) -> dict[str, object]:
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
    r"""The text as it came; what is not UTF-8 has \xff in place of such bytes, and says that it is `escaped`."""
    try:
        return {"event": event.decode("utf-8"), "event_encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"event": event.decode("utf-8", "backslashreplace"), "event_encoding": "escaped"}


def _told(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return "-" if value is None else printable(str(value))
