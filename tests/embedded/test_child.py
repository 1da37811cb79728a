"""How long the supervisor waits before it starts an ended child again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from milepost.embedded import child
from milepost.embedded.child import Child

Eventually = Callable[[Callable[[], object], float], bool]


@pytest.mark.parametrize(
    ("lived_s", "waits_s"),
    [(1.0, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]), (6.0, [0.5, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0]), (31.0, [0.5, 0.5, 0.5])],
)
def test_one_that_ran_well_comes_back_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually, lived_s: float, waits_s: list[float]
) -> None:
    """A child that ends at once waits longer each time; one that ran for five seconds is restarted within two."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(child, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(child, "MARKER", ("-I", "-S"))
    said: list[str] = []
    one = Child("one", ["-c", "pass"], tmp_path, tmp_path / "log", {})
    one.start()
    for wait_s in waits_s:
        assert eventually(one.has_ended, 10)
        clock.now += lived_s
        assert not one.check(said.append)
        clock.now += wait_s
        assert one.check(said.append)
    one.kill_group()
    found = [re.search(r"again in (\S+) s", line) for line in said]
    assert [float(match[1]) for match in found if match] == waits_s
