"""The bodies in docs/providers.md become the events that are listed below them."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from core.events.envelope import parse_json
from core.providers.contracts import Adapted
from core.providers.registry import PROVIDERS, Format, Provider, adapt, adapt_webhook
from tests.unit.providers.adapted import PULLED, context, values

PAGE = Path(__file__).resolve().parents[3] / "docs" / "providers.md"
EXAMPLE = re.compile(r"`POST /(\S+)` with\n\n```json\n(.*?)```\n\nbecomes\n\n```json\n(.*?)```", re.DOTALL)
EXAMPLES = EXAMPLE.findall(PAGE.read_text())


def adapted(request_line: str, body: object) -> Adapted:
    """What a body becomes that is posted to this address."""
    path, _, query = request_line.partition("?")
    if path != "events":
        return adapt_webhook(Provider(path.split("/")[1]), body, context())
    given = dict(parse_qsl(query, strict_parsing=True))
    assert datetime.fromisoformat(given.pop("pulled_at")) == PULLED
    return adapt(Format(given.pop("format")), body, context(**given))


def test_there_is_an_example_for_each_provider() -> None:
    """A page without its examples would prove nothing."""
    named = {word for request_line, _, _ in EXAMPLES for word in re.split(r"[^\w-]+", request_line)}
    for provider in PROVIDERS:
        assert not provider.formats or named & {provider.name, *provider.formats}, provider.name


@pytest.mark.parametrize(("request_line", "body", "events"), EXAMPLES)
def test_each_body_becomes_the_events_below_it(request_line: str, body: str, events: str) -> None:
    """Posted to the address that is written above it."""
    expected: Any = parse_json(events.encode())
    found = values(adapted(request_line, parse_json(body.encode())))
    assert [{"type": f"milepost.{type}", "data": data} for type, data in found] == expected
