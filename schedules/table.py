"""The schedule, as data: what runs how often, in which queue, and why."""

from __future__ import annotations

from dataclasses import dataclass

DRAINS = "milepost.drains"
JOBS = "milepost.jobs"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a stage's task, its arguments, how often it is sent, and how long a sent message stays of use."""

    name: str
    task: str
    args: tuple[int, ...]
    every_s: float
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
            every_s=1.0,
            expires_s=1.0,
            queue=DRAINS,
            reason="starts a drain where none runs; any number of these may be lost, since the next comes in a second",
        )
        for shard in range(shards)
    )
    sweep = Row(
        name="sweep",
        task="milepost.sweep",
        args=(),
        every_s=60.0,
        expires_s=60.0,
        queue=JOBS,
        reason="trims what is applied off the stream and wakes the drains of shards that a crash left behind",
    )
    return (*drains, sweep)
