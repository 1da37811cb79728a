"""The schedule: rounds of all kinds of faults, each round in an order that follows from the seed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tests.chaos.faults.deliveries import DELIVERY_FAULTS, LONG_DELIVERY_FAULTS
from tests.chaos.faults.drains import DRAIN_FAULTS
from tests.chaos.faults.links import LINK_FAULTS, LONG_LINK_FAULTS
from tests.chaos.faults.processes import PROCESS_FAULTS
from tests.chaos.faults.scene import Fault
from tests.chaos.faults.servers import SERVER_FAULTS

FAULTS: Sequence[Fault] = (*PROCESS_FAULTS, *SERVER_FAULTS, *LINK_FAULTS, *DRAIN_FAULTS, *DELIVERY_FAULTS)
LONG_FAULTS: Sequence[Fault] = (*LONG_LINK_FAULTS, *LONG_DELIVERY_FAULTS)
_LONG_FROM_MINUTES = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """One fault of a run. `waits`: the next one is injected only when the system has recovered, else soon after."""

    number: int
    fault: Fault
    duration_s: float
    waits: bool
    seed: str

    @property
    def chance(self) -> Random:
        """The random numbers of the fault, the same in each run with the seed."""
        return Random(self.seed)

    def __str__(self) -> str:
        return f"{self.fault.name} ({self.duration_s:.1f} s{'' if self.waits else ', does not wait'})"


def steps(seed: int, minutes: float, only: Collection[str] = ()) -> Iterator[Step]:
    """Yield the faults of a run, without end; if `only` is not empty, only those that it names."""
    chance, number = Random(f"{seed}:faults"), 0
    kinds = [*FAULTS, *(LONG_FAULTS if minutes >= _LONG_FROM_MINUTES else ())]
    kinds = [fault for fault in kinds if not only or fault.name in only]
    while True:
        for fault in chance.sample(kinds, len(kinds)):
            number += 1
            waits = chance.random() < 0.6
            yield Step(number, fault, chance.uniform(*fault.duration_s), waits, f"{seed}:fault:{number}")
