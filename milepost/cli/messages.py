"""`milepost messages`: lists and follows messages, makes and changes endpoints, and sends again what they did not get.

What receivers answer is not ours, so it is escaped: it may not control the terminal.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import simplejson
import typer
from rich.console import Console
from rich.table import Table

from core.delivery.addresses import AddressRules
from core.events.envelope import parse_moment
from core.services import endpoints as service
from core.services.endpoints import EndpointChanges, EndpointDraft, EndpointView
from core.services.inputs import UNSET
from core.services.messages import FeedForgotten, read_messages
from core.services.tenants import require_tenant
from core.services.webhooks import OVERLAP, sealer_of
from core.store.outbox import FeedFilter, Listed, position_at
from core.store.tenants import DEFAULT
from milepost.cli.connection import (
    COMMAND_LINE,
    DataDirOption,
    JsonOption,
    command_session,
    command_sessions,
    connected_settings,
)
from milepost.cli.dead_letters import printable
from milepost.cli.output import print_json
from milepost.cli.webhooks import read_secret_file

messages = typer.Typer(
    help="Messages about goals: list them, follow them, and deliver them to endpoints.",
    no_args_is_help=True,
    add_completion=False,
)
endpoints = typer.Typer(
    help="Endpoints: the addresses to which messages are sent.", invoke_without_command=True, add_completion=False
)
messages.add_typer(endpoints, name="endpoints")

_EVERY_S = 0.5
_WIDTH_OF_A_PIPE = 200


def _parse_when(text: str) -> datetime:
    try:
        moment = parse_moment(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day, tzinfo=UTC)


TenantOption = Annotated[str, typer.Option(help="The tenant of the messages.")]
TypesOption = Annotated[
    str | None, typer.Option(help="Only these types, with commas between.", show_default="all types")
]
UserOption = Annotated[str | None, typer.Option("--user", help="Only about this user's goals.", show_default="all")]
GoalOption = Annotated[str | None, typer.Option("--goal", help="Only about this goal.", show_default="all")]
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


@messages.command("list")
def list_all(
    types: TypesOption = None,
    user: UserOption = None,
    goal: GoalOption = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Announced since this date or time, in UTC.", parser=_parse_when, metavar="WHEN", show_default="ever"
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="The most to show.", min=1, max=10_000)] = 50,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show messages, the oldest first.

    Example: milepost messages list --types milestone.reached,goal.reached --since 2026-03-01
    """
    with command_sessions(data_dir) as sessions:
        reader = _Reader(sessions, tenant, FeedFilter(_split(types), user, goal), since)
        found: list[Listed] = []
        while len(found) < limit and (page := reader.read(limit - len(found))) is not None:
            found += page
    if as_json:
        print_json([_row(each) for each in found])
    elif not found:
        print("no messages")
    else:
        for each in found:
            print(_line(each))


@messages.command("tail")
def tail(
    types: TypesOption = None,
    user: UserOption = None,
    goal: GoalOption = None,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Print messages as they are announced, until Ctrl-C; with --json one object a line.

    Example: milepost messages tail
    """
    with command_sessions(data_dir) as sessions:
        reader = _Reader(sessions, tenant, FeedFilter(_split(types), user, goal), datetime.now(UTC))
        while True:
            page = reader.read(200)
            for each in page or ():
                print(simplejson.dumps(_row(each), default=str) if as_json else _line(each), flush=True)
            if page is None:
                time.sleep(_EVERY_S)


@messages.command("ping")
def ping(
    endpoint_id: EndpointArgument,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Send a test message to an endpoint; `milepost messages attempts` shows what it answered.

    Example: milepost messages ping ep_...
    """
    with command_session(data_dir) as session:
        message_id = service.ping_endpoint(session, tenant, endpoint_id, datetime.now(UTC))
    if as_json:
        print_json({"message_id": message_id})
    else:
        print(f"{message_id} will be sent; see `milepost messages attempts {endpoint_id}`")


@messages.command("resend")
def resend(
    endpoint_id: EndpointArgument,
    message_id: Annotated[
        str, typer.Argument(metavar="MESSAGE_ID", help="The id that `milepost messages list` shows.")
    ],
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Send one message to an endpoint, once more if it has it.

    Example: milepost messages resend ep_... milestone_reached:goal_...:250000:1
    """
    with command_session(data_dir) as session:
        service.resend_message(session, tenant, endpoint_id, message_id, datetime.now(UTC))
    if as_json:
        print_json({"message_id": message_id})
    else:
        print(f"{message_id} will be sent")


@messages.command("recover")
def recover(
    endpoint_id: EndpointArgument,
    since: Annotated[
        datetime,
        typer.Option(help="What was announced from this date or time on, in UTC.", parser=_parse_when, metavar="WHEN"),
    ],
    until: Annotated[
        datetime | None,
        typer.Option(help="And before this one.", parser=_parse_when, metavar="WHEN", show_default="now"),
    ] = None,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Send to an endpoint what it takes and did not get: what failed, and what it missed while it was disabled.

    Example: milepost messages recover ep_... --since 2026-03-01
    """
    with command_session(data_dir) as session:
        number = service.recover_endpoint(session, tenant, endpoint_id, since, until, datetime.now(UTC))
    if as_json:
        print_json({"messages": number})
    else:
        print(f"{number:,} messages will be sent")


@messages.command("attempts")
def attempts(
    endpoint_id: EndpointArgument,
    message: Annotated[str | None, typer.Option(help="Only of this message.", show_default="all")] = None,
    limit: Annotated[int, typer.Option(help="The most to show.", min=1, max=10_000)] = 50,
    tenant: TenantOption = DEFAULT,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show attempts to deliver messages to an endpoint, the newest first.

    Example: milepost messages attempts ep_...
    """
    with command_session(data_dir) as session:
        page = service.list_attempts(session, tenant, endpoint_id, message_id=message, limit=limit, cursor=None)
    if as_json:
        print_json([each._asdict() for each in page.items])
        return
    columns = ("at", "message", "attempt", "answer", "ms", "delivery", "next")
    rows = (
        (
            f"{each.at:%Y-%m-%d %H:%M:%S}",
            each.message_id,
            str(each.attempt),
            printable(each.error or f"{each.status} {each.answer}".strip())[:60],
            str(each.latency_ms),
            each.delivery,
            "-" if each.next_at is None else f"{each.next_at:%Y-%m-%d %H:%M:%S}",
        )
        for each in page.items
    )
    _print_table(columns, rows)


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
    _print_table(columns, (_endpoint_cells(view) for view in found))


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
    draft = EndpointDraft(url, _split(types), description, rate, secret=None if secret is None else secret.strip())
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
        UNSET if types is None else None if types == "all" else _split(types),
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


class _Reader:
    """Reads the feed of a tenant, a page at a time."""

    def __init__(self, sessions: Any, tenant: str, wanted: FeedFilter, since: datetime | None) -> None:
        self._sessions, self._tenant, self._wanted = sessions, tenant, wanted
        self._after = None if since is None else position_at(since) - 1

    def read(self, limit: int) -> Sequence[Listed] | None:
        """The next messages; None if there are none now."""
        with self._sessions() as session:
            tenant = require_tenant(session, self._tenant)
            try:
                page = read_messages(session, tenant, self._wanted, after=self._after, limit=min(limit, 200))
            except FeedForgotten as error:
                # The oldest that are left: whoever asks for more can see that by their times.
                self._after = error.oldest
                return self.read(limit)
        self._after = page.next
        return page.messages if page.messages or page.has_more else None


def _split(types: str | None) -> list[str] | None:
    return None if types is None else [each.strip() for each in types.split(",")]


def _row(each: Listed) -> dict[str, Any]:
    body = simplejson.loads(each.payload, use_decimal=True)
    return {"id": each.message_id, **body, "historical": each.is_historical, "recorded_at": each.created_at}


def _line(each: Listed) -> str:
    data = simplejson.loads(each.payload, use_decimal=True)["data"]
    about = " ".join(str(data[name]) for name in ("user_id", "name", "provider", "subject", "url") if data.get(name))
    amount = f" {data['current_amount']} {data['currency']}" if "current_amount" in data else ""
    old = " (historical)" if each.is_historical else ""
    return printable(f"{each.created_at:%Y-%m-%d %H:%M:%S} {each.message_id} {about}{amount}{old}")


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


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_PIPE
    console.print(table)
