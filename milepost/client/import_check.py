"""Loads modules that need our other packages, and checks that no folder of the application hides one of these."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

# The packages that run in the application's process. Our own processes do not search the application's folders.
PACKAGES = ("api", "core")
_HOME = Path(__file__).resolve().parents[2]


class ImportConflict(ImportError):
    """Another package with the name of one of ours comes first on the import path."""

    def __init__(self, name: str, found: str) -> None:
        super().__init__(
            f"Milepost needs its own package `{name}`, but Python finds {found} first. Rename that, or use "
            "milepost.Client, which needs nothing but `milepost` and talks to a running Milepost over REST.",
            name=name,
            path=found,
        )


def load(module: str) -> ModuleType:
    """Import a module that needs these packages; raises ImportConflict, naming the folder that hides ours."""
    for name in PACKAGES:
        found = _location(name)
        if found is not None and found.parent != _HOME:
            raise ImportConflict(name, str(found))
    return import_module(module)


def _location(name: str) -> Path | None:
    """The folder or file that `import name` finds or has found; None if there is none."""
    spec = find_spec(name)
    if spec is None:
        return None
    locations = list(spec.submodule_search_locations or ()) or [spec.origin or ""]
    return Path(locations[0]).resolve()
