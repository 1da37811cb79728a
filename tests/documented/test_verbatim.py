"""goals.md against the documentation, where that lies beside this repository."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

from tests.documented.goals import BLOCKS

SEED = Path(__file__).resolve().parents[3] / "shared" / "seeds" / "000_13302230c18007e4.txt"
SUM = "76165420dc5f8eb3f31626dd392ce01a6eb1fbf2c8d7a26f69d944b809172126"
CODE = re.compile(
    r"\bawait\b|\bimport\b|\bprint\(|\w\(\w+=| = |^\s*[{}\"]|^(GET|POST|PATCH|DELETE) /|^Response:|^Content-Type:"
)


@pytest.mark.skipif(not SEED.is_file(), reason="the documentation is not beside this repository (../shared/seeds)")
def test_every_block_is_there_and_nothing_else() -> None:
    """The blocks stand in the documentation in their order, white space aside, and leave no line of code behind."""
    text = SEED.read_text(encoding="utf-8")
    server_configs = [server_config for server_config, character in enumerate(text) if not character.isspace()]
    dense = "".join(text[server_config] for server_config in server_configs)
    left, done, rest = 0, 0, ""
    for name, block in BLOCKS.items():
        wanted = "".join(block.text.split())
        found = dense.find(wanted, done)
        assert found >= 0, name
        done = found + len(wanted)
        rest += text[left : server_configs[found]] + "\n"
        left = server_configs[done - 1] + 1
    rest += text[left:]
    assert [line for line in rest.splitlines() if CODE.search(line)] == []


def test_no_line_of_code_has_changed() -> None:
    """Where the documentation is not at hand, the lines of the blocks are those that were held against it last.

    One that is changed there is changed here too, and then the sum: the test above says whether the two agree.
    """
    lines = "".join(f"{section}/{heading}\n{block.text}" for (section, heading), block in BLOCKS.items())
    assert sha256(lines.encode()).hexdigest() == SUM


def test_each_block_has_a_heading_of_its_own() -> None:
    """Four blocks of the quick start, thirteen endpoints, three examples, and what lies between."""
    sections = [section for section, _ in BLOCKS]
    assert {section: sections.count(section) for section in sections} == {
        "Quick Start": 4,
        "Core Concepts": 11,
        "API Reference": 13,
        "Integration Patterns": 4,
        "Examples": 3,
        "Troubleshooting": 3,
    }
