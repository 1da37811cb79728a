"""Following a list from page to page, for tests."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient


def walk(api: TestClient, first: str) -> list[list[Any]]:
    """The items of each page, from the address of the first one on; an account's are its allocations."""
    pages, following = [], first
    while following:
        response = api.get(following)
        assert response.status_code == 200, response.text
        body = response.json()
        pages.append(body["allocations"] if isinstance(body, dict) else body)
        following = response.links.get("next", {}).get("url", "")
    return pages


def refused_fields(response: Any) -> list[list[str]]:
    """Which fields a 422 names; none for any other answer."""
    problems = response.json()["errors"] if response.status_code == 422 else []
    return [problem["loc"] for problem in problems]
