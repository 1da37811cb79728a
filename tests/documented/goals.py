"""The documentation that Milepost implements: its blocks by section and heading, and what it shows of answers."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from numbers import Number
from pathlib import Path
from typing import Any

from tests.documented.page import Block, read_page

PATH = Path(__file__).parent / "goals.md"
BLOCKS = {(block.section, block.heading): block for block in read_page(PATH)}
IMPORT = {"from fin_infra.goals import": "from milepost import"}
"""The one edit that an application makes."""

# Their values are the server's own, so only their kind can be compared.
_FREE = frozenset({"id", "goal_id", "created_at", "updated_at", "reached_date"})
_LEFT_OUT = re.compile(r"(,\s*)?\.\.\.(?=\s*[}\]])")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT.*")


def block(section: str, heading: str) -> Block:
    """The block under a heading."""
    return BLOCKS[section, heading]


def import_edit(block: Block) -> Mapping[str, str]:
    """The edit of the import line, where a block has one."""
    return {written: instead for written, instead in IMPORT.items() if written in block.text}


def literal(text: str) -> Any:
    """A body as the documentation writes it: JSON or Python, with comments, and `...` for more of the same."""
    return ast.literal_eval(_LEFT_OUT.sub("", text.strip()))


@dataclass(frozen=True, slots=True)
class Response:
    """A documented answer: its status, when it comes, and its body."""

    status: int
    when: str
    body: Any


@dataclass(frozen=True, slots=True)
class Exchange:
    """A documented request, its body as it is written, and the answers it may have."""

    method: str
    target: str
    body: str
    responses: list[Response]

    def response(self, status: int) -> Response:
        """The answer of a status."""
        (found,) = (each for each in self.responses if each.status == status)
        return found


def exchange(heading: str) -> Exchange:
    """The request and the answers of an endpoint of the API reference."""
    request, *responses = re.split(r"^Response: ", block("API Reference", heading).text, flags=re.MULTILINE)
    line, _, rest = request.partition("\n")
    method, target = line.split(" ")
    return Exchange(method, target, rest.removeprefix("Content-Type: application/json\n"), [*map(_response, responses)])


def _response(text: str) -> Response:
    line, _, body = text.partition("\n")
    match = re.fullmatch(r"(\d{3}) ([^(]*?)(?: \((.*)\))?", line)
    assert match is not None, line
    assert HTTPStatus(int(match[1])).phrase == match[2]
    return Response(int(match[1]), match[3] or "", literal(body) if body else None)


def assert_as_documented(
    shown: Any, found: Any, *, free: Collection[str] = _FREE, server_config: str = "answer"
) -> None:
    """All that the documentation shows is found: the fields, the kinds of their values, and the values but for `free`.

    Times compare as instants, those without offset in UTC; amounts as numbers. What the documentation does not show may
    be there too.
    """
    if isinstance(shown, dict):
        assert isinstance(found, Mapping), f"{server_config}: {found!r}"
        for name, value in shown.items():
            assert name in found, f"{server_config} has no {name}"
            if name in free:
                assert _kind(value) == _kind(found[name]), f"{server_config}.{name}: {found[name]!r}"
            else:
                assert_as_documented(value, found[name], free=free, server_config=f"{server_config}.{name}")
    elif isinstance(shown, list):
        assert len(shown) == len(found), f"{server_config}: {found!r}"
        for number, (one, other) in enumerate(zip(shown, found, strict=True)):
            assert_as_documented(one, other, free=free, server_config=f"{server_config}[{number}]")
    else:
        assert (_kind(shown), _value(shown)) == (_kind(found), _value(found)), f"{server_config}: {found!r}"


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(type(value))
    if isinstance(value, Number):
        return "number"
    if isinstance(value, datetime) or _TIME.fullmatch(value):
        return "time"
    return "text"


def _value(value: Any) -> Any:
    if _kind(value) != "time":
        return value
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
