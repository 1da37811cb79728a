"""`milepost tenants`: makes and lists tenants, the integrating applications."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from core.services.tenants import create_tenant, set_announcing
from core.store.tenants import ListedTenant, list_tenants
from milepost.cli.connection import COMMAND_LINE, DataDirOption, JsonOption, command_session
from milepost.cli.output import print_json

tenants = typer.Typer(help="Tenants: one integrating application each.", no_args_is_help=True, add_completion=False)


@tenants.command("create")
def create(
    name: Annotated[str, typer.Argument(help="A name for the application.")],
    time_zone: Annotated[
        str, typer.Option(help="Its IANA time zone, as Europe/Prague; it decides where a day begins.")
    ],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Make a tenant; its time zone can't be changed later.

    Example: milepost tenants create acme --time-zone Europe/Prague
    """
    now = datetime.now(UTC)
    with command_session(data_dir) as session:
        create_tenant(session, name, time_zone, now, actor=COMMAND_LINE)
    if as_json:
        print_json(asdict(ListedTenant(name, time_zone, created_at=now, closed_through=None, keys=0)))
    else:
        print(f"made tenant {name}; `milepost keys create --tenant {name} --scope admin` makes a key for it")


@tenants.command("announce")
def announce(
    name: Annotated[str, typer.Argument(help="The tenant.")],
    within_days: Annotated[
        int | None,
        typer.Option(
            min=0, max=366, help="What happened longer ago when it becomes known is historical. 7 unless changed."
        ),
    ] = None,
    after_minutes: Annotated[
        int | None,
        typer.Option(min=0, max=366 * 1440, help="Wait so long before announcing what was reached. 0 unless changed."),
    ] = None,
    at_close: Annotated[
        bool | None,
        typer.Option(
            "--at-close/--at-once", help="Announce what was reached only after its day is closed, or before too."
        ),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show or change when a tenant's messages are announced: docs/messages.md.

    Example: milepost tenants announce acme --after-minutes 60
    """
    with command_session(data_dir) as session:
        found = set_announcing(
            session,
            name,
            datetime.now(UTC),
            within=None if within_days is None else timedelta(days=within_days),
            after=None if after_minutes is None else timedelta(minutes=after_minutes),
            at_close=at_close,
            actor=COMMAND_LINE,
        )
    if as_json:
        print_json(asdict(found))
        return
    close = ", and once its day is closed" if found.at_close else ""
    print(f"{name}: what happened more than {timedelta(seconds=found.within_s)} ago is historical")
    print(f"{name}: what was reached is announced after {timedelta(seconds=found.after_s)}{close}")


@tenants.command("list")
def list_all(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Show the tenants: time zone, the last day that is closed, and the number of valid keys.

    Example: milepost tenants list --json
    """
    with command_session(data_dir) as session:
        found = list_tenants(session)
    if as_json:
        print_json([asdict(tenant) for tenant in found])
        return
    columns = ("tenant", "time zone", "created", "closed through", "keys")
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for tenant in found:
        closed = "-" if tenant.closed_through is None else tenant.closed_through.isoformat()
        created = f"{tenant.created_at:%Y-%m-%d %H:%M}"
        table.add_row(tenant.name, tenant.time_zone, created, closed, str(tenant.keys))
    Console(highlight=False, markup=False).print(table)
