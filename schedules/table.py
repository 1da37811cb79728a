"""The schedule, as data: what runs how often, in which queue, and why. A job's record is in its module."""

from dataclasses import dataclass

from core.jobs.deliver import DELIVER
from core.jobs.due import DUE
from core.jobs.job import DRAIN_QUEUE, DRAIN_TASK, Job
from core.jobs.project import PROJECT
from core.jobs.relay import RELAY
from core.jobs.relinks import RELINKS
from core.jobs.retain import RETAIN
from core.jobs.snapshot import SNAPSHOT
from core.jobs.sweep import SWEEP
from core.jobs.verify import VERIFY


@dataclass(frozen=True, slots=True)
class Clock:
    """Times of day in UTC: at a minute of one hour, or of every hour."""

    minute: int
    hour: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a task, its arguments, when it is sent, and after how many seconds a sent message expires.

    `when` is the number of seconds between two messages, or a Clock. Seconds are counted from each start of beat, so a
    job with an interval of an hour would never run if beat were restarted every half hour.
    """

    name: str
    task: str
    args: tuple[int, ...]
    when: float | Clock
    expires_s: float
    queue: str
    reason: str


def job_row(job: Job, when: float | Clock, reason: str) -> Row:
    """The row of a job: when it is sent, and why so often; everything else is in the job's record."""
    return Row(job.name, job.task, (), when, job.expires_s, job.queue, reason)


JOB_ROWS = (
    job_row(
        SWEEP,
        60.0,
        "removes applied entries from the stream, wakes the drains of shards that a crash left behind, and starts the "
        "jobs of tenants whose day is over and not closed yet; and writes messages about dead letters",
    ),
    job_row(RELAY, 1.0, "announces messages, so that the feed has them within moments"),
    job_row(DELIVER, 1.0, "starts a slice of deliveries where none runs; most of these messages are dropped"),
    job_row(DUE, 60.0, "lets facts count that were dated too far ahead when they arrived, once their time has come"),
    job_row(
        SNAPSHOT,
        Clock(minute=2),
        "closes the days of tenants whose local day is over, and closes again the days that late facts changed",
    ),
    job_row(
        PROJECT,
        Clock(minute=17),
        "stores the projections of tenants whose last day is closed, once for each of their days",
    ),
    job_row(RELINKS, Clock(minute=22), "writes messages about accounts that probably go on under a new id"),
    job_row(
        RETAIN,
        Clock(minute=47),
        "removes rows past their retention, in the first hour of a UTC day in which a beat runs",
    ),
    job_row(VERIFY, Clock(minute=32), "compares what is stored with the facts, once a UTC day for each tenant"),
)


def schedule(shards: int) -> tuple[Row, ...]:
    """All rows for a number of shards."""
    drains = tuple(
        Row(
            name=f"apply_events:{shard}",
            task=DRAIN_TASK,
            args=(shard,),
            when=1.0,
            expires_s=1.0,
            queue=DRAIN_QUEUE,
            reason="starts a drain where none runs; any number of these may be lost, since the next comes in a second",
        )
        for shard in range(shards)
    )
    return (*drains, *JOB_ROWS)
