"""Following a shard: drain it, then wait a moment for more, so that an event is visible soon after it is accepted."""

from __future__ import annotations

import time
from dataclasses import dataclass

from core.pipeline.drain import ShardDrain

WAIT_S = 2.0
# Longer than the wait itself; one that died while it waited is replaced after this.
CLAIM_MS = 3_000


@dataclass(frozen=True, slots=True)
class Followed:
    """How many events were applied, and whether the caller should see to it that the shard is followed on."""

    events: int
    is_to_go_on: bool


def follow_shard(drain: ShardDrain, wait_s: float = WAIT_S) -> Followed:
    """Drain, and look again for up to `wait_s`, outside any transaction. One process at a time waits on a shard."""
    drained = drain.drain()
    if drained.is_busy or drained.is_cut_short:
        return Followed(drained.events, is_to_go_on=drained.is_cut_short)
    if not drain.stream.claim_wait(drain.shard, CLAIM_MS):
        return Followed(drained.events, is_to_go_on=False)
    events = drained.events
    stop_at = time.monotonic() + wait_s
    try:
        while (left_ms := int((stop_at - time.monotonic()) * 1000)) > 0:
            if drain.stream.wait(drain.shard, left_ms):
                drained = drain.drain(wait_s)
                events += drained.events
                if drained.is_busy:
                    return Followed(events, is_to_go_on=False)
    finally:
        drain.stream.release_wait(drain.shard)
    return Followed(events, is_to_go_on=True)
