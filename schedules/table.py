"""The schedule, as data: what runs how often, in which queue, and why."""

from __future__ import annotations

from dataclasses import dataclass

DRAINS = "milepost.drains"
JOBS = "milepost.jobs"


@dataclass(frozen=True, slots=True)
class Clock:
    """Times of day in UTC: at a minute of one hour, or of every hour."""

    minute: int
    hour: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a stage's task, its arguments, when it is sent, and how long a sent message stays of use.

    `when` is a number of seconds between two, or a Clock: what is counted in seconds begins anew with each start of
    beat, so that a beat which is started every half hour would never come to an hour.
    """

    name: str
    task: str
    args: tuple[int, ...]
    when: float | Clock
    expires_s: float
    queue: str
    reason: str


def schedule(shards: int) -> tuple[Row, ...]:
    """All rows for a number of shards."""
    drains = tuple(
        Row(
            name=f"apply_events:{shard}",
            task="milepost.apply_events",
            args=(shard,),
            when=1.0,
            expires_s=1.0,
            queue=DRAINS,
            reason="starts a drain where none runs; any number of these may be lost, since the next comes in a second",
        )
        for shard in range(shards)
    )
    return (*drains, *_JOBS)


_JOBS = (
    Row(
        name="sweep",
        task="milepost.sweep",
        args=(),
        when=60.0,
        expires_s=60.0,
        queue=DRAINS,
        # Among the drains, since a long job must not keep the stream from being trimmed.
        reason="trims what is applied off the stream, wakes the drains of shards that a crash left behind, and starts "
        "the jobs of tenants whose day is over and not closed yet",
    ),
    Row(
        name="snapshot",
        task="milepost.snapshot",
        args=(),
        when=Clock(minute=2),
        expires_s=3_000.0,
        queue=JOBS,
        reason="closes the days of tenants whose local day is over, and closes anew what late facts touched",
    ),
    Row(
        name="project",
        task="milepost.project",
        args=(),
        when=Clock(minute=17),
        expires_s=3_000.0,
        queue=JOBS,
        reason="stores the projections of tenants whose last day is closed, once for each of their days",
    ),
    Row(
        name="retain",
        task="milepost.retain",
        args=(),
        when=Clock(minute=47),
        expires_s=3_000.0,
        queue=JOBS,
        reason="drops what is past retention, in the first hour of a UTC day in which a beat is there",
    ),
    Row(
        name="verify",
        task="milepost.verify",
        args=(),
        when=Clock(minute=32),
        expires_s=3_000.0,
        queue=JOBS,
        reason="holds what is stored against the facts, once a UTC day for each tenant",
    ),
)
