"""`python scripts/install.py ARGUMENTS`: does what `pip install ARGUMENTS` does, with uv, which takes seconds.

uv comes from the index that pip is configured with, and gets pip's settings, since it does not read them itself. If
uv is not available, or fails, pip installs everything. Run this with the interpreter of the environment to install in.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
# Compiled now, as pip does: otherwise the first processes to start would each compile the same modules.
UV = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "--compile-bytecode"]
# uv's variable for each of pip's settings. For the indexes these are uv's older names: the newer ones, if set, win.
VARIABLES = {
    "index-url": "UV_INDEX_URL",
    "extra-index-url": "UV_EXTRA_INDEX_URL",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "no-cache-dir": "UV_NO_CACHE",
}
# The sections in which pip finds settings; later ones win.
SECTIONS = ("global", "install", ":env:")


def main(wanted: list[str]) -> int:
    """Install what pip's arguments name, and print each step; returns 0, or pip's exit status if uv could not do it."""
    constraints = wanted[wanted.index("-c") :][:2] if "-c" in wanted else []
    print("fetching uv with pip", flush=True)
    if _run([*PIP, "install", "--quiet", "uv", *constraints]) == 0:
        listed = subprocess.run([*PIP, "config", "list"], stdout=subprocess.PIPE, text=True, check=True).stdout
        settings = read_settings(listed)
        print("installing with uv", flush=True)
        if _run([*UV, *uv_arguments(settings), *wanted], uv_environment(settings, os.environ)) == 0:
            return 0
    print("uv can't be used here: installing with pip, which takes some minutes", flush=True)
    return _run([*PIP, "install", "--progress-bar=off", *wanted])


def read_settings(listed: str) -> dict[str, str]:
    """pip's settings for an install, by name, read from the output of `pip config list`."""
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in found:
            found[section][name.removeprefix("default-")] = str(ast.literal_eval(value))
    return {name: value for section in SECTIONS for name, value in found[section].items()}


def uv_environment(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for uv: pip's settings as uv's variables, except variables that are set already."""
    found = {VARIABLES[name]: " ".join(value.split()) for name, value in settings.items() if name in VARIABLES}
    if "find-links" in settings:
        found["UV_FIND_LINKS"] = ",".join(settings["find-links"].split())
    if "UV_CACHE_DIR" not in environment and not os.access(_cache_root(environment), os.W_OK):
        found["UV_NO_CACHE"] = "true"  # uv fails where it can make no cache
    # As pip does: the best version in all indexes, not the best in the first index that has the package.
    return {**found, "UV_INDEX_STRATEGY": "unsafe-best-match", **environment}


def uv_arguments(settings: Mapping[str, str]) -> Iterator[str]:
    """The arguments for uv: those of pip's settings for which a variable would not work with our own arguments."""
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        yield "--no-index"
    for path in settings.get("constraint", "").split():
        yield from ("-c", path)


def _cache_root(environment: Mapping[str, str]) -> str:
    return environment.get("XDG_CACHE_HOME") or os.path.expanduser("~")


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command and print its output as it comes, without uv's list of installed packages; the exit status."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if not line.startswith((" + ", " - ", " ~ ")):
                print(line, end="", flush=True)
    return run.returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
