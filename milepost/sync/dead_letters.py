# Generated from milepost/client by `make sync-client`; change it there.
"""Dead letters: the events that could not take effect, and what to do about them."""

from typing import Any

from milepost.client import arguments
from milepost.client.arguments import Moment, moment, optional_text, segment, text
from milepost.client.dead_letters import DeadLetter, Replayed, WholeDeadLetter
from milepost.client.errors import NotFound
from milepost.sync.resource import Resource

DEAD_LETTERS = ("dead-letters",)


class DeadLetters(Resource):
    """The dead letters of one tenant."""

    def list_dead_letters(self, code: str | None = None, state: str | None = None) -> list[DeadLetter]:
        """All dead letters, or those with a code, in a state (waiting, replayed, discarded); the latest first."""
        query = arguments.query(code=optional_text("code", code), state=optional_text("state", state))
        return DeadLetter.all_of(self._list(DEAD_LETTERS, query))

    def get_dead_letter(self, shard: int, entry_id: str) -> WholeDeadLetter:
        """One dead letter with its event."""
        return WholeDeadLetter.of(self._read(_path(shard, entry_id)))

    def replay_dead_letter(
        self, shard: int, entry_id: str, *, again: bool = False, idempotency_key: str | None = None
    ) -> DeadLetter:
        """Put the event onto the stream again, as it came; if it fails again, it becomes a new dead letter.

        Raises Conflict for one that was replayed or discarded already, unless `again`.
        """
        query = arguments.query(again=arguments.flag("again", again))
        path = _path(shard, entry_id, "replay")
        return DeadLetter.of(self._change("POST", path, None, idempotency_key, query))

    def replay_dead_letters(
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
        return Replayed.of(self._change("POST", (*DEAD_LETTERS, "replay"), None, idempotency_key, query))

    def discard_dead_letter(
        self, shard: int, entry_id: str, reason: str, *, idempotency_key: str | None = None
    ) -> DeadLetter:
        """Give a dead letter up, for a reason that the audit keeps; it is deleted 90 days later."""
        body = {"reason": text("reason", reason)}
        return DeadLetter.of(self._change("POST", _path(shard, entry_id, "discard"), body, idempotency_key))


def _path(shard: Any, entry_id: Any, *below: str) -> tuple[str, ...]:
    """The path of a dead letter or of something below it; raises NotFound for what can be none."""
    if isinstance(shard, bool) or not isinstance(shard, int):
        raise NotFound.of("Dead letter", entry_id)
    return *DEAD_LETTERS, str(shard), segment("Dead letter", entry_id, slashes=False), *below
