"""`milepost keys`: makes, lists and revokes API keys."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from core.services.keys import Scope, create_key, list_keys, revoke_key
from core.store.tenants import ApiKey
from milepost.cli.connection import COMMAND_LINE, DataDirOption, JsonOption, command_session
from milepost.cli.output import print_json

keys = typer.Typer(help="API keys of a tenant.", no_args_is_help=True, add_completion=False)

TenantOption = Annotated[str, typer.Option(help="The tenant of the keys.")]


@keys.command("create")
def create(
    scope: Annotated[list[Scope], typer.Option(help="What the key may do; repeat the option for several scopes.")],
    label: Annotated[str, typer.Option(help="What the key is for.")] = "made on the command line",
    tenant: TenantOption = "default",
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Make a key and print it; it is stored as a hash and cannot be shown again.

    Example: milepost keys create --scope goals:read --scope events:write --label "bank sync"
    """
    scopes = [item.value for item in scope]
    with command_session(data_dir) as session:
        key, secret = create_key(session, tenant, scopes, label, datetime.now(UTC), actor=COMMAND_LINE)
    if as_json:
        print_json({"key": secret, "tenant": tenant} | _row(key))
    else:
        print(secret)


@keys.command("list")
def list_all(tenant: TenantOption = "default", as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Show the keys of a tenant, without their secrets.

    Example: milepost keys list --tenant acme --json
    """
    with command_session(data_dir) as session:
        found = list_keys(session, tenant)
    if as_json:
        print_json([_row(key) for key in found])
        return
    table = Table("key", "label", "scopes", "created", "revoked", box=None, header_style="bold", pad_edge=False)
    for key in found:
        revoked = "-" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d %H:%M}"
        table.add_row(key.key_id, key.label, " ".join(key.scopes), f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
    Console(highlight=False, markup=False).print(table)


@keys.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id that `milepost keys list` shows.")],
    tenant: TenantOption = "default",
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Revoke a key at once. A key that was revoked before is not found, and keeps the time at which it was revoked.

    Example: milepost keys revoke 5c1f0a9be2d4
    """
    now = datetime.now(UTC)
    with command_session(data_dir) as session:
        revoke_key(session, tenant, key_id, now, actor=COMMAND_LINE)
    if as_json:
        print_json({"tenant": tenant, "key_id": key_id, "revoked_at": now})
    else:
        print(f"revoked {key_id}")


def _row(key: ApiKey) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "label": key.label,
        "scopes": list(key.scopes),
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }
