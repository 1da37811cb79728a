"""Applications made with svc-infra and fin-infra, in an environment that has them: `make test-integrations`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from milepost import add_goals
from milepost.sync import GoalManager, easy_goals
from tests.documented.conftest import reader as reader

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

# Without them there is nothing to test, so nothing is collected.
collect_ignore_glob = ["test_*.py"] if find_spec("svc_infra") is None else []

_MISSING = pytest.StashKey[list[str]]()


@pytest.fixture
def tell_missing(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Keeps what of the documentation a package does not have, for the end of the run."""
    lines = request.config.stash.setdefault(_MISSING, [])

    def tell(package: str, line: str) -> None:
        found = f"{package} {version(package)}: {line}"
        if found not in lines:
            lines.append(found)

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was found missing."""
    lines = config.stash.get(_MISSING, [])
    if lines:
        terminalreporter.section("documented, and not to be had there")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages read the environment too; what they must not find in it is taken away."""
    for name in ("SQL_URL", "APP_ENV", "RAILWAY_ENVIRONMENT_NAME", "CORS_ALLOW_ORIGINS", "SKIP_MIDDLEWARE_PATHS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def manager(database_url: str) -> Iterator[GoalManager]:
    """A manager of the tenant `default`."""
    with easy_goals(database_url=database_url) as manager:
        yield manager


@pytest.fixture
def hosted(manager: GoalManager) -> Iterator[Callable[..., TestClient]]:
    """Makes clients of started applications: svc-infra's, with the goals mounted; takes easy_service_app's options."""
    from fastapi.testclient import TestClient
    from svc_infra.api.fastapi.ease import easy_service_app

    with ExitStack() as open_clients:

        def start(auth: Any = None, **options: Any) -> TestClient:
            app = easy_service_app(name="FinanceAPI", release="1.0.0", enable_logging=False, **options)
            add_goals(app, manager=manager, prefix="/goals", auth=auth)
            return open_clients.enter_context(TestClient(app))

        yield start
