"""`milepost messages endpoints`: makes, lists, changes and removes the addresses to which messages are sent."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from core.delivery.addresses import AddressRules
from core.services import endpoints as service
from core.services.endpoints import EndpointChanges, EndpointDraft, EndpointView
from core.services.inputs import UNSET
from core.services.webhooks import OVERLAP, sealer_of
from core.store.tenants import DEFAULT
from milepost.cli.connection import COMMAND_LINE, DataDirOption, JsonOption, command_session, connected_settings
from milepost.cli.output import print_json
from milepost.cli.webhooks import read_secret_file

endpoints = typer.Typer(
    help="Endpoints: the addresses to which messages are sent.", invoke_without_command=True, add_completion=False
)

_WIDTH_OF_A_PIPE = 200
TenantOption = Annotated[str, typer.Option(help="The tenant of the messages.")]
EndpointArgument = Annotated[
    str, typer.Argument(metavar="ENDPOINT_ID", help="The id that `milepost messages endpoints` shows.")
]
# Never on the command line itself, which every user of the machine can read.
SecretOption = Annotated[
    str | None,
    typer.Option(
        "--secret-file",
        metavar="FILE",
        help="The file with a secret that you bring; `-`: standard input.",
        show_default="none: Milepost makes one",
    ),
]


def split_types(types: str | None) -> list[str] | None:
    """Types with commas between them; None: all."""
    return None if types is None else [each.strip() for each in types.split(",")]


@endpoints.callback()
def list_endpoints(
    context: typer.Context, tenant: TenantOption = DEFAULT, as_json: JsonOption = False, data_dir: DataDirOption = None
) -> None:
    """Endpoints: the addresses to which messages are sent. Without a command, show them.

    Example: milepost messages endpoints --tenant acme
    """
    if context.invoked_subcommand is not None:
        return
    with command_session(data_dir) as session:
        found = service.list_endpoints(session, tenant)
    if as_json:
        print_json([_endpoint_row(view) for view in found])
        return
    columns = ("endpoint", "url", "types", "state", "pending", "description")
    print_table(columns, (_endpoint_cells(view) for view in found))


@endpoints.command("add")
def add(
    url: Annotated[str, typer.Argument(help="Where messages are posted: https://...")],
    types: Annotated[
        str | None, typer.Option(help="The types that it takes, with commas between.", show_default="all")
    ] = None,
    description: Annotated[str | None, typer.Option(help="A text for you.")] = None,
    rate: Annotated[int | None, typer.Option(help="At most so many attempts a second.", min=1)] = None,
    secret_file: SecretOption = None,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Make an endpoint and print its id, and its secret if one was made; it is not shown again.

    Example: milepost messages endpoints add https://app.example/milepost --types milestone.reached,goal.reached
    """
    secret, settings = read_secret_file(secret_file), connected_settings(data_dir)
    draft = EndpointDraft(url, split_types(types), description, rate, secret=None if secret is None else secret.strip())
    with command_session(data_dir) as session:
        view, made = service.add_endpoint(
            session,
            sealer_of(settings),
            AddressRules.of(settings),
            tenant,
            draft,
            datetime.now(UTC),
            actor=COMMAND_LINE,
        )
    _print_endpoint(view, made, as_json=as_json)


@endpoints.command("change")
def change(
    endpoint_id: EndpointArgument,
    url: Annotated[str | None, typer.Option(help="Another address.")] = None,
    types: Annotated[str | None, typer.Option(help="Other types, with commas between; `all` for all.")] = None,
    description: Annotated[str | None, typer.Option(help="Another text.")] = None,
    rate: Annotated[int | None, typer.Option(help="At most so many attempts a second; 0: any number.", min=0)] = None,
    enable: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help="Whether messages are sent to it.", show_default="as it is"),
    ] = None,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Change an endpoint, disable it, or enable it again.

    Example: milepost messages endpoints change ep_... --enable
    """
    changes = EndpointChanges(
        UNSET if url is None else url,
        UNSET if types is None else None if types == "all" else split_types(types),
        UNSET if description is None else description,
        UNSET if rate is None else rate or None,
        UNSET if enable is None else enable,
    )
    rules = AddressRules.of(connected_settings(data_dir))
    with command_session(data_dir) as session:
        view = service.change_endpoint(
            session, rules, tenant, endpoint_id, changes, datetime.now(UTC), actor=COMMAND_LINE
        )
    _print_endpoint(view, None, as_json=as_json)


@endpoints.command("rotate")
def rotate(
    endpoint_id: EndpointArgument,
    secret_file: SecretOption = None,
    overlap_hours: Annotated[float, typer.Option(help="How long the old secrets sign too.", min=0)] = OVERLAP
    / timedelta(hours=1),
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Give an endpoint a new secret; the old ones sign too for --overlap-hours.

    Example: milepost messages endpoints rotate ep_... --overlap-hours 1
    """
    secret, sealer = read_secret_file(secret_file), sealer_of(connected_settings(data_dir))
    with command_session(data_dir) as session:
        view, made = service.rotate_secret(
            session,
            sealer,
            tenant,
            endpoint_id,
            None if secret is None else secret.strip(),
            datetime.now(UTC),
            overlap=timedelta(hours=min(overlap_hours, 1e6)),
            actor=COMMAND_LINE,
        )
    _print_endpoint(view, made, as_json=as_json)


@endpoints.command("remove")
def remove(
    endpoint_id: EndpointArgument,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Remove an endpoint at once, with its secrets and what was to be sent to it.

    Example: milepost messages endpoints remove ep_...
    """
    with command_session(data_dir) as session:
        service.remove_endpoint(session, tenant, endpoint_id, datetime.now(UTC), actor=COMMAND_LINE)
    if as_json:
        print_json({"tenant": tenant, "endpoint_id": endpoint_id})
    else:
        print(f"removed {endpoint_id}")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, wide where nobody looks at a terminal."""
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_PIPE
    console.print(table)


def _endpoint_row(view: EndpointView) -> dict[str, Any]:
    row = asdict(view.endpoint)
    del row["sealed_secrets"]
    return row | {"pending": view.pending}


def _endpoint_cells(view: EndpointView) -> tuple[str, ...]:
    each = view.endpoint
    state = "enabled" if each.enabled else f"disabled ({each.disabled_reason})"
    if each.enabled and each.failing_since is not None:
        state = f"failing since {each.failing_since:%Y-%m-%d %H:%M}"
    types = "all" if each.types is None else ",".join(each.types)
    return each.endpoint_id, each.url, types, state, f"{view.pending:,}", each.description or ""


def _print_endpoint(view: EndpointView, made: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json(_endpoint_row(view) | ({} if made is None else {"secret": made}))
        return
    print(f"{view.endpoint.endpoint_id} {view.endpoint.url}")
    if made is not None:
        print(f"secret {made}")
