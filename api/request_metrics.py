"""The figures of HTTP requests: how many, with which answer, and how long they took, in this process."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import Metric

SECONDS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# What a caller makes up must not become a series of its own.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"
NO_ROUTE = "none"


class RequestMetrics:
    """Counts requests by route template, method and status. Of each process its own; the sum is the scraper's."""

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
            "Time from a request's arrival to the end of its answer.",
            ("route", "method"),
            buckets=SECONDS_BOUNDS,
            registry=self._registry,
        )

    def note(self, method: str, route: str | None, status: int | None, seconds: float) -> None:
        """Count one request; `route` is the template, None where no route matched."""
        name, verb = route or NO_ROUTE, method if method in _METHODS else _OTHER
        self._requests.labels(name, verb, str(status or _OTHER)).inc()
        self._seconds.labels(name, verb).observe(seconds)

    def families(self) -> Iterable[Metric]:
        """The metric families, without the moments at which each series began, which nobody reads."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
