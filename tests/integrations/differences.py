"""Where the documentation calls svc-infra and fin-infra otherwise than they are, tried piece by piece."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.documented.page import Block, Reader

# Where a module lies on this machine.
_PLACE = re.compile(r" \(/[^)]*\)$")

Tell = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """A documented piece of code that does not do there what is documented, and the code that does.

    Written as it is, the block raises `error`; or runs, and `symptom` says from its names what is wrong, None if
    nothing is.
    """

    package: str
    written: str
    instead: str
    error: type[Exception] | None = None
    symptom: Callable[[Mapping[str, Any]], str | None] | None = None


def run_with_each(
    reader: Reader,
    block: Block,
    given: Mapping[str, Any],
    edits: Mapping[str, str],
    differences: list[Difference],
    tell: Tell,
) -> list[str]:
    """Run a block with all differences made good, after each one was left as documented and found wanting.

    `given` are the names that the block takes as given, `edits` those of its placeholders. Returns the lines printed.
    """
    for missing in differences:
        others = {each.written: each.instead for each in differences if each is not missing}
        reader.names |= given
        reason = _reason(reader, block, {**edits, **others}, missing)
        tell(missing.package, f"{_short(missing.written)}: {reason}. There it is: {_short(missing.instead)}")
    reader.names |= given
    return reader.run(block, {**edits, **{each.written: each.instead for each in differences}})


def _reason(reader: Reader, block: Block, edits: Mapping[str, str], missing: Difference) -> str:
    if missing.error is not None:
        with pytest.raises(missing.error) as caught:
            reader.run(block, edits)
        text = _PLACE.sub("", str(caught.value).splitlines()[0]).rstrip(".")
        return f"{type(caught.value).__name__}: {text}"
    reader.run(block, edits)
    assert missing.symptom is not None
    found = missing.symptom(reader.names)
    assert found is not None, f"{missing.written} is as documented"
    return found


def _short(code: str) -> str:
    return " ".join(code.split())
