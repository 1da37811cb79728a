"""docs/python.md: every block runs as it stands, and prints what its comments say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import make_app
from core.settings import Settings
from milepost import Interface
from tests.conftest import KEY
from tests.documented.page import Reader, read_page
from tests.serving import serving

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "python.md"
BLOCKS = read_page(PAGE)
README = [block for block in read_page(ROOT / "README.md") if block.language == "python"]
PRINTED = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
def server(database_url: str, redis_url: str) -> Iterator[str]:
    """The address of a real API on the database that the page uses."""
    with serving(make_app(Settings(database_url=database_url, redis_url=redis_url, log_level="ERROR"))) as url:
        yield url


def test_the_page_is_a_program(reader: Reader, server: str) -> None:
    """From the first block to the last, each prints what it says."""
    for block in BLOCKS:
        assert block.language == "python"
        edits = {ADDRESS: server, "mp_...": KEY} if ADDRESS in block.text else {}
        assert reader.run(block, edits) == PRINTED.findall(block.text), block.section
    assert sum(len(PRINTED.findall(block.text)) for block in BLOCKS) > 20
    with TestClient(reader.names["app"]) as client:
        refused = client.get("/goals")
        assert (refused.status_code, refused.json()) == (403, {"detail": "Sign in first"})
        assert len(client.get("/goals", headers={"X-Session": "let-me-in"}).json()) == 3


def test_the_readme_prints_what_it_says(reader: Reader) -> None:
    """Its one block of Python runs as it stands."""
    (block,) = README
    assert reader.run(block) == PRINTED.findall(block.text) != []


def test_the_page_names_every_method() -> None:
    """The table of the page has the methods that a manager has, no more and no less."""
    table = PAGE.read_text(encoding="utf-8").partition("## The manager\n")[2].strip().partition("\n\n")[0]
    named = set(re.findall(r"`([a-z_]+)", table))
    assert named == {name for name in dir(Interface) if not name.startswith("_")}
