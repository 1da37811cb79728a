"""Endpoints: the addresses to which messages are delivered, their tests, attempts and recovery."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Unpack

from milepost.client import arguments
from milepost.client.arguments import EndpointChanges, moment, optional_text, segment, text
from milepost.client.records import Record
from milepost.client.resource import Resource

ENDPOINTS = ("endpoints",)


class Endpoint(Record):
    """An address to which messages are delivered; `types` None: all of them. `secret` is there once, if it was made."""

    _NEEDED = "url"

    id: str
    url: str
    description: str | None
    types: list[str] | None
    rate: int | None
    enabled: bool
    disabled_reason: str | None
    disabled_at: datetime | None
    failing_since: datetime | None
    pending: int
    secrets: int
    created_at: datetime
    changed_at: datetime
    secret: str | None = None


class DeliveryAttempt(Record):
    """One attempt to deliver a message: `status` of the answer, or `error`; `delivery` is what became of it by now."""

    _NEEDED = "attempt"

    message_id: str
    type: str | None
    attempt: int
    at: datetime
    status: int | None
    error: str | None
    latency_ms: int
    answer: str
    delivery: str
    next_at: datetime | None


class Endpoints(Resource):
    """The endpoints of one tenant: docs/messages.md. The key needs the scope admin."""

    async def create_endpoint(
        self,
        url: str,
        *,
        types: str | Iterable[str] | None = None,
        description: str | None = None,
        rate: int | None = None,
        enabled: bool = True,
        secret: str | None = None,
        idempotency_key: str | None = None,
    ) -> Endpoint:
        """Make an endpoint, for some types or all; its `secret`, unless you bring one, cannot be read again."""
        body = arguments.endpoint_changes(
            {"url": url, "types": types, "description": description, "rate": rate, "enabled": enabled}
        )
        body["secret"] = optional_text("secret", secret)
        return Endpoint.of(await self._change("POST", ENDPOINTS, body, idempotency_key))

    async def list_endpoints(self) -> list[Endpoint]:
        """All endpoints, the oldest first."""
        return Endpoint.all_of(await self._read(ENDPOINTS))

    async def get_endpoint(self, endpoint_id: str) -> Endpoint:
        """One endpoint."""
        return Endpoint.of(await self._read(_path(endpoint_id)))

    async def update_endpoint(
        self, endpoint_id: str, *, idempotency_key: str | None = None, **changes: Unpack[EndpointChanges]
    ) -> Endpoint:
        """Change what is given; None clears what may be None. `enabled=True` enables it again."""
        body = arguments.endpoint_changes(changes)
        return Endpoint.of(await self._change("PATCH", _path(endpoint_id), body, idempotency_key))

    async def delete_endpoint(self, endpoint_id: str, *, idempotency_key: str | None = None) -> None:
        """Delete an endpoint with its secrets, and what was to be delivered to it."""
        await self._change("DELETE", _path(endpoint_id), None, idempotency_key)

    async def rotate_secret(
        self,
        endpoint_id: str,
        *,
        secret: str | None = None,
        overlap_hours: int = 24,
        idempotency_key: str | None = None,
    ) -> Endpoint:
        """Give an endpoint a new secret, made or brought; the old ones sign too for `overlap_hours`."""
        body = {
            "secret": optional_text("secret", secret),
            "overlap_hours": arguments.whole_number("overlap_hours", overlap_hours),
        }
        return Endpoint.of(await self._change("POST", _path(endpoint_id, "rotate"), body, idempotency_key))

    async def ping_endpoint(self, endpoint_id: str, *, idempotency_key: str | None = None) -> str:
        """Send a test message; returns its id, by which `list_attempts` finds what was answered."""
        answer: Any = await self._change("POST", _path(endpoint_id, "ping"), None, idempotency_key)
        return str(answer["message_id"])

    async def resend_message(self, endpoint_id: str, message_id: str, *, idempotency_key: str | None = None) -> None:
        """Send one announced message to an endpoint, also if it has it already."""
        body = {"message_id": text("message_id", message_id)}
        await self._change("POST", _path(endpoint_id, "resend"), body, idempotency_key)

    async def recover_endpoint(
        self,
        endpoint_id: str,
        since: datetime | str,
        until: datetime | str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> int:
        """Send what was announced from `since` up to `until` (now) and the endpoint did not get; returns how many."""
        body = {"since": moment("since", since), "until": moment("until", until)}
        answer: Any = await self._change("POST", _path(endpoint_id, "recover"), body, idempotency_key)
        return int(answer["messages"])

    async def list_attempts(self, endpoint_id: str, message_id: str | None = None) -> list[DeliveryAttempt]:
        """All attempts to deliver to an endpoint, or those of one message, the newest first."""
        query = arguments.query(message_id=optional_text("message_id", message_id))
        return DeliveryAttempt.all_of(await self._list(_path(endpoint_id, "attempts"), query))


def _path(endpoint_id: Any, *rest: str) -> tuple[str, ...]:
    """The path of an endpoint; raises NotFound for what can be none."""
    return *ENDPOINTS, segment("Endpoint", endpoint_id, slashes=False), *rest
