"""What every request gets: an id, one log line, its metrics, and a plain 500 if we failed."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from time import perf_counter
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.limits import LimitState
from api.schemas.rendering import ExactResponse

SECONDS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# A method that a caller invents must not become a series of its own.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"
NO_ROUTE = "none"
CLIENT_WENT_AWAY = 499
_STREAM = b"text/event-stream"
_LOGGABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestMetrics:
    """Counts requests by route template, method and status, and refused bodies of events by what was wrong.

    Processes that `milepost api --processes` starts count together; whoever scrapes several machines sums them.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "milepost_http_requests",
            "Requests answered by this process.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "milepost_http_request_seconds",
            "Time from a request's arrival to the end of its answer, of a stream to its beginning.",
            ("route", "method"),
            buckets=SECONDS_BOUNDS,
            registry=self._registry,
        )
        # To look a series up by its labels takes the library longer than to count.
        self._series: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._listeners = Gauge(
            "milepost_stream_listeners",
            "Open GET /messages/stream of this process.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._refused_events = Counter(
            "milepost_events_refused",
            "Bodies of POST /events that were refused, by what was wrong.",
            ("reason",),
            registry=self._registry,
        )

    def note(self, method: str, route: str | None, status: int | None, seconds: float) -> None:
        """Count one request; `route` is the template, None where no route matched."""
        name, verb = route or NO_ROUTE, method if method in _METHODS else _OTHER
        counted = name, verb, str(status or _OTHER)
        if counted not in self._series:
            self._series[counted] = self._requests.labels(*counted), self._seconds.labels(name, verb)
        requests, took = self._series[counted]
        requests.inc()
        took.observe(seconds)

    def note_refused_events(self, reason: str) -> None:
        """Count one refused body of events."""
        self._refused_events.labels(reason).inc()

    def note_listeners(self, count: int) -> None:
        """Set how many streams of messages are open."""
        self._listeners.set(count)

    def families(self) -> Iterable[Metric]:
        """The metric families, without the `_created` samples (when each series began), which nobody reads."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            # One of several processes: the sums of all, from the files in which the library counts then.
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        for family in registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class Tracing:
    """Our outermost middleware: it logs, counts, and answers a 500 where nothing else answered."""

    def __init__(self, app: ASGIApp, log: structlog.typing.FilteringBoundLogger, metrics: RequestMetrics) -> None:
        self.app = app
        self.log = log
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace = _Trace(_request_id(scope), send, scope.setdefault("state", {}))
        try:
            await self.app(scope, receive, trace.forward)
        except ClientDisconnect:
            trace.status = CLIENT_WENT_AWAY
        except Exception:  # the process edge: any traceback goes to the log, never to the caller
            self.log.exception("request failed", request_id=trace.request_id, route=_route(scope))
            await self._answer_500(trace, scope, receive)
        self.metrics.note(scope["method"], _route(scope), trace.status, trace.counted_s)
        self.log.info("request", **_line(trace, scope))

    async def _answer_500(self, trace: _Trace, scope: Scope, receive: Receive) -> None:
        if trace.status is not None:
            return  # the answer is partly sent; the server notices that its end is missing
        body = {"detail": "Internal error", "request_id": trace.request_id}
        await ExactResponse(body, status_code=500)(scope, receive, trace.forward)


def request_log(level: str) -> structlog.typing.FilteringBoundLogger:
    """JSON lines on standard error. Tracebacks come without local values, which could be keys or amounts."""
    log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        _Output(),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
    )
    return log


class _Output:
    """Standard error as it is when a line is written, since whatever runs us may redirect it."""

    def info(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    error = info


@dataclass(slots=True)
class _Trace:
    """One request in progress."""

    request_id: str
    send: Send
    state: Mapping[str, Any]
    started_s: float = field(default_factory=perf_counter)
    status: int | None = None
    # Of an answer that has no end of its own: how long it took may be anything.
    stream_began_s: float | None = None

    @property
    def counted_s(self) -> float:
        """How long the answer took, for the metrics."""
        return (self.stream_began_s or perf_counter()) - self.started_s

    async def forward(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"]
            headers += (b"x-request-id", self.request_id.encode()), (b"x-content-type-options", b"nosniff")
            if any(name == b"content-type" and value.startswith(_STREAM) for name, value in headers):
                self.stream_began_s = perf_counter()
            if all(name != b"cache-control" for name, _ in headers):
                # Amounts of people: no cache that several people use may keep them, and a browser has to ask each time.
                headers.append((b"cache-control", b"private, no-cache"))
            limit: LimitState | None = self.state.get("rate_limit")
            if limit is not None:
                headers += [(name.lower().encode(), value.encode()) for name, value in limit.headers.items()]
        await self.send(message)


def _request_id(scope: Scope) -> str:
    """The caller's own id if a log can hold it, so that both sides find the request under the same id."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return given if _LOGGABLE_ID.fullmatch(given) else token_hex(16)


def _line(trace: _Trace, scope: Scope) -> dict[str, Any]:
    caller = scope["state"].get("caller")
    line = {
        "request_id": trace.request_id,
        "method": scope["method"],
        "route": _route(scope),
        "status": trace.status,
        "ms": round((perf_counter() - trace.started_s) * 1000, 1),
        "tenant": caller.tenant.name if caller else None,
        "key_id": caller.key_id if caller else None,
    }
    cause = scope["state"].get("milepost_cause")
    return {**line, "cause": cause} if cause else line


def _route(scope: Scope) -> str | None:
    """The template, such as /goals/{goal_id}: raw paths hold ids and whatever else callers put there."""
    return getattr(scope.get("route"), "path", None)
