"""The list of commands; a command's module is imported when it is called, so that each process loads only its own."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

# Where each command is: a function, or a typer.Typer for a group of commands. The order is that of --help.
COMMANDS: Mapping[str, str] = {
    "up": "milepost.cli.up:up",
    "api": "milepost.cli.processes:api",
    "worker": "milepost.cli.processes:worker",
    "beat": "milepost.cli.processes:beat",
    "migrate": "milepost.cli.processes:migrate",
    "status": "milepost.cli.status:status",
    "doctor": "milepost.cli.doctor:doctor",
    "replay": "milepost.cli.replay:replay",
    "verify": "milepost.cli.verify:verify",
    "run": "milepost.cli.run:run",
    "dead-letters": "milepost.cli.dead_letters:dead_letters",
    "keys": "milepost.cli.keys:keys",
    "tenants": "milepost.cli.tenants:tenants",
    "webhooks": "milepost.cli.webhooks:webhooks",
    "messages": "milepost.cli.messages:messages",
    "latency": "milepost.cli.latency:latency",
}
# Commands that only our own processes call; --help does not show them.
INTERNAL: Mapping[str, str] = {"demo": "milepost.cli.up:demo"}


class _Commands(TyperGroup):
    """A group that finds its commands in COMMANDS."""

    def list_commands(self, _ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:
        where = COMMANDS.get(cmd_name) or INTERNAL.get(cmd_name)
        if where is None:
            return None
        module, _, name = where.partition(":")
        found = getattr(import_module(module), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command(cmd_name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


program = typer.Typer(
    name="milepost", cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"milepost {version('milepost')}")
        raise typer.Exit


@program.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tells people how far they are from a financial goal, and when they will get there."""
