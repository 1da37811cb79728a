"""`milepost doctor`: checks an installation and says what to do."""

import sys
from dataclasses import asdict

import typer
from rich.console import Console
from rich.text import Text

from milepost.cli.connection import DataDirOption, JsonOption
from milepost.cli.output import print_json
from milepost.ops.doctor import examine
from milepost.ops.finding import Finding, State

_STYLES = {State.OK: "green", State.WARNING: "yellow", State.PROBLEM: "bold red"}
_CHECK_WIDTH = 27


def doctor(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Check this installation, one line a check, and say what to do; exit status 1 if there is a problem.

    Changes nothing, and works even if nothing runs. Takes a few seconds.

    Example: milepost doctor --data-dir ./data
    """
    console = Console(highlight=False, soft_wrap=True)
    findings = []
    for finding in examine(data_dir):
        findings.append(finding)
        if not as_json:
            _print(console, finding)
            sys.stdout.flush()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.state is State.PROBLEM for finding in findings):
        raise typer.Exit(1)


def _print(console: Console, finding: Finding) -> None:
    console.print(
        Text.assemble(
            (f"{finding.state.value:<8}", _STYLES[finding.state]), f"{finding.check:<{_CHECK_WIDTH}} {finding.found}"
        )
    )
    if finding.remedy is not None:
        console.print(Text(f"{'':<8}{'':<{_CHECK_WIDTH}} -> {finding.remedy}"))
