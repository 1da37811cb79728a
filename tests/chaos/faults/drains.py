"""Faults in the middle of a drain: a kill at each of its steps, and an event that kills every drain that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from core.store.driver import Sql
from tests.chaos.crash_points import ON_EVENT, POINTS
from tests.chaos.faults.backlog import backlog
from tests.chaos.faults.scene import Fault, Inject, Scene
from tests.chaos.load.events import Event, killer
from tests.chaos.load.world import ZONES

_ACCEPTED_WITHIN_S = 60.0
_SET_ASIDE_WITHIN_S = 60.0
_SET_ASIDE = Sql("SELECT count(*) FROM dead_letters WHERE code = 'poison' AND event = :body")


def _die_at(point: str) -> Inject:
    @contextmanager
    def died(scene: Scene, _chance: Random) -> Iterator[None]:
        file = scene.system.crash_points / point
        with backlog(scene):
            file.touch()
        scene.await_death(file)
        yield

    return died


@contextmanager
def _killer_event(scene: Scene, chance: Random) -> Iterator[None]:
    """One event that kills every drain that reads it, until it is set aside."""
    tenant = chance.choice(sorted(ZONES))
    event = killer(scene.producer.single(tenant))
    file = scene.system.crash_points / ON_EVENT
    file.write_text(f'"id": "{event.event_id}"', "ascii")
    try:
        is_set_aside = scene.await_(lambda: _is_accepted(scene, event), _ACCEPTED_WITHIN_S) and scene.await_(
            lambda: _is_set_aside(scene, event.body), _SET_ASIDE_WITHIN_S
        )
        rows = [] if is_set_aside else [f"the killer {event.event_id} was not set aside in {_SET_ASIDE_WITHIN_S:g} s"]
        scene.verdict.record("poison is set aside", 1, rows)
        yield
    finally:
        file.unlink(missing_ok=True)


def _is_accepted(scene: Scene, event: Event) -> bool:
    scene.stream.send([event], scene.sent_log)
    return scene.sent_log.events[event.event_id].is_acknowledged


def _is_set_aside(scene: Scene, body: bytes) -> bool:
    with scene.sessions() as session:
        return bool(_SET_ASIDE.value(session, {"body": body}))


DRAIN_FAULTS = (
    *(Fault(f"die {point.replace('_', ' ')}", _die_at(point)) for point in POINTS),
    Fault("an event that kills", _killer_event, (0.2, 0.5)),
)
