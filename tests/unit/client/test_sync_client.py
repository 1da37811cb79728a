"""The blocking face is made from the asynchronous one, and both show the same names."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import milepost
import milepost.sync
from milepost.client.goals import Goals
from milepost.client.interface import Interface
from tests.sync_client.generate import CLIENT, SYNC, generate, with_shared_records

# What each side has of its own.
TWINS = {"Client", "GoalManager", "Goals", "Interface", "easy_goals"}


def test_the_twins_are_up_to_date(tmp_path: Path) -> None:
    """milepost/sync holds what `make sync-client` makes, to the byte."""
    generate(tmp_path)
    made = {file.name: file.read_text("utf-8") for file in tmp_path.glob("*.py")}
    kept = {file.name: file.read_text("utf-8") for file in SYNC.glob("*.py")}
    assert kept == made


@pytest.mark.parametrize(
    "first",
    [
        "import milepost.sync",
        "from milepost import sync",
        "from milepost.sync import easy_goals",
        "from milepost import Client",
        "from milepost import *; Client",
        "import milepost.client.hosting",
        "import milepost.client.models",
        "import milepost.client.accounts",
        "import milepost.sync.events",
        "from milepost.client import arguments, errors, http_connections, import_check, transport",
        "import milepost.sync.http_client, milepost.client",
    ],
)
def test_any_import_may_come_first(first: str) -> None:
    """No order of imports meets a module that is half imported."""
    program = f"{first}\nimport milepost, milepost.sync\nassert milepost.easy_goals is not milepost.sync.easy_goals"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_both_faces_have_the_same_names() -> None:
    """`milepost` and `milepost.sync` export the same; what is not a twin or a function is the same object."""
    assert milepost.__all__ == milepost.sync.__all__
    for name in milepost.__all__:
        ours, twin = getattr(milepost, name), getattr(milepost.sync, name)
        is_act = callable(getattr(Goals, name, None)) and name != "get_celebration_message"
        assert (ours is not twin) == (name in TWINS or is_act), name
    assert set(milepost.__all__) <= set(dir(milepost))


def test_a_method_and_its_twin_and_its_function_have_one_signature() -> None:
    """Only the waiting differs: each method is a coroutine function, its twin is not, and the function is as both."""
    operations = [
        name for name, _ in inspect.getmembers(Interface, inspect.iscoroutinefunction) if not name.startswith("_")
    ]
    assert {"create_goal", "remove_account_from_goal", "send_file", "list_accounts"} <= set(operations)
    for name in operations:
        ours, twin = getattr(Interface, name), getattr(milepost.sync.Interface, name)
        assert not inspect.iscoroutinefunction(twin)
        assert inspect.signature(ours) == inspect.signature(twin)
        assert ours.__doc__ == twin.__doc__
        if hasattr(Goals, name):
            assert inspect.signature(getattr(milepost, name)) == inspect.signature(ours)


def test_no_two_resources_have_a_method_of_one_name() -> None:
    """Each method is in one place, and every module with a resource is part of the interface."""
    own = [name for base in Interface.__bases__ for name in vars(base) if not name.startswith("_")]
    assert len(own) == len(set(own)) == len([name for name in dir(Interface) if not name.startswith("_")])
    resources = {base.__module__.rpartition(".")[2] for base in Interface.__bases__}
    assert resources == {file.stem for file in CLIENT.glob("*.py") if "(Resource):" in file.read_text("utf-8")}


def test_a_record_stays_one_class() -> None:
    """The generated module imports it from where it is written, whatever derives from it and where it is used."""
    made = with_shared_records(
        {
            "records": "class Record: ...\n",
            "resource": "class Resource: ...\n",
            "notes": """from milepost.client.records import Record
from milepost.client.resource import Resource

class Note(Record):
    text: str

# Kept.
class LongNote(Note):
    more: str

class Notes(Resource): ...
""",
            "interface": """from milepost.client.notes import (
    Note,
    Notes,
)
def function():
    from milepost.client.notes import LongNote
""",
        }
    )
    assert set(made) == {"resource", "notes", "interface"}
    assert (
        made["notes"]
        == """from milepost.client.records import Record
from milepost.client.notes import LongNote, Note
from milepost.sync.resource import Resource


# Kept.

class Notes(Resource): ...
"""
    )
    assert (
        made["interface"]
        == """from milepost.client.notes import Note
from milepost.sync.notes import Notes
def function():
    from milepost.client.notes import LongNote
"""
    )
