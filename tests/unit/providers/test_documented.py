"""The bodies on docs/providers.md become the events that stand below them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from core.events.envelope import parse_json
from core.providers.contracts import Adapted
from core.providers.registry import Format, Provider, adapt, adapt_webhook
from tests.unit.providers.registered import context, values

PAGE = Path(__file__).resolve().parents[3] / "docs" / "providers.md"
EXAMPLE = re.compile(r"```json ([a-z]+=[^\n]*)\n(.*?)```\n+```json events\n(.*?)```", re.DOTALL)
EXAMPLES = EXAMPLE.findall(PAGE.read_text())


def adapted(words: str, body: object) -> Adapted:
    """What the body becomes with the words that stand at its block."""
    said = dict(word.split("=") for word in words.split())
    if "webhook" in said:
        return adapt_webhook(Provider(said["webhook"]), body, context())
    return adapt(Format(said.pop("format")), body, context(**said))


def test_there_is_an_example_for_each_provider() -> None:
    """A page without its examples would prove nothing."""
    assert [words.split()[0] for words, _, _ in EXAMPLES] == [
        "format=plaid-sync",
        "format=teller",
        "format=gocardless",
        "webhook=mx",
    ]


@pytest.mark.parametrize(("words", "body", "events"), EXAMPLES)
def test_each_body_becomes_the_events_below_it(words: str, body: str, events: str) -> None:
    """With `pulled_at` at noon of 10 March 2026."""
    expected: Any = parse_json(events.encode())
    registered = [
        {"type": f"milepost.{type}", "data": data} for type, data in values(adapted(words, parse_json(body.encode())))
    ]
    assert registered == expected
