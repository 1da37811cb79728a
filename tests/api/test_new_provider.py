"""A provider is added by its module and its line in the registry: nothing else names providers one by one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import core
from core.errors import NotFound
from core.providers.sealing import Sealer
from core.services.webhooks import add_endpoint
from core.store.database import Sessions
from core.store.driver import Sql
from tests.api import toy_provider
from tests.api.conftest import SECRETS_KEY, MakeKey

ROOT = Path(core.__file__).resolve().parents[1]
SECRET = "a secret of some length"


class Milepost:
    """Our code with the toy provider in it, in processes of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        shutil.copytree(ROOT / "core", folder / "core", ignore=shutil.ignore_patterns("__pycache__"))
        registry = folder / "core" / "providers" / "registry.py"
        source = registry.read_text()
        before, after = toy_provider.REGISTRATION
        assert source.count(before) == 1
        registry.write_text(source.replace(before, after))
        (registry.parent / "toy.py").write_text(toy_provider.MODULE)
        self._folder = folder
        self._environment = os.environ | environment | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}

    def run(self, *arguments: str, given: str = "") -> Any:
        """Run Python with arguments; what it printed, read as JSON."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self._folder,
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def milepost(tmp_path: Path, database_url: str, redis_url: str) -> Milepost:
    """Milepost with the provider, on the test's servers."""
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "SECRETS_KEY": SECRETS_KEY}
    environment = {f"MILEPOST_{name}": value for name, value in servers.items()} | {"MILEPOST_DATA_DIR": str(tmp_path)}
    return Milepost(tmp_path, environment)


def test_a_module_and_a_line_add_a_provider(
    milepost: Milepost, new_key: MakeKey, apply_stream: Callable[[], Any], session_factory: Sessions
) -> None:
    """It gets an address, its pulled body and its signed webhook are read, and what is not signed is refused."""
    made = milepost.run("-m", "milepost", "webhooks", "add", "toy", "--secret-file", "-", "--json", given=SECRET)
    assert made["path"].startswith("/webhooks/toy/")
    key = new_key("events:write")
    account, pulled, delivered, refused = milepost.run("-c", toy_provider.PROGRAM, key, made["endpoint_id"], SECRET)
    assert (account[0], account[2]["account_id"]) == (200, "savings")
    assert (pulled[0], pulled[2]) == (202, {"accepted": 2})
    assert (delivered[0], delivered[2]) == (202, {"accepted": 1, "refreshes": 0})
    assert refused[:2] == [401, "Toy-Signature"]
    # The row whose amount is no number was kept whole; it becomes a dead letter, with the others applied.
    assert apply_stream().dead_letters == 1
    with session_factory() as session:
        rows = Sql("SELECT account_id, worth_minor FROM accounts").rows(session, {})
    assert rows == [("savings", 1_050)]


@pytest.mark.parametrize("name", ["paypal", "gocardless", "Plaid"])
def test_an_address_is_made_for_a_provider_that_posts(session_factory: Sessions, now: datetime, name: str) -> None:
    """An unknown provider, and one without webhooks, gets no address and leaves no row."""
    with session_factory.begin() as session, pytest.raises(NotFound, match="Provider"):
        add_endpoint(session, Sealer([SECRETS_KEY]), "default", name, "test", SECRET, now, actor="test")
    with session_factory() as session:
        assert Sql("SELECT count(*) FROM webhook_endpoints").value(session, {}) == 0
