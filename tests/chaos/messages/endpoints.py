"""The endpoints of a run: each tenant has one for all messages, and one for what was reached."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.errors import MilepostError
from tests.chaos.messages.receiver import Receiver
from tests.chaos.operations.requests import Requests

_TYPES: Sequence[tuple[str, frozenset[str] | None]] = (
    ("all", None),
    ("reached", frozenset({"milestone.reached", "goal.reached"})),
)


class NoEndpoint(MilepostError):
    """An endpoint could not be made: there is nothing to check."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint, and the path that its messages come to. It gets what is announced after `made_at`.

    `types` are those that it takes; None: all.
    """

    tenant: str
    endpoint_id: str
    path: str
    types: frozenset[str] | None
    made_at: datetime

    def takes(self, message_type: str) -> bool:
        """Whether it takes messages of a type."""
        return self.types is None or message_type in self.types


def make_endpoints(tenant: str, requests: Requests, receiver: Receiver) -> list[Endpoint]:
    """Make the endpoints of a tenant over REST."""
    return [_make(tenant, name, types, requests, receiver) for name, types in _TYPES]


def _make(tenant: str, name: str, types: frozenset[str] | None, requests: Requests, receiver: Receiver) -> Endpoint:
    path, secret = f"/{tenant}/{name}", f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    # Before it is made: the first message may come before its answer.
    receiver.secrets[path] = secret
    body = {
        "url": receiver.url + path,
        "types": None if types is None else sorted(types),
        "description": name,
        "secret": secret,
    }
    status, made, _, ended_at = requests.send("POST", "/endpoints", body)
    if status != 201:
        raise NoEndpoint(f"an endpoint of {tenant} was answered {status}: {made}")
    return Endpoint(tenant, made["id"], path, types, ended_at)
