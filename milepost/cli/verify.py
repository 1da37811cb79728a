"""`milepost verify`: recomputes everything from the facts and compares it with what is stored."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from core.verify.checks import Verified
from core.verify.verify import FIRST, Progress, all_checks
from core.verify.verify import verify as compare_with_facts
from milepost.cli.connection import DataDirOption, JsonOption, command_sessions, connected_settings
from milepost.cli.output import print_json, trouble_as
from milepost.cli.processes import require_current_schema

VIOLATED = 1
NOT_CHECKED = 3


def verify(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.", show_default="all of them")] = None,
    first: Annotated[
        int, typer.Option(help="The number of wrong rows to show for each check.", min=1, max=10_000)
    ] = FIRST,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Recompute worths, amounts and snapshots from the facts, and compare them with what is stored.

    Writes nothing and may run while events are applied. Exit status 0 if every stored value is right, 1 if not, with
    the wrong rows, 3 if it could not check.

    Example: milepost verify --tenant acme --json
    """
    with trouble_as(NOT_CHECKED):
        require_current_schema(connected_settings(data_dir))
        with command_sessions(data_dir) as sessions, _bars() as progress:
            found = compare_with_facts(sessions, datetime.now(UTC), tenant=tenant, first=first, progress=progress)
    if as_json:
        print_json(asdict(found) | {"ok": found.is_ok, "violations": found.violations})
    else:
        _print(found)
    if not found.is_ok:
        raise typer.Exit(VIOLATED)


@contextmanager
def _bars() -> Iterator[Callable[[Progress], None]]:
    """A progress bar for each tenant's accounts and goals, on standard error, removed at the end."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("verifying", total=None)

        def show(progress: Progress) -> None:
            about = f"{progress.tenant}: {progress.table}"
            bars.update(task, description=about, completed=progress.done, total=progress.total)

        yield show


def _print(found: Verified) -> None:
    console = Console(highlight=False, markup=False)
    meanings = {check.name: check.meaning for check in all_checks()}
    table = Table("check", "values", "wrong", "what holds", box=None, header_style="bold", pad_edge=False)
    for finding in found.findings:
        table.add_row(finding.check, f"{finding.checked:,}", f"{finding.wrong:,}", meanings[finding.check])
    console.print(table)
    for finding in found.findings:
        for violation in finding.first:
            places = " ".join(f"{name}={value}" for name, value in violation.key.items())
            stored, expected = (
                value if value is not None else "nothing" for value in (violation.stored, violation.expected)
            )
            line = f"{finding.check}: tenant={violation.tenant} {places}: {violation.what}: "
            console.print(f"{line}stored {stored}, expected {expected}", style="red", soft_wrap=True)
        if finding.wrong > len(finding.first):
            console.print(f"{finding.check}: {finding.wrong - len(finding.first):,} more", style="red")
    console.print(_sentence(found), soft_wrap=True)


def _sentence(found: Verified) -> str:
    tenants = f"{len(found.tenants):,} tenant" + ("" if len(found.tenants) == 1 else "s")
    checked = f"{sum(found.checked.values()):,} values of {tenants} in {found.seconds:.1f} s"
    return f"all holds: {checked}" if found.is_ok else f"{found.violations:,} wrong of {checked}"
