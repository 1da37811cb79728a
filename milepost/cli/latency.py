"""`milepost latency`: how soon an event on the idle stream of a running system is visible over REST."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from core.errors import MilepostError
from core.settings import Settings
from core.store.tenants import DEFAULT
from core.stream.stream import EventStream, connect
from milepost.cli.connection import DataDirOption, JsonOption, connected_settings, running_servers
from milepost.cli.output import print_json
from milepost.embedded.datadir import DataDir
from milepost.ops.latency import Latency, Rest, StepProgress, measure_latency


def latency(
    events: Annotated[int, typer.Option(help="Single events to measure.", min=1, max=10_000)] = 50,
    api: Annotated[
        str | None,
        typer.Option(help="Address of the API.", show_default="that of `milepost up`, else MILEPOST_HOST and _PORT"),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="A key with goals:read and goals:write.",
            show_default="MILEPOST_BOOTSTRAP_KEY, else that of `milepost up`",
        ),
    ] = None,
    tenant: Annotated[str, typer.Option(help="The tenant that the key belongs to.")] = DEFAULT,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the time from XADD to REST on a running system that has nothing else to do.

    Makes a goal and deletes it again; the account that funds it, latency-..., stays.
    """
    settings = connected_settings(data_dir)
    rest = Rest(api or _api_url(settings), key or _key(settings))
    assert settings.redis_url is not None, "connected_settings names both servers"
    try:
        with (
            connect(settings.redis_url.get_secret_value()) as client,
            StepProgress.on(Console(stderr=True)) as progress,
        ):
            stream = EventStream(client, settings.shards, settings.stream_durability)
            with progress.step("latency", events) as reached:
                found = measure_latency(rest, stream, tenant, events, reached)
    finally:
        rest.close()
    _print(found, as_json)


def _api_url(settings: Settings) -> str:
    running = running_servers(settings)
    return f"http://{settings.host}:{settings.port}" if running is None else running.api_url


def _key(settings: Settings) -> str:
    if settings.bootstrap_key is not None:
        return settings.bootstrap_key.get_secret_value()
    if running_servers(settings) is None:
        raise MilepostError("no key: give --key or set MILEPOST_BOOTSTRAP_KEY")
    return DataDir(settings.data_dir).keep_key(None)


def _print(found: Latency, as_json: bool) -> None:
    if as_json:
        print_json(asdict(found))
    else:
        print(
            f"XADD to visible over REST, {found.events} single events: min {found.min_ms} ms, "
            f"median {found.p50_ms} ms, 95% within {found.p95_ms} ms, max {found.max_ms} ms"
        )
