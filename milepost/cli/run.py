"""`milepost run JOB`: one scheduled job, now and in this process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from milepost.cli.connection import DataDirOption, JsonOption, command_sessions, connected_settings
from milepost.cli.output import print_json, trouble_as
from milepost.cli.processes import require_current_schema
from milepost.cli.verify import NOT_LOOKED, VIOLATED


@dataclass(frozen=True, slots=True)
class Asked:
    """What a job is run with. `through` is the last day it is for, None: the last one that has closed."""

    settings: Settings
    sessions: sessionmaker[Session]
    now: datetime
    through: date | None
    say: Callable[[str], None]


def _snapshot(asked: Asked) -> Any:
    from core.jobs.snapshot import run_snapshot

    return run_snapshot(asked.sessions, asked.now, through=asked.through, on_progress=asked.say)


def _project(asked: Asked) -> Any:
    from core.jobs.project import run_project

    return run_project(asked.sessions, asked.now, through=asked.through, on_progress=asked.say)


def _verify(asked: Asked) -> Any:
    from core.jobs.verify import run_verify

    return run_verify(asked.sessions, asked.now, on_progress=asked.say)


def _sweep(asked: Asked) -> Any:
    from core.jobs.sweep import sweep
    from core.stream.stream import EventStream, connect

    assert asked.settings.redis_url is not None, "connected_settings names both servers"
    with connect(asked.settings.redis_url.get_secret_value()) as client:
        return sweep(EventStream(client, asked.settings.shards))


def _retain(asked: Asked) -> Any:
    from core.jobs.retain import run_retain

    return run_retain(asked.sessions, asked.now, on_progress=asked.say)


# Each gives a dataclass that says what it did.
JOBS: Mapping[str, Callable[[Asked], Any]] = {
    "snapshot": _snapshot,
    "project": _project,
    "verify": _verify,
    "sweep": _sweep,
    "retain": _retain,
}
OF_A_DAY = frozenset({"snapshot", "project"})
Job = StrEnum("Job", {name: name for name in JOBS})  # type: ignore[misc]  # made from the table, so that both agree


def _day(given: str) -> date:
    try:
        return datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise typer.BadParameter("must be a day such as 2026-01-31") from None


def run(
    job: Annotated[Job, typer.Argument(metavar="JOB", help=f"One of {', '.join(JOBS)}.")],
    date: Annotated[
        date | None,
        typer.Option(
            help=f"The last day that the job is for ({', '.join(sorted(OF_A_DAY))}).",
            parser=_day,
            metavar="YYYY-MM-DD",
            show_default="the last day that has closed",
        ),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Run one scheduled job now, and say what it did. Beside the beat's own runs this does no harm.

    Exit status 1 if the job could not be done; for verify 1 if it finds something that is wrong, and 3 if it could not
    look.

    Example: milepost run snapshot --date 2026-01-31
    """
    if date is not None and job not in OF_A_DAY:
        raise typer.BadParameter(f"{job} has no day: --date is for {', '.join(sorted(OF_A_DAY))}")
    began = time.monotonic()
    with trouble_as(NOT_LOOKED) if job == "verify" else nullcontext():
        done = _done(job, date, data_dir)
    if as_json:
        print_json(asdict(done))
    else:
        _print(job, done, time.monotonic() - began)
    if getattr(done, "violations", 0):
        raise typer.Exit(VIOLATED)


def _done(job: str, through: date | None, data_dir: Path | None) -> Any:
    settings = connected_settings(data_dir)
    require_current_schema(settings)
    with command_sessions(data_dir) as sessions, Console(stderr=True).status(f"{job} ...") as shown:
        asked = Asked(settings, sessions, datetime.now(UTC), through, lambda line: shown.update(f"{job}: {line}"))
        # What a stage logs must not get between the lines that are printed.
        with redirect_stdout(sys.stderr):
            return JOBS[job](asked)


def _print(job: str, done: Any, seconds: float) -> None:
    print(f"{job}: done in {seconds:.1f} s")
    for field in fields(done):
        value, name = getattr(done, field.name), field.name.replace("_", " ")
        if isinstance(value, int):
            print(f"  {name}: {value:,}")
        else:
            print(f"  {name}:", *value or ["none"], sep="\n    ")
