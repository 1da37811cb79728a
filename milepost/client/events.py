"""Events: sent one by one, many at once, from a file, or as the body that a provider returned."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from os import PathLike
from uuid import uuid4

from milepost.client import arguments
from milepost.client.arguments import Moment, moment, optional_text, text
from milepost.client.batches import (
    NDJSON,
    AsyncFile,
    Batch,
    Event,
    Json,
    batches,
    encode_body,
    encode_event,
    name_event,
)
from milepost.client.errors import InvalidField, MilepostError
from milepost.client.records import Record
from milepost.client.resource import Resource
from milepost.client.transport import ApiRequest

EVENTS = ("events",)


class UnappliedEvent(Record):
    """An accepted event that has not been applied yet; docs/rest.md says what each `state` means and what to do.

    `shard` and `entry_id` are its place on the stream, None, like `accepted_at`, in the state other_currency. `id`,
    `source` and `type` are the event's own, None if they cannot be read; `deliveries` is how often a worker has tried
    it, `code` and `reason` why it was refused.
    """

    _NEEDED = "state"

    state: str
    shard: int | None
    entry_id: str | None
    accepted_at: datetime | None
    id: str | None
    source: str | None
    type: str | None
    deliveries: int | None
    code: str | None
    reason: str | None


class Accepted(Record):
    """How many events of a request are on disk."""

    _NEEDED = "accepted"

    accepted: int


class Events(Resource):
    """The events of one tenant: docs/events.md says what they state.

    An event is a dictionary, or its JSON as text or bytes. In a dictionary, decimals keep all their digits, a float is
    the number that it shows (0.1 + 0.2 is 0.3), and a datetime without a time zone is UTC. Each method that sends
    returns how many events are on disk; workers apply them a moment later. To send an event again changes nothing.
    """

    async def send_event(self, event: Event, *, strict: bool = False, idempotency_key: str | None = None) -> int:
        """Send one event. With `strict`, InvalidField is raised for one that could not take effect."""
        body, key = encode_event("event", event), arguments.idempotency_key(idempotency_key)
        try:
            return await self._post(body, arguments.query(strict=arguments.flag("strict", strict)), key)
        except MilepostError as error:
            name_event(error, 0, "event")
            raise

    async def send_events(
        self, events: Iterable[Event], *, strict: bool = False, idempotency_key: str | None = None
    ) -> int:
        """Send any number of events, in requests of at most 1,000 events and 4 MiB.

        If one is refused, none of its request is accepted; the error says which, counted from 0, and from where on none
        was. Sent again under the same key, with the same events, each is accepted once.
        """
        if isinstance(events, Mapping | bytes | str):
            raise InvalidField.of("events", "must be several events; send one by send_event")
        key = arguments.idempotency_key(idempotency_key) or str(uuid4())
        query = arguments.query(strict=arguments.flag("strict", strict))
        accepted = 0
        for batch in batches("event", enumerate(events)):
            accepted += await self._send_batch(batch, query, key)
        return accepted

    async def send_file(
        self,
        path: str | PathLike[str],
        *,
        strict: bool = False,
        on_progress: Callable[[int], None] | None = None,
        idempotency_key: str | None = None,
    ) -> int:
        """Send a file that has an event a line (NDJSON), of any length, as send_events does; empty lines are left out.

        `on_progress` is called after each request with the number of events accepted so far. If one is refused, the
        error says its line, and which lines were not accepted. Raises OSError for a file that cannot be read.
        """
        key = arguments.idempotency_key(idempotency_key) or str(uuid4())
        query = arguments.query(strict=arguments.flag("strict", strict))
        accepted = 0
        with AsyncFile(path) as file:
            async for batch in file:
                accepted += await self._send_batch(batch, query, key)
                if on_progress is not None:
                    on_progress(accepted)
        return accepted

    async def send_pulled(
        self,
        format: str,
        body: Json,
        *,
        pulled_at: datetime | str | None = None,
        account_id: str | None = None,
        user_id: str | None = None,
        currency: str | None = None,
        kind: str | None = None,
        complete_from: date | str | None = None,
        complete_through: date | str | None = None,
        idempotency_key: str | None = None,
    ) -> int:
        """Send what a provider returned: a `format` such as plaid-sync, and the body as it came, or parsed.

        The other arguments say what the body leaves out (docs/providers.md), `pulled_at` when it was pulled, and
        `complete_from` and `complete_through` of which days it holds all booked rows. Raises InvalidField, and nothing
        is accepted, if the body is not of the format or something that only you can say is missing.
        """
        query = arguments.query(
            format=text("format", format),
            pulled_at=moment("pulled_at", pulled_at),
            account_id=optional_text("account_id", account_id),
            user_id=optional_text("user_id", user_id),
            currency=optional_text("currency", currency),
            kind=optional_text("kind", kind),
            complete_from=moment("complete_from", complete_from),
            complete_through=moment("complete_through", complete_through),
        )
        key = arguments.idempotency_key(idempotency_key)
        return await self._post(encode_body("body", body), query, key, "application/json")

    async def list_unapplied(self, since: Moment | None = None) -> list[UnappliedEvent]:
        """The accepted events that have not been applied yet, all or those accepted `since` a moment.

        An event that is not listed has been applied.
        """
        query = arguments.query(since=moment("since", since))
        return UnappliedEvent.all_of(await self._list((*EVENTS, "unapplied"), query))

    async def _send_batch(self, batch: Batch, query: Mapping[str, str], key: str) -> int:
        """Send a batch, or its halves if it is longer than the server takes."""
        try:
            return await self._post(batch.body, query, batch.key(key))
        except MilepostError as error:
            halves = batch.halves() if isinstance(error, InvalidField) and error.is_too_long else []
            if not halves:
                batch.describe(error, key)
                raise
        return sum([await self._send_batch(half, query, key) for half in halves])

    async def _post(self, body: bytes, query: Mapping[str, str], key: str | None, content_type: str = NDJSON) -> int:
        request = ApiRequest("POST", EVENTS, query, body, content_type, key)
        return Accepted.of(await self._send(request)).accepted
