"""Our plain top-level names: nobody else installs them."""

from __future__ import annotations

from importlib.metadata import packages_distributions

import pytest

OURS = ("api", "core", "milepost", "schedules", "worker", "tests", "examples")


@pytest.mark.parametrize("name", OURS)
def test_no_dependency_ships_our_name(name: str) -> None:
    """No installed package but ours puts a module of this name on the import path."""
    assert set(packages_distributions().get(name, [])) <= {"milepost"}
