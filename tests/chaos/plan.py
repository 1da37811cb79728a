"""The options of a run, and its outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.system.servers import Fsync
from tests.chaos.verdict import Verdict

HEALED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of one run. Everything follows from the seed, except how far it comes in its minutes.

    `fsyncs`: how the stream server may sync. `broken`: a drain or deliverer that is wrong on purpose. `only`: the
    names of the faults to choose from, all of them if none is named.
    """

    seed: int
    minutes: float
    fsyncs: Sequence[Fsync] = (Fsync.ALWAYS, Fsync.EVERYSEC)
    broken: str | None = None
    events_per_s: float = 200.0
    only: Sequence[str] = ()


@dataclass(slots=True)
class Outcome:
    """The outcome of a run. `counts` are of events; `recovered_s` is the longest wait after a fault, by its name.

    `faults` were injected; `missed` were not, because there was nothing to break at that moment.
    """

    seed: int
    verdict: Verdict = field(default_factory=Verdict)
    counts: dict[str, int] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    recovered_s: dict[str, float] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    drained_s: float | None = None
    requests: int = 0
    retries: int = 0

    def as_plain(self) -> Mapping[str, object]:
        """All of it by name, for a program."""
        return {
            "seed": self.seed,
            "ok": self.verdict.is_good,
            "counts": self.counts,
            "requests": self.requests,
            "retries": self.retries,
            "faults": dict(sorted(self.faults.items())),
            "missed": dict(sorted(self.missed.items())),
            "skipped": self.skipped,
            "recovered_s": {name: round(seconds, 1) for name, seconds in sorted(self.recovered_s.items())},
            "drained_s": None if self.drained_s is None else round(self.drained_s, 1),
            "checks": self.verdict.checks,
            "wrong": [f"{each.check}: {each.row}" for each in self.verdict.wrong],
            "history": self.history,
        }
