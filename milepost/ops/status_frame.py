"""The status of an installation as a terminal shows it."""

from collections.abc import Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from core.goals.goal import GoalType
from core.goals.money import to_decimal
from core.services.metrics import LastRun, is_drain_alive
from core.store.monitoring import COUNTED_MOST, DeliveryBacklog, MovedGoal
from core.store.tenants import DEFAULT
from milepost.ops.status import GOALS_MOST, DatabaseStatus, Status, StreamStatus, percent_of

_NAME_WIDTH = 32
_USER_WIDTH = 16
_GOAL_WIDTH = 40
_GOAL_LEAST_WIDTH = 8
_BAR_WIDTH = 16
_BAR = ""
# The columns that a narrow terminal leaves out, the least important first.
_LEFT_OUT = (_BAR, "tracking", "type", "user", "of")
_TO_THE_RIGHT = ("amount", "of", "%")
_LATE_DAYS = 1


def frame(found: Status, width: int, goals_most: int = GOALS_MOST) -> RenderableType:
    """The whole status, with at most `goals_most` goals, for a terminal of `width` columns."""
    return Group(*_parts(found, width, goals_most))


def _parts(found: Status, width: int, goals_most: int) -> Iterator[RenderableType]:
    parts = _table("part", "state")
    for name, state in _rows(found):
        parts.add_row(name, _plain(state))
    yield parts
    if found.stream is not None:
        yield Text()
        yield _shards(found.stream, found.at)
    if found.contents is not None:
        yield from _database_parts(found.contents, found.at, width, goals_most)
    for line in found.troubles:
        yield Text(f"trouble: {line}", style="red")


def _database_parts(contents: DatabaseStatus, now: datetime, width: int, goals_most: int) -> Iterator[RenderableType]:
    yield Text()
    if contents.goals:
        yield _goals(contents.goals[:goals_most], width)
    else:
        yield Text("no goals yet: POST /goals makes one", style="dim")
    yield Text()
    yield _days_and_jobs(contents, now)


def _rows(found: Status) -> list[tuple[str, str]]:
    schema = {True: "current", False: "out of date: run `milepost migrate`", None: "unknown"}
    stream = found.stream
    rows = [
        ("database", found.database or "does not answer"),
        ("schema", schema[found.schema_is_current]),
        ("stream", "does not answer" if stream is None else f"{stream.server.product} {stream.server.version}"),
        *sorted((found.processes or {"api, workers, beat": "not run by a supervisor of this folder"}).items()),
    ]
    contents = found.contents
    if contents is None:
        return rows
    by_code = ", ".join(f"{code} {number:,}" for code, number in contents.stats.dead_letters.items())
    outbox = contents.stats.outbox
    oldest = "" if outbox.oldest_at is None else f", the oldest {_ago(outbox.oldest_at, found.at)}"
    facts = contents.stats.waiting_facts
    next_one = "" if facts.next_at is None else f", the next one at {facts.next_at:%Y-%m-%d %H:%M} UTC"
    return [
        *rows,
        ("accounts", _counted(contents.counts["accounts"])),
        ("differences", _differences(contents.stats.accounts_with_difference)),
        ("goals", _counted(contents.counts["goals"])),
        ("dead letters", _counted(contents.counts["dead_letters"]) + (f" waiting: {by_code}" if by_code else "")),
        ("outbox", f"{_counted(outbox.messages)} not announced{oldest}"),
        ("deliveries", _deliveries(contents.stats.deliveries, found.at)),
        ("facts dated ahead", f"{_counted(sum(facts.by_kind.values()))} not due{next_one}"),
    ]


def _deliveries(found: DeliveryBacklog, now: datetime) -> str:
    oldest = (
        "" if found.oldest_due_at is None else f", the first since {(now - found.oldest_due_at).total_seconds():.0f} s"
    )
    disabled = sum(found.disabled.values())
    return f"{_counted(found.due)} due{oldest}; endpoints failing {found.failing:,}, disabled {disabled:,}"


def _differences(accounts: int | None) -> str:
    if accounts is None:
        return "not counted before the first audit"
    return f"unexplained in {accounts:,} of the accounts, by the last audit"


def _shards(stream: StreamStatus, now: datetime) -> Table:
    table = _table("shard", "length", "pending", "lag", "oldest", "applied", "duplicates", "last commit", "drain")
    for shard in stream.shards:
        drains = stream.drains[shard.shard]
        is_alive = is_drain_alive(shard, drains, now)
        table.add_row(
            str(shard.shard),
            f"{shard.length:,}",
            f"{shard.pending:,}",
            "unknown" if shard.lag is None else f"{shard.lag:,}",
            "-" if shard.oldest_at is None else f"{(now - shard.oldest_at).total_seconds():.1f} s",
            f"{drains.events:,}",
            f"{drains.duplicates:,}",
            "-" if drains.last_commit_at is None else _ago(drains.last_commit_at, now),
            Text("well") if is_alive else Text("stands still", style="red"),
        )
    return table


def _goals(goals: tuple[MovedGoal, ...], width: int) -> Table:
    """One line a goal. Columns for which there is no room are left out; in those that stay only names are cut."""
    cells = _goal_cells(goals)
    widths = _fitting({name: max(map(_width, (Text(name), *column))) for name, column in cells.items()}, width)
    table = _table(*widths)
    table.padding = (0, 1, 0, 0)
    for column, (name, column_width) in zip(table.columns, widths.items(), strict=True):
        column.width = column_width
        column.justify = "right" if name in _TO_THE_RIGHT else "left"
    for row in zip(*(cells[name] for name in widths), strict=True):
        table.add_row(*row)
    return table


def _goal_cells(goals: tuple[MovedGoal, ...]) -> dict[str, list[Text | ProgressBar]]:
    """All columns, in the order in which they are shown."""
    percents = [float(percent_of(goal)) for goal in goals]
    users = [goal.user_id if goal.tenant == DEFAULT else f"{goal.tenant}/{goal.user_id}" for goal in goals]
    return {
        "user": [_short(user, _USER_WIDTH) for user in users],
        "goal": [_short(goal.name, _GOAL_WIDTH) for goal in goals],
        "type": [Text(goal.type.value) for goal in goals],
        "tracking": [Text(goal.tracking.value) for goal in goals],
        "amount": [Text(f"{_money(goal.amount_minor, goal.currency)} {goal.currency}") for goal in goals],
        "of": [Text(_money(_target(goal), goal.currency)) for goal in goals],
        "%": [Text(f"{percent:.1f}") for percent in percents],
        _BAR: [ProgressBar(total=100, completed=min(100.0, percent), width=_BAR_WIDTH) for percent in percents],
        "projected": [Text(_projected(goal)) for goal in goals],
    }


def _fitting(widths: dict[str, int], width: int) -> dict[str, int]:
    """The columns that fit, with one space between two; the column `goal` gets what the others leave."""
    fitting = dict(widths)
    for name in _LEFT_OUT:
        if _line_width(fitting) > width:
            del fitting[name]
    missing = max(0, _line_width(fitting) - width)
    return fitting | {"goal": max(min(_GOAL_LEAST_WIDTH, fitting["goal"]), fitting["goal"] - missing)}


def _line_width(widths: dict[str, int]) -> int:
    return sum(widths.values()) + len(widths) - 1


def _width(cell: Text | ProgressBar) -> int:
    return _BAR_WIDTH if isinstance(cell, ProgressBar) else cell.cell_len


def _target(goal: MovedGoal) -> int:
    """The amount at which a goal is reached: for a debt the finish of its span."""
    return goal.span.finish_minor if goal.type is GoalType.DEBT else goal.target_minor


def _projected(goal: MovedGoal) -> str:
    if goal.status.value != "active":
        return goal.status.value
    return "-" if goal.completion_at is None else f"{goal.completion_at:%Y-%m-%d}"


def _days_and_jobs(contents: DatabaseStatus, now: datetime) -> Table:
    table = _table("days and jobs", "last", "result")
    for tenant in contents.tenants:
        late = tenant.days_behind > _LATE_DAYS
        days = f"{tenant.days_behind} days behind" if tenant.days_behind else "up to date"
        closed = "none yet" if tenant.closed_through is None else tenant.closed_through.isoformat()
        table.add_row(
            _short(f"closed, {tenant.tenant} ({tenant.time_zone})"), closed, Text(days, style="red" if late else "")
        )
    for run in contents.stats.runs:
        last = "never" if run.newest_at is None else _ago(run.newest_at, now)
        table.add_row(_short(run.job), last, _result(run, now))
    if contents.stats.tenants_unseen:
        table.add_row("jobs of other tenants", "", f"{contents.stats.tenants_unseen:,} tenants not checked")
    return table


def _result(run: LastRun, now: datetime) -> Text:
    """What a job found, and whether it is late for some tenant."""
    found = [] if run.violations is None else [f"{run.violations:,} violations"]
    if run.is_late(now):
        found.append(f"not for some tenant since {_ago(run.furthest_at, now)}")
    well = "well" if run.newest_at is not None else "-"
    return Text("; ".join(found) or well, style="red" if run.is_late(now) or not run.is_ok else "")


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    return table


def _money(minor: int, currency: str) -> str:
    return f"{to_decimal(minor, currency):,}"


def _counted(number: int) -> str:
    return f"{number:,} or more" if number >= COUNTED_MOST else f"{number:,}"


def _ago(at: datetime, now: datetime) -> str:
    seconds = max(0.0, (now - at).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.1f} s ago"


def _short(text: str, most: int = _NAME_WIDTH) -> Text:
    return _plain(text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}")


def _plain(text: str) -> Text:
    """Text without markup: names come from callers, and must neither style nor control a terminal."""
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
