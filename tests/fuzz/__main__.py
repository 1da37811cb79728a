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
def milepost() -> Iterator[tuple[str, str]]:
    """`milepost up` with nothing in it; gives its address and a key."""
    with tempfile.TemporaryDirectory(prefix="milepost-fuzz-") as folder:
        command = [sys.executable, "-m", "milepost", "up", "--port", "0", "--data-dir", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None, "it is a pipe"
                url = next((line.split()[1] for line in process.stdout if line.startswith("ready ")), None)
                if url is None:
                    raise SystemExit("make fuzz: `milepost up` did not start")
                yield url, Path(folder, "key").read_text().strip()
            finally:
                process.terminate()


def main() -> int:
    """Run it; the exit status is that of Schemathesis."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("schemathesis", help="the program")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with milepost() as (url, key):
        command = [given.schemathesis, "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {key}"]
        options = ["--checks", ",".join(CHECKS), "--seed", str(given.seed), "--max-time", str(given.seconds)]
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "hooks"}
        return subprocess.run([*command, *options, "--no-color"], cwd=HERE, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
