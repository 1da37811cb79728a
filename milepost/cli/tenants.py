"""`milepost tenants`: the integrating applications."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from core.requests.tenants import create_tenant
from milepost.cli.connection import DataDirOption
from milepost.cli.session import command_session

tenants = typer.Typer(help="Tenants: one integrating application each.", no_args_is_help=True, add_completion=False)


@tenants.command("create")
def create(
    name: Annotated[str, typer.Argument(help="A name for the application.")],
    time_zone: Annotated[str, typer.Option(help="Its IANA time zone, as Europe/Prague; days are told in it.")],
    data_dir: DataDirOption = None,
) -> None:
    """Make a tenant; its time zone is fixed once it has events."""
    with command_session(data_dir) as session:
        create_tenant(session, name, time_zone, datetime.now(UTC))
    print(f"made tenant {name}; `milepost keys create --tenant {name} --scope admin` makes a key for it")


@tenants.callback()
def _group() -> None:
    pass
