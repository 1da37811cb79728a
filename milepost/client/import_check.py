"""Loading what needs more than `milepost`, and saying so where a folder of the application hides one of ours."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

# Those that run in the application's process; what runs beside it looks into no folder of the application.
PACKAGES = ("api", "core")
_HOME = Path(__file__).resolve().parents[2]


class ImportConflict(ImportError):
    """Another package of the name of one of ours comes first on the import path."""

    def __init__(self, name: str, found: str) -> None:
        super().__init__(
            f"Milepost needs its own package `{name}`, but Python finds {found} first. Rename that, or use "
            "milepost.Client, which needs nothing but `milepost` and talks to a running Milepost over REST.",
            name=name,
            path=found,
        )


def load(module: str) -> ModuleType:
    """Import a module that needs these packages; raises ImportConflict, naming the folder that stands before ours."""
    for name in PACKAGES:
        found = _server_config(name)
        if found is not None and found.parent != _HOME:
            raise ImportConflict(name, str(found))
    return import_module(module)


def _server_config(name: str) -> Path | None:
    """The folder or file that `import name` finds, or has found; None if there is none."""
    spec = find_spec(name)
    if spec is None:
        return None
    server_configs = list(spec.submodule_search_locations or ()) or [spec.origin or ""]
    return Path(server_configs[0]).resolve()
