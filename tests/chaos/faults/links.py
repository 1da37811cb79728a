"""Faults of the links to the servers: bytes dropped, connections cut and reset, everything delayed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from tests.chaos.faults.scene import Fault, Inject, Scene
from tests.chaos.system.proxy import Mode


def _switched(link: str, mode: Mode) -> Inject:
    @contextmanager
    def switched(scene: Scene, _chance: Random) -> Iterator[None]:
        proxy = scene.system.links[link]
        proxy.switch(mode)
        try:
            yield
        finally:
            proxy.switch(Mode.OPEN)
            if link == "postgres":
                # Clients of Postgres wait for an answer as long as the connection is open.
                proxy.end_lost()

    return switched


def _reset(link: str) -> Inject:
    @contextmanager
    def reset(scene: Scene, _chance: Random) -> Iterator[None]:
        scene.system.links[link].reset()
        yield

    return reset


LINK_FAULTS = tuple(
    fault
    for link in ("postgres", "stream")
    for fault in (
        Fault(f"swallow the bytes to {link}", _switched(link, Mode.SWALLOW), (4.0, 4.0)),
        Fault(f"cut the link to {link}", _switched(link, Mode.CUT), (4.0, 10.0)),
        Fault(f"reset the link to {link}", _reset(link)),
        Fault(f"delay the link to {link}", _switched(link, Mode.DELAY), (5.0, 8.0)),
    )
)
LONG_LINK_FAULTS = tuple(
    Fault(f"cut the link to {link} for long", _switched(link, Mode.CUT), (60.0, 60.0))
    for link in ("postgres", "stream")
)
