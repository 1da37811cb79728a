"""`milepost run JOB`: runs one scheduled job, now and in this process."""

import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict, fields
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from core.jobs.job import Job, WholeRun, jobs
from core.stream.stream import EventStream, connect
from milepost.cli.connection import DataDirOption, JsonOption, command_sessions, connected_settings
from milepost.cli.output import print_json, trouble_as
from milepost.cli.processes import require_current_schema
from milepost.cli.verify import NOT_CHECKED, VIOLATED

JOBS: Mapping[str, Job] = {job.name: job for job in jobs()}
JOBS_WITH_A_DAY = frozenset(name for name, job in JOBS.items() if job.takes_day)
JobName = StrEnum("JobName", {name: name for name in JOBS})  # type: ignore[misc]  # made from JOBS, so that both agree


def _parse_day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise typer.BadParameter("must be a day such as 2026-01-31") from None


def run(
    job: Annotated[JobName, typer.Argument(metavar="JOB", help=f"One of {', '.join(JOBS)}.")],
    date: Annotated[
        date | None,
        typer.Option(
            help=f"The last day that the job is for ({', '.join(sorted(JOBS_WITH_A_DAY))}).",
            parser=_parse_day,
            metavar="YYYY-MM-DD",
            show_default="the last day that has closed",
        ),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Run one scheduled job now, and print what it did. It may run at the same time as a scheduled run.

    Exit status 1 if the job failed; for verify 1 if it finds a wrong value, and 3 if it could not check.

    Example: milepost run snapshot --date 2026-01-31
    """
    if date is not None and job not in JOBS_WITH_A_DAY:
        raise typer.BadParameter(f"{job} has no day: --date is for {', '.join(sorted(JOBS_WITH_A_DAY))}")
    began = time.monotonic()
    with trouble_as(NOT_CHECKED) if JOBS[job].is_audit else nullcontext():
        result = _run_job(job, date, data_dir)
    if as_json:
        print_json(asdict(result))
    else:
        _print(job, result, time.monotonic() - began)
    if getattr(result, "violations", 0):
        raise typer.Exit(VIOLATED)


def _run_job(job: str, through: date | None, data_dir: Path | None) -> Any:
    settings = connected_settings(data_dir)
    require_current_schema(settings)
    assert settings.redis_url is not None, "connected_settings names both servers"
    with (
        command_sessions(data_dir) as sessions,
        connect(settings.redis_url.get_secret_value()) as client,
        Console(stderr=True).status(f"{job} ...") as shown,
    ):
        stream = EventStream(client, settings.shards)
        whole = WholeRun(
            sessions, stream, settings, datetime.now(UTC), through, lambda line: shown.update(f"{job}: {line}")
        )
        # The job's log lines must not get between the lines that are printed.
        with redirect_stdout(sys.stderr):
            return JOBS[job].run(whole)


def _print(job: str, result: Any, seconds: float) -> None:
    print(f"{job}: done in {seconds:.1f} s")
    for field in fields(result):
        value, name = getattr(result, field.name), field.name.replace("_", " ")
        if isinstance(value, int):
            print(f"  {name}: {value:,}")
        else:
            print(f"  {name}:", *value or ["none"], sep="\n    ")
