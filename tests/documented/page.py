"""Blocks of code out of a Markdown page, run as they stand there."""

from __future__ import annotations

import ast
import inspect
import io
import re
from asyncio import Runner
from collections.abc import Coroutine, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HEADING = re.compile(r"^(##|###) (.*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: the section and the heading it stands under, its language, and its text at `line`."""

    path: Path
    section: str
    heading: str
    language: str
    line: int
    text: str

    def edited(self, edits: Mapping[str, str]) -> str:
        """The text with each of `edits` made; what is replaced must be there."""
        text = self.text
        for written, instead in edits.items():
            assert written in text, f"{self.heading} has no {written!r}"
            text = text.replace(written, instead)
        return text


@dataclass(slots=True)
class Reader:
    """Runs blocks as one program: they share the namespace `names` and one event loop. Keeps the lines last printed."""

    runner: Runner
    names: dict[str, Any]
    printed: list[str] = field(default_factory=list)

    def run(self, block: Block, edits: Mapping[str, str] | None = None) -> list[str]:
        """Run a block of Python, whose awaits may stand at the top level; the lines it prints.

        Tracebacks show the place in the page.
        """
        source = "\n" * (block.line - 1) + block.edited(edits or {})
        code = compile(source, str(block.path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        with redirect_stdout(io.StringIO()) as output:
            try:
                outcome = eval(code, self.names)
                if code.co_flags & inspect.CO_COROUTINE:
                    self.runner.run(outcome)
            finally:
                self.printed = output.getvalue().splitlines()
        return self.printed

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine comes to."""
        return self.runner.run(coroutine)


def read_page(path: Path) -> list[Block]:
    """The blocks of a Markdown file, in their order."""
    found = []
    section = heading = language = ""
    first, lines = 0, None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if lines is not None and line == "```":
            found.append(Block(path, section, heading, language, first, "".join(f"{each}\n" for each in lines)))
            lines = None
        elif lines is not None:
            lines.append(line)
        elif line.startswith("```"):
            language, lines, first = line.removeprefix("```"), [], number + 1
        elif heads := _HEADING.match(line):
            section, heading = (heads[2], "") if heads[1] == "##" else (section, heads[2])
    assert lines is None, f"{path} ends within a block"
    return found
