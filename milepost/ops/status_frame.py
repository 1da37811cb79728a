"""A look at an installation as a person sees it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from core.goals.goal import GoalType
from core.goals.money import to_decimal
from core.services.metrics import LastRun, is_drain_alive
from core.store.monitoring import COUNTED_MOST, MovedGoal
from core.store.tenants import DEFAULT
from milepost.ops.status import GOALS_MOST, DatabaseLook, Status, StreamLook, percent_of

_NAME_WIDTH = 32
# From so many columns on: the room for the user, the goal's name and its bar.
_WIDTHS = ((120, 16, 28, 16), (100, 10, 18, 8), (0, 8, 12, 0))
_DAY_WIDTH = 10
_LATE_DAYS = 1


def frame(found: Status, width: int, goals_most: int = GOALS_MOST) -> RenderableType:
    """The whole look, with at most so many goals, for a terminal of so many columns."""
    return Group(*_parts(found, width, goals_most))


def _parts(found: Status, width: int, goals_most: int) -> Iterator[RenderableType]:
    parts = _table("part", "state")
    for name, state in _rows(found):
        parts.add_row(name, _plain(state))
    yield parts
    if found.stream is not None:
        yield Text()
        yield _shards(found.stream, found.at)
    if found.inside is not None:
        yield from _inside(found.inside, found.at, width, goals_most)
    for line in found.troubles:
        yield Text(f"trouble: {line}", style="red")


def _inside(inside: DatabaseLook, now: datetime, width: int, goals_most: int) -> Iterator[RenderableType]:
    yield Text()
    if inside.goals:
        yield _goals(inside.goals[:goals_most], width)
    else:
        yield Text("no goals yet: POST /goals makes one", style="dim")
    yield Text()
    yield _days_and_jobs(inside, now)


def _rows(found: Status) -> list[tuple[str, str]]:
    schema = {True: "current", False: "out of date: run `milepost migrate`", None: "unknown"}
    stream = found.stream
    rows = [
        ("database", found.database or "does not answer"),
        ("schema", schema[found.schema_is_current]),
        ("stream", "does not answer" if stream is None else f"{stream.server.product} {stream.server.version}"),
        *sorted((found.processes or {"api, workers, beat": "not run by a supervisor of this folder"}).items()),
    ]
    inside = found.inside
    if inside is None:
        return rows
    letters = ", ".join(f"{code} {number:,}" for code, number in inside.figures.dead_letters.items())
    outbox = inside.figures.outbox
    oldest = "" if outbox.oldest_at is None else f", the oldest {_ago(outbox.oldest_at, found.at)}"
    return [
        *rows,
        ("accounts", _counted(inside.counts["accounts"])),
        ("goals", _counted(inside.counts["goals"])),
        ("dead letters", _counted(inside.counts["dead_letters"]) + (f" waiting: {letters}" if letters else "")),
        ("outbox", f"{_counted(outbox.messages)} not delivered{oldest}"),
    ]


def _shards(stream: StreamLook, now: datetime) -> Table:
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
    """A line a goal; names and the bar give way on a narrow terminal, figures do not."""
    user_width, name_width, bar = next(widths for least, *widths in _WIDTHS if width >= least)
    table = _table("user", "goal", "type", "tracking", "amount", "of", "%", *([""] if bar else []), "projected")
    table.padding = (0, 1, 0, 0)
    for goal in goals:
        percent = percent_of(goal)
        figures = [
            goal.type.value,
            goal.tracking.value,
            f"{_money(goal.amount_minor, goal.currency)} {goal.currency}",
            _money(_target(goal), goal.currency),
            f"{float(percent):.1f}",
        ]
        bars = [ProgressBar(total=100, completed=min(100.0, float(percent)), width=bar)] if bar else []
        user = goal.user_id if goal.tenant == DEFAULT else f"{goal.tenant}/{goal.user_id}"
        table.add_row(_short(user, user_width), _short(goal.name, name_width), *figures, *bars, _end(goal))
        for column, figure in zip(table.columns[2:7], figures, strict=True):
            column.min_width = max(column.min_width or 0, len(figure), len(str(column.header)))
    for column in table.columns[4:7]:
        column.justify = "right"
    table.columns[-1].min_width = _DAY_WIDTH
    return table


def _target(goal: MovedGoal) -> int:
    """Where a goal should end: for a debt the finish of its span."""
    return goal.span.finish_minor if goal.type is GoalType.DEBT else goal.target_minor


def _end(goal: MovedGoal) -> str:
    if goal.status.value != "active":
        return goal.status.value
    return "-" if goal.projected_at is None else f"{goal.projected_at:%Y-%m-%d}"


def _days_and_jobs(inside: DatabaseLook, now: datetime) -> Table:
    table = _table("days and jobs", "last", "result")
    for tenant in inside.tenants:
        late = tenant.days_behind > _LATE_DAYS
        days = f"{tenant.days_behind} days behind" if tenant.days_behind else "up to date"
        closed = "none yet" if tenant.closed_through is None else tenant.closed_through.isoformat()
        table.add_row(
            _short(f"closed, {tenant.tenant} ({tenant.time_zone})"), closed, Text(days, style="red" if late else "")
        )
    for run in inside.figures.runs:
        last = "never" if run.newest_at is None else _ago(run.newest_at, now)
        table.add_row(_short(run.job), last, _result(run, now))
    if inside.figures.tenants_unseen:
        table.add_row("jobs of other tenants", "", f"{inside.figures.tenants_unseen:,} tenants not looked at")
    return table


def _result(run: LastRun, now: datetime) -> Text:
    """What a job found, and whether it does not come to some tenant."""
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
    """Text as it is: names come from callers, and must neither style nor steer a terminal."""
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
