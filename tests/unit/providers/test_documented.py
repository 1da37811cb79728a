"""The bodies in docs/providers.md become the events that are listed below them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from core.events.envelope import parse_json
from core.providers.contracts import Adapted
from core.providers.registry import PROVIDERS, Format, Provider, adapt, adapt_webhook
from tests.unit.providers.adapted import context, values

PAGE = Path(__file__).resolve().parents[3] / "docs" / "providers.md"
EXAMPLE = re.compile(r"```json ([a-z]+=[^\n]*)\n(.*?)```\n+```json events\n(.*?)```", re.DOTALL)
EXAMPLES = EXAMPLE.findall(PAGE.read_text())


def adapted(options: str, body: object) -> Adapted:
    """What the body becomes with the options after `json` at the top of its block."""
    given = dict(option.split("=") for option in options.split())
    if "webhook" in given:
        return adapt_webhook(Provider(given["webhook"]), body, context())
    return adapt(Format(given.pop("format")), body, context(**given))


def test_there_is_an_example_for_each_provider() -> None:
    """A page without its examples would prove nothing."""
    named = {option.partition("=")[2] for options, _, _ in EXAMPLES for option in options.split()}
    for provider in PROVIDERS:
        assert not provider.formats or named & {provider.name, *provider.formats}, provider.name


@pytest.mark.parametrize(("options", "body", "events"), EXAMPLES)
def test_each_body_becomes_the_events_below_it(options: str, body: str, events: str) -> None:
    """With `pulled_at` at noon of 10 March 2026."""
    expected: Any = parse_json(events.encode())
    found = [
        {"type": f"milepost.{type}", "data": data} for type, data in values(adapted(options, parse_json(body.encode())))
    ]
    assert found == expected
