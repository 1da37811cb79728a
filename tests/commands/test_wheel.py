"""The wheel contains the five packages of the product, and nothing that only tests or benchmarks use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
LABORATORY = ("bench", "chaos", "crash", "oracle")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files of a wheel that is built of this source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_has_the_five_packages_and_no_other(installed: list[str]) -> None:
    """Neither tests nor benchmarks nor examples are installed."""
    packages = {name.partition("/")[0] for name in installed if ".dist-info/" not in name}
    assert packages == {"api", "core", "milepost", "schedules", "worker"}


def test_the_wheel_has_no_chaos_and_no_benchmarks(installed: list[str]) -> None:
    """No module of the wheel is named like one of the chaos run or the benchmarks; `milepost latency` is included."""
    assert [name for name in installed if any(word in name for word in LABORATORY)] == []
    assert "milepost/ops/latency.py" in installed


def test_the_wheel_has_the_page_of_the_interface(installed: list[str]) -> None:
    """With Swagger UI, whose licence and version are beside it."""
    static = {name.removeprefix("api/static/") for name in installed if name.startswith("api/static/")}
    files = {
        "LICENSE",
        "NOTICE",
        "VERSION",
        "swagger-ui-bundle.js",
        "swagger-ui-bundle.js.LICENSE.txt",
        "swagger-ui.css",
    }
    assert {"docs.html", "docs.js", *(f"swagger-ui/{name}" for name in files)} <= static
