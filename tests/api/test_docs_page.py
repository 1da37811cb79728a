"""/docs works where there is no internet: all that it loads comes from this server, and nothing in it is inline."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

ADDRESS = re.compile(r'(?:src|href|url)\s*[=:]\s*"([^"]*)"')


def test_the_page_and_all_that_it_names_come(api: TestClient) -> None:
    """Without a key, under addresses that also fit behind a proxy that removes a prefix."""
    anyone = TestClient(api.app)
    page = anyone.get("/docs")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    named = ADDRESS.findall(page.text)
    assert len(named) == 4
    for address in (*named, *ADDRESS.findall(anyone.get("/docs/docs.js").text)):
        assert not address.startswith("/"), address
        answer = anyone.get(f"/{address}")
        assert (answer.status_code, len(answer.content) > 100) == (200, True), address
    assert anyone.get("/docs/swagger-ui-bundle.js.LICENSE.txt").status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/docs/docs.js"])
def test_no_other_server_is_named(api: TestClient, path: str) -> None:
    """Neither in the page nor in how it starts Swagger UI, which by itself would ask a validator on the internet."""
    text = api.get(path).text
    assert "//" not in re.sub(r"^// .*", "", text, flags=re.MULTILINE)
    assert "validatorUrl: null" in api.get("/docs/docs.js").text


def test_nothing_is_inline(api: TestClient) -> None:
    """A policy that lets in only what comes from here refuses inline scripts; the page says that it needs no more."""
    page = api.get("/docs")
    assert re.findall(r"<script[^>]*>(.*?)</script>", page.text, re.DOTALL) == ["", ""]
    assert not re.search(r"<style|\son\w+=|javascript:", page.text)
    assert page.headers["Content-Security-Policy"] == "default-src 'self'; img-src 'self' data:"


def test_a_browser_that_has_a_file_gets_it_once(api: TestClient) -> None:
    """The bundle has almost two megabytes."""
    first = api.get("/docs/swagger-ui-bundle.js")
    again = api.get("/docs/swagger-ui-bundle.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


@pytest.mark.parametrize("path", ["/docs/", "/docs/VERSION", "/docs/..%2fdocs.html", "/docs/swagger-ui/LICENSE"])
def test_nothing_else_is_there(api: TestClient, path: str) -> None:
    """Only what the page needs has an address."""
    assert api.get(path).status_code == 404
    assert api.post("/docs").headers["Allow"] == "GET, HEAD"
