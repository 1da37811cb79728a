"""Reading a scrape of GET /metrics, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from api.app import make_app
from core.settings import Settings

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(client: TestClient) -> Figures:
    """Every sample of a scrape by its name and labels, as Prometheus reads them."""
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def one(stats: Figures, name: str, **labels: str) -> float:
    """One sample."""
    return stats[f"milepost_{name}", tuple(sorted(labels.items()))]


def names(stats: Figures) -> set[str]:
    """The names of all samples without the project's own in front."""
    return {name.removeprefix("milepost_") for name, _ in stats}


@contextmanager
def elsewhere(settings: Settings, secret: str, **urls: str) -> Iterator[TestClient]:
    """An API of its own, with another address for a server."""
    given = {"database_url": settings.database_url, "redis_url": settings.redis_url}
    known = {name: url.get_secret_value() for name, url in given.items() if url is not None}
    with TestClient(make_app(Settings(**(known | urls)))) as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        yield client
