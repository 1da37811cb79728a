"""The demo's receiver of messages: an endpoint of its own on loopback, and a line on the terminal for each message."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Lock, Thread
from typing import Any

import psycopg
import simplejson

from core.delivery.addresses import AddressRules
from core.delivery.signatures import make_secret
from core.errors import MilepostError
from core.goals.goal import GoalType
from core.messages.types import MessageType
from core.providers.standard import verify
from core.providers.webhooks import Delivery, SignatureRefused
from core.services.endpoints import EndpointDraft, add_endpoint, list_endpoints, remove_endpoint
from core.services.webhooks import sealer_of
from core.settings import Settings
from core.store.database import Sessions
from core.store.driver import Session
from core.store.tenants import DEFAULT, lock_tenant
from milepost.cli.dead_letters import printable

DESCRIPTION = "the receiver of the demo"
_SETTINGS = {"ENDPOINT_HTTP": "true", "ENDPOINT_NETWORKS": "127.0.0.1"}
_TYPES = (MessageType.MILESTONE_REACHED, MessageType.GOAL_REACHED, MessageType.GOAL_COMPLETED)
_ACTOR = "demo"
_BODY_MOST_BYTES = 65_536
_IDS_KEPT = 1_000

Say = Callable[[str], None]


def missing_settings(settings: Settings) -> dict[str, str]:
    """What the demo's processes need for the receiver to be an endpoint, but for what the user has set.

    The names are without their prefix.
    """
    return {name: value for name, value in _SETTINGS.items() if name.lower() not in settings.model_fields_set}


@contextmanager
def receiving(sessions: Sessions, settings: Settings, say: Say) -> Iterator[None]:
    """Receive messages while the block runs. If there can be no endpoint, that is said and the block runs without.

    The endpoint is removed at the end. One that a killed process has left is replaced by the next.
    """
    secret = make_secret()
    with _serving(_Inbox(secret, say)) as url:
        try:
            _replace_endpoint(sessions, settings, url, secret)
        except MilepostError as error:
            say(f"demo: it receives no messages: {error}")
        else:
            say(f"demo: its receiver at {url} prints its messages; about every minute a milestone is reached")
        try:
            yield
        finally:
            with suppress(psycopg.Error), sessions.begin() as session:
                _remove_endpoint(session, datetime.now(UTC))


def describe(body: Mapping[str, Any]) -> str:
    """A message in one line: its type, and what it says."""
    kind, data = body["type"], body["data"]
    user_id, name, currency = data.get("user_id"), data.get("name"), data.get("currency")
    match kind:
        case MessageType.MILESTONE_REACHED if data["type"] == GoalType.DEBT:
            what = f"is down to {_amount(data['milestone_amount'])} {currency}"
        case MessageType.MILESTONE_REACHED:
            what = f"reached {_amount(data['milestone_amount'])} of {_amount(data['target_amount'])} {currency}"
        case MessageType.GOAL_REACHED:
            what = f"is reached, at {_amount(data['current_amount'])} {currency}"
        case MessageType.GOAL_COMPLETED:
            what = f"is completed, at {_amount(data['current_amount'])} {currency}"
        case _:
            what = ""
    about = f"{user_id}: {name} {what}".rstrip() if name else "a test" if kind == MessageType.ENDPOINT_PING else ""
    return printable(f"message  {kind}  {about}".rstrip())


class _Inbox:
    """Takes what is posted, from any thread: says each message that is signed with the secret."""

    def __init__(self, secret: str, say: Say) -> None:
        self._secret, self._say = secret, say
        self._seen: dict[str, None] = {}
        self._lock = Lock()

    def take(self, delivery: Delivery) -> int:
        """The HTTP status of the answer."""
        try:
            verify(delivery, [self._secret])
        except SignatureRefused:
            return 401
        line = describe(simplejson.loads(delivery.body, use_decimal=True))
        self._say(line + (" (sent again)" if self._came_before(delivery.header("webhook-id")) else ""))
        return 204

    def _came_before(self, message_id: str) -> bool:
        with self._lock:
            came_before = message_id in self._seen
            self._seen[message_id] = None
            if len(self._seen) > _IDS_KEPT:
                del self._seen[next(iter(self._seen))]
            return came_before


# Not HTTPServer, which looks up the name of its address: that may take seconds.
class _Server(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, inbox: _Inbox) -> None:
        self.inbox = inbox
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: _Server

    def do_POST(self) -> None:
        length = self.headers["content-length"] or ""
        if not length.isdecimal() or int(length) > _BODY_MOST_BYTES:
            self.close_connection = True
            self._answer(413 if length.isdecimal() else 411)
            return
        body = self.rfile.read(int(length))
        headers = [(name.lower(), value) for name, value in self.headers.items()]
        self._answer(self.server.inbox.take(Delivery(body, headers, datetime.now(UTC))))

    def log_message(self, *_: object) -> None:
        """Nothing: the log is for the terminal."""

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def _serving(inbox: _Inbox) -> Iterator[str]:
    """Serve on a free port while the block runs; gives the address."""
    with _Server(inbox) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()


def _replace_endpoint(sessions: Sessions, settings: Settings, url: str, secret: str) -> None:
    draft = EndpointDraft(url, _TYPES, DESCRIPTION, secret=secret)
    now = datetime.now(UTC)
    with sessions.begin() as session:
        _remove_endpoint(session, now)
        add_endpoint(session, sealer_of(settings), AddressRules.of(settings), DEFAULT, draft, now, actor=_ACTOR)


def _remove_endpoint(session: Session, now: datetime) -> None:
    lock_tenant(session, DEFAULT)
    for view in list_endpoints(session, DEFAULT):
        if view.endpoint.description == DESCRIPTION:
            remove_endpoint(session, DEFAULT, view.endpoint.endpoint_id, now, actor=_ACTOR)


def _amount(value: Decimal | int) -> str:
    return f"{value:,}"
