"""What tests of deliveries share: a receiver, endpoints, messages to be sent, and a clock that they set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from core.delivery.addresses import AddressRules
from core.delivery.deliverer import Deliverer
from core.jobs.relay import relay
from core.providers.sealing import Sealer
from core.services.endpoints import EndpointDraft, add_endpoint
from core.settings import Settings
from core.store.database import Sessions
from core.store.outbox import Message, write_messages
from tests.conftest import NOW
from tests.delivery.receiver import Receiver, receiving

SECRETS_KEY = "a key of tests that seals the secrets"
AddEndpoint = Callable[..., tuple[str, str]]


@dataclass(slots=True)
class Clock:
    """The time, as a test sets it."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def passes(self, time: timedelta) -> None:
        """Let some time pass."""
        self.now += time


@pytest.fixture
def clock() -> Clock:
    """The clock of what delivers."""
    return Clock()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that answers 204."""
    with receiving() as found:
        yield found


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Settings that allow the receiver's address."""
    return Settings(
        database_url=database_url, secrets_key=SECRETS_KEY, endpoint_http=True, endpoint_networks="127.0.0.0/8"
    )


@pytest.fixture
def sealer() -> Sealer:
    """Seals the secrets of endpoints."""
    return Sealer([SECRETS_KEY])


@pytest.fixture
def deliverer(settings: Settings, session_factory: Sessions, sealer: Sealer, clock: Clock) -> Iterator[Deliverer]:
    """What delivers, by the test's clock."""
    made = Deliverer(session_factory, settings, sealer, lambda now: relay(session_factory, now).is_more, clock)
    yield made
    made.close()


@pytest.fixture
def endpoint(
    session_factory: Sessions, settings: Settings, sealer: Sealer, receiver: Receiver, clock: Clock
) -> AddEndpoint:
    """Makes an endpoint at a path of the receiver; returns its id and its secret."""

    def make(path: str = "/", tenant: str = "default", **about: object) -> tuple[str, str]:
        draft = EndpointDraft(receiver.url + path, **about)  # type: ignore[arg-type]
        rules = AddressRules.of(settings)
        with session_factory.begin() as session:
            view, made = add_endpoint(session, sealer, rules, tenant, draft, clock.now, actor="test")
        return view.endpoint.endpoint_id, made or str(about["secret"])

    return make


def write(
    sessions: Sessions, *names: str, at: datetime = NOW, type: str = "goal.changed", tenant: str = "default"
) -> None:
    """Write a message for each name, as if something had happened."""
    body = f'{{"type":"{type}","timestamp":"2026-03-10T12:00:00Z","data":{{}}}}'
    spelled = type.replace(".", "_")
    with sessions.begin() as session:
        write_messages(session, [Message(tenant, "g", f"{spelled}:{name}", type, "u", body, at, at) for name in names])
