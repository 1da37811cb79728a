"""Schemathesis against a Milepost of its own: requests from the OpenAPI text, and whether the answers are as it says.

Exit status 1 if any answer is a fault of the server, or has a status, header or body that the text does not have.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@contextmanager
def milepost(data: Path) -> Iterator[tuple[str, str]]:
    """`milepost up` with nothing in it, whose data folder is `data`; gives its address and a key."""
    command = [sys.executable, "-m", "milepost", "up", "--port", "0", "--data-dir", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None, "it is a pipe"
            url = next((line.split()[1] for line in process.stdout if line.startswith("ready ")), None)
            if url is None:
                raise SystemExit("make fuzz: `milepost up` did not start")
            yield url, Path(data, "key").read_text().strip()
        finally:
            process.terminate()


def main() -> int:
    """Run it; the exit status is that of Schemathesis."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("schemathesis", help="the program")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    # What Schemathesis keeps of a run goes with the folder.
    with tempfile.TemporaryDirectory(prefix="milepost-fuzz-") as folder, milepost(Path(folder, "data")) as (url, key):
        command = [given.schemathesis, "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {key}"]
        # It has no end, so that each of its answers would be waited for in vain.
        command += ["--exclude-operation-id", "streamMessages"]
        options = ["--checks", ",".join(CHECKS), "--seed", str(given.seed), "--max-time", str(given.seconds)]
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)}
        return subprocess.run([*command, *options, "--no-color"], cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
