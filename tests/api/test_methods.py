"""A method that a path does not have is refused with all methods that it has."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "POST", "DELETE", "PATCH", "QUERY"])
def test_a_refused_method_names_all_that_the_path_has(api: TestClient, method: str) -> None:
    """For every path of the OpenAPI text; HEAD goes wherever GET does. Two templates may have one path in common."""
    paths, checked = api.get("/openapi.json").json()["paths"], 0
    for template in paths:
        path = template.replace("{shard}", "0")
        has = {name.upper() for other, about in paths.items() if _matches(other, path) for name in about}
        if method not in has:
            response = api.request(method, path)
            assert response.status_code == 405, (method, path)
            assert response.json() == {"detail": "Method Not Allowed"}
            assert set(response.headers["Allow"].split(", ")) == has | ({"HEAD"} if "GET" in has else set()), path
            checked += 1
    assert checked > 5


def _matches(template: str, path: str) -> bool:
    pattern = "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", template))
    return re.fullmatch(pattern, path) is not None
