"""One run: a system under load, fault after fault, then healed, drained, closed, delivered and checked."""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from core.errors import MilepostError
from core.store.database import Sessions
from milepost.embedded.datadir import private_folder
from tests.chaos.checks.check import Run, check_all
from tests.chaos.checks.messages import Arrived
from tests.chaos.faults.scene import Missed, Scene
from tests.chaos.faults.schedule import Step, steps
from tests.chaos.load.load import Load
from tests.chaos.load.transports import HttpTransport
from tests.chaos.load.world import ZONES
from tests.chaos.plan import Outcome, Plan
from tests.chaos.recovery import Recovery
from tests.chaos.system.disks import Disk, NoDisks, enter_namespace, make_disk
from tests.chaos.system.system import Make, System, running

_DISK_MEGABYTES = {"postgres": 3_072, "valkey": 768}
_WARM_UP_S = 1.0
_APART_S = (0.3, 1.5)
_SCENE_PRODUCER = 99

Say = Callable[[str], None]


def run_chaos(plan: Plan, say: Say, *, keep: Path | None = None) -> Outcome:
    """Run a plan; everything that was started and made is removed at the end. Logs are copied to `keep`.

    Call it from the main thread, before any other is started. Raises MilepostError if there was nothing to check.
    """
    if sys.platform != "linux":
        raise MilepostError("a chaos run finds and stops processes by Linux's /proc; it needs Linux")
    outcome = Outcome(plan.seed)
    with _folder(say, keep) as (folder, disks, reason):
        make = Make(plan.fsyncs, plan.broken, disks, f"mp_chaos_{secrets.token_urlsafe(24)}")
        log = (folder / "run.log").open("a", buffering=1)
        with log, running(folder, make, lambda line: print(_stamp(), line, file=log)) as system:
            say("the system is up")
            _Runner(plan, system, outcome, say, reason).run()
    return outcome


@dataclass(slots=True)
class _Runner:
    """Injects the faults of a plan. `no_disks` says why there are no disks; it is empty if there are."""

    plan: Plan
    system: System
    outcome: Outcome
    say: Say
    no_disks: str

    def run(self) -> None:
        """Do the whole run."""
        engine, sessions = self.system.engine(), self.system.sessions()
        load = Load.at(self.plan, self.system)
        try:
            self._prepare(load)
            scene = self._scene(load, sessions)
            self._inject_faults(load, scene)
            recovery = Recovery(self.system, load, self.outcome, sessions, self.say)
            recovery.finish()
            self._check(load, engine, sessions, recovery.delivered_at or datetime.now(UTC))
        finally:
            load.end()
            load.close()
            sessions.close()
            engine.dispose()

    def _prepare(self, load: Load) -> None:
        self.say("opening accounts and making goals")
        load.open()
        load.start()
        self.system.supervise(_WARM_UP_S)

    def _scene(self, load: Load, sessions: Sessions) -> Scene:
        transport = HttpTransport(load.client(sorted(ZONES)[0]))
        producer = load.producer(_SCENE_PRODUCER)
        return Scene(
            self.system,
            sessions,
            load.sent_log,
            producer,
            load.stream_transport(),
            transport,
            self.outcome.verdict,
            self._report,
        )

    def _inject_faults(self, load: Load, scene: Scene) -> None:
        """Inject one fault after the other until the time is over; at least one."""
        until = time.monotonic() + 60 * self.plan.minutes
        for step in steps(self.plan.seed, self.plan.minutes, self.plan.only):
            if step.number > 1 and time.monotonic() + step.duration_s > until:
                break
            if step.fault.needs_disk and self.no_disks:
                self.outcome.skipped[step.fault.name] = self.no_disks
                continue
            self._step(step, scene)
            load.is_done()
        self.system.supervise(max(0.0, until - time.monotonic()))

    def _step(self, step: Step, scene: Scene) -> None:
        self._report(f"{step.number}. {step}")
        chance = step.chance
        try:
            with step.fault.inject(scene, chance):
                self.outcome.faults[step.fault.name] += 1
                self.system.supervise(step.duration_s)
        except Missed as reason:
            self.outcome.missed[step.fault.name] += 1
            self._report(f"it was missed: {reason}")
        self.system.heal()
        recovery = Recovery(self.system, None, self.outcome, scene.sessions, self._report)
        if step.waits:
            recovery.await_recovery(step.fault.name)
            recovery.trigger_jobs()
        self.system.supervise(chance.uniform(*_APART_S))

    def _check(self, load: Load, engine: Engine, sessions: Sessions, delivered_at: datetime) -> None:
        clients = {tenant: load.client(tenant) for tenant in ZONES}
        goals = [goal for actor in load.actors for goal in actor.goals]
        self.say("reading the feed to its end")
        for reader in load.readers:
            reader.read_to_end()
        feeds = {reader.tenant: reader.messages for reader in load.readers}
        arrived = Arrived(load.endpoints, feeds, list(self.system.receiver.received), delivered_at)
        try:
            run = Run(self.plan.seed, engine, sessions, load.sent_log, goals, arrived, clients)
            counts = check_all(run, self.outcome.verdict, self.say)
        finally:
            for client in clients.values():
                client.close()
        load.note_wrong(self.outcome.verdict)
        self.outcome.counts = load.sent_log.counts() | counts
        self.outcome.requests = sum(actor.requests.count for actor in load.actors)
        self.outcome.retries = sum(actor.requests.retries for actor in load.actors)

    def _report(self, line: str) -> None:
        """Print a line, and add it to the history of the run."""
        self.outcome.history.append(f"{_stamp()} {line}")
        self.say(line)


@contextmanager
def _folder(say: Say, keep: Path | None) -> Iterator[tuple[Path, Mapping[str, Disk], str]]:
    """A folder, disks for the servers, and the reason if there are none; all removed when the block ends."""
    folder = private_folder(Path(tempfile.mkdtemp(prefix="milepost-chaos-")))
    disks: dict[str, Disk] = {}
    reason = ""
    try:
        try:
            enter_namespace()
            for name, megabytes in _DISK_MEGABYTES.items():
                disks[name] = make_disk(folder / name, megabytes)
        except NoDisks as trouble:
            reason = str(trouble)
            say(f"no disks of our own, so no fault of disks: {reason}")
        yield folder, disks, reason
    finally:
        if keep is not None and (folder / "logs").exists():
            shutil.copytree(folder / "logs", keep, dirs_exist_ok=True)
            shutil.copy(folder / "run.log", keep)
        for disk in disks.values():
            disk.remove()
        shutil.rmtree(folder, ignore_errors=True)


def _stamp() -> str:
    return f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3]
