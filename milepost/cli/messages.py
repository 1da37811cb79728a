"""`milepost messages`: lists and follows messages, tests endpoints, and sends again what they did not get.

What receivers answer is not ours, so it is escaped: it may not control the terminal.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import simplejson
import typer

from core.events.envelope import parse_moment
from core.services import endpoints as service
from core.services.messages import FeedForgotten, read_messages
from core.services.tenants import require_tenant
from core.store.outbox import FeedFilter, Listed, position_at
from core.store.tenants import DEFAULT
from milepost.cli.connection import DataDirOption, JsonOption, command_session, command_sessions
from milepost.cli.dead_letters import printable
from milepost.cli.endpoints import EndpointArgument, TenantOption, endpoints, print_table, split_types
from milepost.cli.output import print_json

messages = typer.Typer(
    help="Messages about goals: list them, follow them, and deliver them to endpoints.",
    no_args_is_help=True,
    add_completion=False,
)
messages.add_typer(endpoints, name="endpoints")

_EVERY_S = 0.5


def _parse_when(text: str) -> datetime:
    try:
        moment = parse_moment(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day, tzinfo=UTC)


TypesOption = Annotated[
    str | None, typer.Option(help="Only these types, with commas between.", show_default="all types")
]
UserOption = Annotated[str | None, typer.Option("--user", help="Only about this user's goals.", show_default="all")]
GoalOption = Annotated[str | None, typer.Option("--goal", help="Only about this goal.", show_default="all")]


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
        reader = _Reader(sessions, tenant, FeedFilter(split_types(types), user, goal), since)
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
        reader = _Reader(sessions, tenant, FeedFilter(split_types(types), user, goal), datetime.now(UTC))
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
    print_table(columns, rows)


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


def _row(each: Listed) -> dict[str, Any]:
    body = simplejson.loads(each.payload, use_decimal=True)
    return {"id": each.message_id, **body, "historical": each.is_historical, "recorded_at": each.created_at}


def _line(each: Listed) -> str:
    data = simplejson.loads(each.payload, use_decimal=True)["data"]
    about = " ".join(str(data[name]) for name in ("user_id", "name", "provider", "subject", "url") if data.get(name))
    amount = f" {data['current_amount']} {data['currency']}" if "current_amount" in data else ""
    old = " (historical)" if each.is_historical else ""
    return printable(f"{each.created_at:%Y-%m-%d %H:%M:%S} {each.message_id} {about}{amount}{old}")
