"""`make sync-client`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.sync_client.generate import SYNC, generate

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "sync"
        generate(made)
        for file in made.glob("*.py"):
            shutil.copy(file, SYNC / file.name)
            print(f"made milepost/sync/{file.name}")
