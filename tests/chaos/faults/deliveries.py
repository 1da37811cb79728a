"""Faults of deliveries: the deliverer killed or stopped for longer than its lease, and a receiver that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random

from core.store.deliveries import LEASE
from tests.chaos.crash_points import DELIVERY_POINTS
from tests.chaos.faults.processes import kill_main, stop_main
from tests.chaos.faults.scene import Fault, Inject, Scene
from tests.chaos.messages.receiver import Behaviour
from tests.chaos.system.system import DELIVERIES_WORKER

_SECOND = "second deliverer"
_LEASE_S = LEASE.total_seconds()
_SENDING_WITHIN_S = 15.0
_LATEST = 20
_TOGETHER_S = 3.0


def _die_at(point: str) -> Inject:
    @contextmanager
    def died(scene: Scene, _chance: Random) -> Iterator[None]:
        file = scene.system.crash_points / point
        file.touch()
        scene.await_death(file)
        yield

    return died


def _receiver(behaviour: Behaviour) -> Inject:
    @contextmanager
    def switched(scene: Scene, _chance: Random) -> Iterator[None]:
        scene.system.receiver.switch(behaviour)
        try:
            yield
        finally:
            scene.system.receiver.switch(Behaviour.GOOD)

    return switched


@contextmanager
def _stop_for_long(scene: Scene, chance: Random) -> Iterator[None]:
    """Stop the deliverer while it waits for answers, and let another one take over; then both work for a moment."""
    with ExitStack() as ended:
        with ExitStack() as stopped:
            with _receiver(Behaviour.SLOW)(scene, chance):
                scene.await_(lambda: _is_sending(scene), _SENDING_WITHIN_S)
                stopped.enter_context(stop_main(DELIVERIES_WORKER)(scene, chance))
            scene.system.start_process(_SECOND, ["worker", "--queues=deliveries"])
            ended.callback(scene.system.end_process, _SECOND)
            yield
        scene.system.supervise(_TOGETHER_S)


def _is_sending(scene: Scene) -> bool:
    """Whether a request has no answer yet."""
    return any(each.answered_at is None for each in scene.system.receiver.received[-_LATEST:])


DELIVERY_FAULTS = (
    Fault("kill the deliverer", kill_main(DELIVERIES_WORKER)),
    *(Fault(f"die {point.replace('_', ' ')}", _die_at(point)) for point in DELIVERY_POINTS),
    Fault("the receiver is down", _receiver(Behaviour.DOWN), (3.0, 8.0)),
    Fault("the receiver is slow", _receiver(Behaviour.SLOW), (5.0, 12.0)),
    Fault("the receiver answers 500", _receiver(Behaviour.ERROR), (2.0, 6.0)),
    Fault("the receiver cuts its answers", _receiver(Behaviour.CUT), (2.0, 6.0)),
    Fault("the receiver hangs up", _receiver(Behaviour.SILENT), (2.0, 6.0)),
)
LONG_DELIVERY_FAULTS = (Fault("stop the deliverer for long", _stop_for_long, (_LEASE_S + 3.0, _LEASE_S + 6.0)),)
