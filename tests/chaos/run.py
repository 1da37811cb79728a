"""One run: a system under load, fault after fault, then healed, drained, closed and judged."""

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
from milepost.embedded.datadir import private_folder
from tests.chaos.checks.check import Run, check_all
from tests.chaos.faults.scene import Missed, Scene
from tests.chaos.faults.schedule import Step, steps
from tests.chaos.load.load import Crowd
from tests.chaos.load.transports import HttpDoor
from tests.chaos.load.world import ZONES
from tests.chaos.plan import Outcome, Plan
from tests.chaos.recovery import Settling
from tests.chaos.system.disks import Disk, NoDisks, enter_namespace, make_disk
from tests.chaos.system.system import Make, System, running

_DISK_MEGABYTES = {"postgres": 3_072, "valkey": 768}
_WARM_UP_S = 1.0
_APART_S = (0.3, 1.5)
_SCENE_TELLER = 99

Say = Callable[[str], None]


def run_chaos(plan: Plan, say: Say, *, keep: Path | None = None) -> Outcome:
    """Run a plan; everything that was started and made is gone at the end, but for the logs, which `keep` may keep.

    Call it from the main thread, before any other is started. Raises MilepostError if there was nothing to judge.
    """
    if sys.platform != "linux":
        raise MilepostError("a chaos run finds and stops processes by what Linux shows of them; it needs Linux")
    outcome = Outcome(plan.seed)
    with _place(say, keep) as (folder, disks, reason):
        make = Make(plan.fsyncs, plan.broken, disks, f"mp_chaos_{secrets.token_urlsafe(24)}")
        log = (folder / "said.log").open("a", buffering=1)
        with log, running(folder, make, lambda line: print(_stamp(), line, file=log)) as system:
            say("the system is up")
            _Director(plan, system, outcome, say, reason).direct()
    return outcome


@dataclass(slots=True)
class _Director:
    """Lets the faults of a plan happen to a system. `no_disks` is the reason why there are none, empty if there are."""

    plan: Plan
    system: System
    outcome: Outcome
    say: Say
    no_disks: str

    def direct(self) -> None:
        """The whole run."""
        engine = self.system.engine()
        crowd = Crowd.at(self.plan, self.system)
        try:
            self._prepare(crowd)
            scene = self._scene(crowd, engine)
            self._torment(crowd, scene)
            Settling(self.system, crowd, self.outcome, engine, self.say).settle()
            self._judge(crowd, engine)
        finally:
            crowd.end()
            crowd.close()
            engine.dispose()

    def _prepare(self, crowd: Crowd) -> None:
        self.say("opening accounts and making goals")
        crowd.open()
        crowd.start()
        self.system.watch(_WARM_UP_S)

    def _scene(self, crowd: Crowd, engine: Engine) -> Scene:
        door = HttpDoor(crowd.client(sorted(ZONES)[0]))
        teller = crowd.teller(_SCENE_TELLER)
        return Scene(
            self.system, engine, crowd.book, teller, crowd.stream_door(), door, self.outcome.verdict, self._tell
        )

    def _torment(self, crowd: Crowd, scene: Scene) -> None:
        """Fault after fault until the time is up; at least one."""
        until = time.monotonic() + 60 * self.plan.minutes
        for step in steps(self.plan.seed, self.plan.minutes, self.plan.only):
            if step.number > 1 and time.monotonic() + step.hold_s > until:
                break
            if step.fault.needs_disk and self.no_disks:
                self.outcome.skipped[step.fault.name] = self.no_disks
                continue
            self._step(step, scene)
            crowd.is_done()
        self.system.watch(max(0.0, until - time.monotonic()))

    def _step(self, step: Step, scene: Scene) -> None:
        self._tell(f"{step.number}. {step}")
        chance = step.chance
        try:
            with step.fault.inject(scene, chance):
                self.outcome.faults[step.fault.name] += 1
                self.system.watch(step.hold_s)
        except Missed as reason:
            self.outcome.missed[step.fault.name] += 1
            self._tell(f"it did not come about: {reason}")
        self.system.heal()
        settling = Settling(self.system, None, self.outcome, scene.engine, self._tell)
        if step.waits:
            settling.await_recovery(step.fault.name)
            settling.trigger_closing()
        self.system.watch(chance.uniform(*_APART_S))

    def _judge(self, crowd: Crowd, engine: Engine) -> None:
        clients = {tenant: crowd.client(tenant) for tenant in ZONES}
        goals = [goal for actor in crowd.actors for goal in actor.goals]
        try:
            run = Run(self.plan.seed, engine, crowd.book, goals, clients)
            applied = check_all(run, self.outcome.verdict, self.say)
        finally:
            for client in clients.values():
                client.close()
        crowd.note_wrong(self.outcome.verdict)
        self.outcome.counts = crowd.book.counts() | {"standing": applied.standing, "dead": applied.dead}
        self.outcome.requests = sum(actor.requests.count for actor in crowd.actors)
        self.outcome.retries = sum(actor.requests.retries for actor in crowd.actors)

    def _tell(self, line: str) -> None:
        """Say it, and keep it for the history of the run."""
        self.outcome.history.append(f"{_stamp()} {line}")
        self.say(line)


@contextmanager
def _place(say: Say, keep: Path | None) -> Iterator[tuple[Path, Mapping[str, Disk], str]]:
    """A folder with disks for the servers, or with the reason why there are none; gone when the block ends."""
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
            shutil.copy(folder / "said.log", keep)
        for disk in disks.values():
            disk.remove()
        shutil.rmtree(folder, ignore_errors=True)


def _stamp() -> str:
    return f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3]
