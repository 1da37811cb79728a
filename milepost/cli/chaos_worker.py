"""`milepost chaos-worker`: the drains' worker of a run that is to fail; not for people."""

from __future__ import annotations

from typing import Annotated

import typer

from milepost.chaos.broken import BROKEN
from milepost.cli.processes import worker


def chaos_worker(broken: Annotated[str, typer.Option(help=f"One of {', '.join(BROKEN)}.")]) -> None:
    """Run the drains with one of them replaced; `milepost chaos --broken` starts this."""
    BROKEN[broken]()
    worker("drains")
