"""The face: the command line, the embedded servers and the Python interface, whose names are those of milepost.client.

Client, records and enumerations need nothing of ours but this package; the manager and add_goals need all of it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milepost.client import *  # noqa: F403

# Commands, workers and the API import this package too, and have no use for an HTTP client: hence only when asked for.


def __getattr__(name: str) -> Any:
    # `from milepost import sync` asks here first: modules of ours are for Python to import, in whatever order.
    if name != "__all__" and find_spec(f"{__name__}.{name}") is not None:
        raise AttributeError(name)
    face = import_module("milepost.client")
    if name == "__all__":
        return face.__all__
    if name not in face.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(face, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("milepost.client").__all__})
