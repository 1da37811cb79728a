"""docker-compose.yml and the image it builds, held against the code they run."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from core.settings import PREFIX, Settings, load_settings
from milepost.cli.program import program
from milepost.embedded import supervisor, valkey
from milepost.embedded.programs import postgres_program
from worker.app import make_worker_app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
SECRETS = {
    "POSTGRES_PASSWORD": "not-a-secret-1",
    "VALKEY_PASSWORD": "not-a-secret-2",
    "MILEPOST_BOOTSTRAP_KEY": "not-a-secret-but-long-enough",
    "MILEPOST_SECRETS_KEY": "not-a-secret-but-more-than-long-enough",
}
OUR_SERVICES = ("migrate", "api", "drains", "jobs", "deliveries", "beat")
# The commands that the head of the file gives: the service, and the words for `milepost` there.
GIVEN = re.findall(r"^#   docker compose exec (?:-T )?(\w+) milepost (.*?)(?: < secret)?$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(TEXT)["services"]
    return found


def test_every_secret_comes_from_outside() -> None:
    """Each variable is required, has no default in the file, and no password is written down."""
    assert set(re.findall(r"\$\{(.*?)\}", TEXT)) == {f"{name}:?" for name in SECRETS}
    values = re.findall(r"^ +\w*(?:PASSWORD|AUTH|KEY): +(\S+)", TEXT, re.MULTILINE)
    assert len(values) == 5
    assert all(re.fullmatch(r"\$\{\w+:\?\}", value) for value in values)


@pytest.mark.parametrize("name", OUR_SERVICES)
def test_commands_exist(services: dict[str, Any], name: str) -> None:
    """What each of our containers runs is a command that takes these arguments."""
    group = typer.main.get_command(program)
    command, *arguments = services[name]["command"]
    context = group.make_context("milepost", [command, "--help"], resilient_parsing=True)
    found = group.get_command(context, command)  # type: ignore[attr-defined]
    found.make_context(command, list(arguments))


def test_the_same_processes_as_embedded(services: dict[str, Any]) -> None:
    """Beside the migration, the containers run exactly what the supervisor runs."""
    contained = [services[name]["command"] for name in OUR_SERVICES if name != "migrate"]
    embedded = [*supervisor.FRONT.values(), *supervisor.WORKERS.values()]
    assert sorted(map(list, embedded)) == sorted(contained)


@pytest.mark.parametrize("name", OUR_SERVICES)
def test_settings_exist_and_parse(services: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of each of our containers is a valid one, and names both servers."""
    environment = {key: _filled(value) for key, value in services[name]["environment"].items()}
    assert {key.removeprefix(PREFIX).lower() for key in environment} <= set(Settings.model_fields)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    settings = load_settings()
    assert settings.database_url is not None
    assert settings.redis_url is not None
    assert settings.database_url.get_secret_value() == (
        "postgresql+psycopg://milepost:not-a-secret-1@postgres:5432/milepost"
    )


def test_a_first_key_and_a_first_webhook_are_made_as_the_file_says(services: dict[str, Any]) -> None:
    """The commands that the file gives take these arguments, and run where secrets can be sealed."""
    assert [words.split()[:2] for _, words in GIVEN] == [["keys", "create"], ["webhooks", "add"], ["webhooks", "add"]]
    for service, words in GIVEN:
        command: Any = typer.main.get_command(program)
        arguments = shlex.split(words)
        while hasattr(command, "get_command"):
            name = arguments.pop(0)
            command = command.get_command(command.make_context("milepost", [], resilient_parsing=True), name)
        command.make_context(name, arguments)
        assert "MILEPOST_SECRETS_KEY" in services[service]["environment"]


def test_only_what_opens_secrets_has_the_key_for_them(services: dict[str, Any]) -> None:
    """The other workers, beat and the migration are not given it."""
    having = [name for name in OUR_SERVICES if "MILEPOST_SECRETS_KEY" in services[name]["environment"]]
    assert having == ["api", "deliveries"]


def test_the_stream_server_is_as_durable_as_the_embedded_one(services: dict[str, Any]) -> None:
    """Every setting that keeps accepted events is the same in both."""
    command = services["valkey"]["command"][-1]
    embedded = {**valkey.SETTINGS, "appendfsync": "always"}
    for name in ("appendonly", "appendfsync", "save", "maxmemory-policy"):
        assert f"--{name} {embedded[name]} " in command
    assert "requirepass $$REDISCLI_AUTH" in command


def test_the_database_server_is_one_we_test_on(services: dict[str, Any]) -> None:
    """The image has the major version that the embedded server has."""
    version = int(services["postgres"]["image"].partition(":")[2])
    assert postgres_program("postgres", version).is_file()


@pytest.mark.parametrize("name", ["drains", "jobs"])
def test_workers_are_given_the_time_that_they_take_to_stop(services: dict[str, Any], name: str) -> None:
    """A worker is not killed before its soft shutdown is over."""
    settings = load_settings(redis_url="redis://127.0.0.1:1/0")
    takes_s = make_worker_app(settings).conf.worker_soft_shutdown_timeout
    grace = re.fullmatch(r"(\d+)s", services[name]["stop_grace_period"])
    assert grace is not None
    assert int(grace[1]) >= takes_s + 5


def test_everything_waits_for_the_schema(services: dict[str, Any]) -> None:
    """No process of ours starts before both servers are healthy and the migration is done."""
    for name in OUR_SERVICES:
        wanted = {"postgres": "service_healthy", "valkey": "service_healthy"}
        if name != "migrate":
            wanted["migrate"] = "service_completed_successfully"
        found = {on: rule["condition"] for on, rule in services[name]["depends_on"].items()}
        assert found == wanted


def test_the_image_holds_every_package() -> None:
    """The Dockerfile copies, and .dockerignore lets through, all packages that pyproject.toml names."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["packages"]
    recipe = (ROOT / "Dockerfile").read_text("utf-8")
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert [name for name in packages if f"COPY {name} ./{name}\n" not in recipe] == []
    assert [name for name in packages if f"!{name}" not in ignored] == []


def _filled(value: str) -> str:
    return re.sub(r"\$\{(\w+):\?\}", lambda found: SECRETS[found[1]], value)
