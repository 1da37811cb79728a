"""`scripts/install.py`: uv installs as pip is configured to, and pip does where uv can't."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from scripts import install

# Stands in for the packages uv and pip: prints its name, and fails if FAILS contains it.
STAND_IN = """import os, sys
name = os.path.basename(os.path.dirname(__file__))
if "config" in sys.argv: sys.exit(print("global.no-index='true'"))
step = "fetch" if "uv" in sys.argv else name
print(f"{step}:", *sys.argv[-5:], flush=True)
sys.exit(step in os.environ["FAILS"])
"""
SETTINGS = """\
:env:.find-links='/wheels /more'
:env:.default-timeout='90'
global.cert='/certificates.crt'
global.constraint='/caps.txt /more.txt'
global.find-links='/other'
global.index-url='https://mirror.example/simple'
install.index-url='https://user:secret@mirror.example/simple'
install.no-cache-dir='true'
list.format='json'
"""


def wheel(folder: Path, version: str) -> None:
    """A wheel of the package `mp-trial`, as an index shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"mp_trial-{version}-py3-none-any.whl"
    about = f"mp_trial-{version}.dist-info"
    with ZipFile(folder / name, "w") as file:
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: mp-trial\nVersion: {version}\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
    links = "".join(f'<a href="{each.name}">{each.name}</a>' for each in folder.glob("*.whl"))
    (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")


def test_settings_are_those_that_pip_uses_for_an_install() -> None:
    """Settings for installs win over settings for all commands, and the environment wins over both."""
    found = install.read_settings(SETTINGS)
    assert found["index-url"] == "https://user:secret@mirror.example/simple"
    assert found["find-links"] == "/wheels /more"
    assert "format" not in found


def test_uv_gets_the_settings_of_pip() -> None:
    """Addresses go through the environment, where no process list shows them; variables of uv that are set stay."""
    settings = install.read_settings(SETTINGS)
    environment = install.uv_environment(settings, {"SSL_CERT_FILE": "/mine.crt", "UV_CACHE_DIR": "/cache"})
    assert environment == {
        "UV_INDEX_URL": "https://user:secret@mirror.example/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_HTTP_TIMEOUT": "90",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "SSL_CERT_FILE": "/mine.crt",
        "UV_NO_CACHE": "true",
        "UV_CACHE_DIR": "/cache",
    }
    assert list(install.uv_arguments(settings)) == ["-c", "/caps.txt", "-c", "/more.txt"]


def test_uv_does_without_a_cache_where_it_can_make_none() -> None:
    """A home that is not there, or may not be written to, does not stop uv."""
    environment = install.uv_environment({}, {"XDG_CACHE_HOME": "/nobody/cache"})
    assert environment["UV_NO_CACHE"] == "true"
    assert "UV_NO_CACHE" not in install.uv_environment({}, {"XDG_CACHE_HOME": str(Path(__file__).parent)})


@pytest.mark.parametrize(("cap", "expected"), [("", "3.0"), ("mp-trial<3", "2.0"), ("mp-trial<2", "1.0")])
def test_uv_installs_from_where_pip_would(tmp_path: Path, cap: str, expected: str) -> None:
    """It takes the best version in the index, the extra index and the folder of wheels of pip, under pip's cap."""
    pytest.importorskip("uv", reason="uv could not be had")
    wheel(tmp_path / "index" / "mp-trial", "1.0")
    wheel(tmp_path / "extra" / "mp-trial", "2.0")
    wheel(tmp_path / "wheels", "3.0")
    (tmp_path / "cap.txt").write_text(cap)
    (tmp_path / "pip.conf").write_text(
        f"""[global]
        index-url = file://{tmp_path}/index
        extra-index-url = file://{tmp_path}/extra
        find-links = {tmp_path}/wheels
        constraint = {tmp_path}/cap.txt
        """
    )
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    bare |= {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "UV_CACHE_DIR": str(tmp_path / "cache")}
    listed = subprocess.run([*install.PIP, "config", "list"], env=bare, capture_output=True, text=True, check=True)
    settings = install.read_settings(listed.stdout)
    done = subprocess.run(
        [*install.UV, *install.uv_arguments(settings), "--target", tmp_path / "there", "mp-trial"],
        env=install.uv_environment(settings, bare),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [each.name for each in (tmp_path / "there").glob("*.dist-info")] == [f"mp_trial-{expected}.dist-info"]


FETCHED = "fetch: install --quiet uv -c pins"
WITH_UV = "uv: --no-index -e . -c pins"
WITH_PIP = "pip: --progress-bar=off -e . -c pins"


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        ("", [FETCHED, WITH_UV]),
        ("fetch", [FETCHED, WITH_PIP]),
        ("uv", [FETCHED, WITH_UV, WITH_PIP]),
        ("uv pip", [FETCHED, WITH_UV, WITH_PIP]),
    ],
)
def test_pip_installs_where_uv_can_not(tmp_path: Path, fails: str, expected: list[str]) -> None:
    """pip installs all where uv can't be had or fails; each step is announced, and its output shown."""
    for name in ("pip", "uv"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "__main__.py").write_text(STAND_IN)
    done = subprocess.run(
        [sys.executable, install.__file__, "-e", ".", "-c", "pins"],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "FAILS": fails},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[1::2] == expected
    assert all("with uv" in line or "with pip" in line for line in lines[::2])
    assert done.returncode == (fails == "uv pip")
