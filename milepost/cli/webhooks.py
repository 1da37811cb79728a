"""`milepost webhooks`: makes, lists, changes and removes the addresses that providers post to."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from core.errors import MilepostError
from core.providers.registry import PROVIDERS, Provider
from core.services import endpoints
from core.services.webhooks import (
    OVERLAP,
    add_endpoint,
    list_endpoints,
    remove_endpoint,
    reseal_endpoints,
    rotate_secrets,
    sealer_of,
)
from core.store.providers import Endpoint
from core.store.tenants import DEFAULT
from milepost.cli.connection import COMMAND_LINE, DataDirOption, JsonOption, command_session, connected_settings
from milepost.cli.output import print_json

webhooks = typer.Typer(
    help="Addresses that providers post to, and the secrets they sign with.", no_args_is_help=True, add_completion=False
)

SECRET_LONGEST_BYTES = 65_536
# A path has 55 characters: in the usual 80 columns the others would be cut, and a terminal can wrap a line itself.
LEAST_COLUMNS = 120
TenantOption = Annotated[str, typer.Option(help="The tenant of the addresses.")]
EndpointArgument = Annotated[
    str, typer.Argument(metavar="ENDPOINT_ID", help="The id that `milepost webhooks list` shows.")
]
_SCHEMES = {each.name: each.webhook.scheme for each in PROVIDERS if each.webhook is not None}
_MADE = " and ".join(name for name, scheme in _SCHEMES.items() if scheme.make_secret is not None)
_ISSUED = " and ".join(name for name, scheme in _SCHEMES.items() if scheme.make_secret is None)
# Never on the command line itself, which every user of the machine can read.
SecretOption = Annotated[
    str | None,
    typer.Option(
        "--secret-file",
        metavar="FILE",
        help="The file with the secret; `-`: standard input.",
        show_default=f"none: Milepost makes one for {_MADE}; those of {_ISSUED} are added later",
    ),
]


@webhooks.command("add")
def add(
    provider: Annotated[Provider, typer.Argument(help="Who will post.")],
    label: Annotated[str, typer.Option(help="What the address is for.")] = "made on the command line",
    secret_file: SecretOption = None,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Make an address for a provider and print its path, and the secret if one was made; it is not shown again.

    Example: milepost webhooks add teller --secret-file -
    """
    secret, sealer = read_secret_file(secret_file), sealer_of(connected_settings(data_dir))
    with command_session(data_dir) as session:
        endpoint, made = add_endpoint(
            session, sealer, tenant, provider, label, secret, datetime.now(UTC), actor=COMMAND_LINE
        )
    _print(endpoint, made, as_json=as_json)


@webhooks.command("list")
def list_all(tenant: TenantOption = DEFAULT, as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Show a tenant's addresses and how many secrets each has.

    Example: milepost webhooks list --tenant acme
    """
    with command_session(data_dir) as session:
        found = list_endpoints(session, tenant)
    if as_json:
        print_json([_row(endpoint) for endpoint in found])
        return
    table = Table("provider", "path", "label", "secrets", "changed", box=None, header_style="bold", pad_edge=False)
    # The path must be whole: it is what a provider is configured with.
    table.columns[1].no_wrap = True
    for each in found:
        changed = f"{each.changed_at:%Y-%m-%d %H:%M}"
        table.add_row(each.provider, path_of(each), each.label, str(each.secrets), changed)
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, LEAST_COLUMNS)
    console.print(table)


@webhooks.command("rotate")
def rotate(
    endpoint_id: EndpointArgument,
    secret_file: SecretOption = None,
    overlap_hours: Annotated[
        float, typer.Option(help="How long the old secrets stay valid; Plaid's keys expire by themselves.", min=0)
    ] = OVERLAP / timedelta(hours=1),
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Give an address a new secret, or more keys of Plaid's; the old ones stay valid for --overlap-hours.

    Example: milepost webhooks rotate whe_... --secret-file new-secret --overlap-hours 1
    """
    secret, sealer = read_secret_file(secret_file), sealer_of(connected_settings(data_dir))
    with command_session(data_dir) as session:
        endpoint, made = rotate_secrets(
            session,
            sealer,
            tenant,
            endpoint_id,
            secret,
            datetime.now(UTC),
            overlap=timedelta(hours=min(overlap_hours, 1e6)),
            actor=COMMAND_LINE,
        )
    _print(endpoint, made, as_json=as_json)


@webhooks.command("remove")
def remove(
    endpoint_id: EndpointArgument,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Remove an address at once, and its secrets with it.

    Example: milepost webhooks remove whe_...
    """
    with command_session(data_dir) as session:
        remove_endpoint(session, tenant, endpoint_id, datetime.now(UTC), actor=COMMAND_LINE)
    if as_json:
        print_json({"tenant": tenant, "endpoint_id": endpoint_id})
    else:
        print(f"removed {endpoint_id}")


@webhooks.command("reseal")
def reseal(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Encrypt all secrets again with the first key of MILEPOST_SECRETS_KEY=NEW,OLD, so that the old one can be removed.

    Example: milepost webhooks reseal
    """
    sealer = sealer_of(connected_settings(data_dir))
    with command_session(data_dir) as session:
        now = datetime.now(UTC)
        count = reseal_endpoints(session, sealer, now, actor=COMMAND_LINE)
        count += endpoints.reseal_endpoints(session, sealer, now, actor=COMMAND_LINE)
    if as_json:
        print_json({"endpoints": count})
    else:
        print(f"resealed the secrets of {count:,} addresses and endpoints")


def path_of(endpoint: Endpoint) -> str:
    """The path of an address; the host is the one by which the provider reaches the API."""
    return f"/webhooks/{endpoint.provider}/{endpoint.endpoint_id}"


def read_secret_file(source: str | None) -> str | None:
    """The text of a file with a secret, or of standard input for `-`; None if none is named. Raises MilepostError."""
    if source is None:
        return None
    raw = sys.stdin.buffer.read(SECRET_LONGEST_BYTES + 1) if source == "-" else _read_secret(Path(source))
    if len(raw) > SECRET_LONGEST_BYTES:
        raise MilepostError(f"a secret has at most {SECRET_LONGEST_BYTES:,} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise MilepostError("the secret is not UTF-8 text") from None


def _read_secret(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SECRET_LONGEST_BYTES + 1)


def _print(endpoint: Endpoint, made: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json(_row(endpoint) | ({} if made is None else {"secret": made}))
        return
    print(path_of(endpoint))
    if made is not None:
        print(f"secret {made}")
    elif not endpoint.secrets:
        print("every delivery is refused until the address has a secret; to add one, run:")
        print(f"  milepost webhooks rotate {endpoint.endpoint_id} --secret-file FILE")


def _row(endpoint: Endpoint) -> dict[str, object]:
    return {
        "tenant": endpoint.tenant,
        "endpoint_id": endpoint.endpoint_id,
        "provider": endpoint.provider,
        "label": endpoint.label,
        "path": path_of(endpoint),
        "secrets": endpoint.secrets,
        "created_at": endpoint.created_at,
        "changed_at": endpoint.changed_at,
    }
