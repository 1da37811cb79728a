"""Dead letters: the events that could not take effect, and what to do about them."""

from datetime import datetime
from typing import Any, Self

from milepost.client import arguments
from milepost.client.arguments import Moment, moment, optional_text, segment, text
from milepost.client.errors import NotFound
from milepost.client.records import Record
from milepost.client.resource import Resource

DEAD_LETTERS = ("dead-letters",)


class DeadLetter(Record):
    """An event that could not take effect, without the event; `shard` and `entry_id`, its place, identify it.

    `code` is from a fixed list, `reason` is for a person, and `state` is waiting, replayed or discarded.
    """

    _NEEDED = "entry_id"

    shard: int
    entry_id: str
    code: str
    reason: str
    state: str
    event_bytes: int
    arrived_at: datetime
    recorded_at: datetime
    replayed_at: datetime | None
    discarded_at: datetime | None


class WholeDeadLetter(DeadLetter):
    """A dead letter with its event: in `event` if that is JSON, else in `event_base64`; the other one is None."""

    event: Any
    event_base64: str | None

    @classmethod
    def of(cls, body: object) -> Self:
        """As Record.of."""
        record = super().of(body)
        for name in ("event", "event_base64"):
            record.setdefault(name, None)
        return record


class Replayed(Record):
    """How many dead letters are on the stream again, and how many recorded up to `until` still wait."""

    _NEEDED = "replayed"

    replayed: int
    left: int
    until: datetime | None


class DeadLetters(Resource):
    """The dead letters of one tenant."""

    async def list_dead_letters(self, code: str | None = None, state: str | None = None) -> list[DeadLetter]:
        """All dead letters, or those with a code, in a state (waiting, replayed, discarded); the latest first."""
        query = arguments.query(code=optional_text("code", code), state=optional_text("state", state))
        return DeadLetter.all_of(await self._list(DEAD_LETTERS, query))

    async def get_dead_letter(self, shard: int, entry_id: str) -> WholeDeadLetter:
        """One dead letter with its event."""
        return WholeDeadLetter.of(await self._read(_path(shard, entry_id)))

    async def replay_dead_letter(
        self, shard: int, entry_id: str, *, again: bool = False, idempotency_key: str | None = None
    ) -> DeadLetter:
        """Put the event onto the stream again, as it came; if it fails again, it becomes a new dead letter.

        Raises Conflict for one that was replayed or discarded already, unless `again`.
        """
        query = arguments.query(again=arguments.flag("again", again))
        path = _path(shard, entry_id, "replay")
        return DeadLetter.of(await self._change("POST", path, None, idempotency_key, query))

    async def replay_dead_letters(
        self, code: str, until: Moment | None = None, limit: int | None = None, *, idempotency_key: str | None = None
    ) -> Replayed:
        """Replay the oldest waiting dead letters with a code: 100 unless `limit` says otherwise, at most 1,000.

        Go on with the `until` of what was returned, until `left` is 0.
        """
        query = arguments.query(
            code=text("code", code),
            until=moment("until", until),
            limit=None if limit is None else arguments.whole_number("limit", limit),
        )
        return Replayed.of(await self._change("POST", (*DEAD_LETTERS, "replay"), None, idempotency_key, query))

    async def discard_dead_letter(
        self, shard: int, entry_id: str, reason: str, *, idempotency_key: str | None = None
    ) -> DeadLetter:
        """Give a dead letter up, for a reason that the audit keeps; it is deleted 90 days later."""
        body = {"reason": text("reason", reason)}
        return DeadLetter.of(await self._change("POST", _path(shard, entry_id, "discard"), body, idempotency_key))


def _path(shard: Any, entry_id: Any, *below: str) -> tuple[str, ...]:
    """The path of a dead letter or of something below it; raises NotFound for what can be none."""
    if isinstance(shard, bool) or not isinstance(shard, int):
        raise NotFound.of("Dead letter", entry_id)
    return *DEAD_LETTERS, str(shard), segment("Dead letter", entry_id, slashes=False), *below
