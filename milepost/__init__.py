"""The Python interface, whose names are those of milepost.client; the command line and the embedded servers.

The client, the records and the enumerations use no other package of ours; the manager and add_goals use all of them.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milepost.client import *  # noqa: F403

# The names are imported on first use: commands, workers and the API import this package too, and need no HTTP client.


def __getattr__(name: str) -> Any:
    # `from milepost import sync` calls this first: submodules are left to Python's own import, in whatever order.
    if name != "__all__" and find_spec(f"{__name__}.{name}") is not None:
        raise AttributeError(name)
    client = import_module("milepost.client")
    if name == "__all__":
        return client.__all__
    if name not in client.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(client, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("milepost.client").__all__})
