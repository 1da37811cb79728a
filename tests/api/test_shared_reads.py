"""Shared reads: what is read together is answered as if each request had been alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest
from anyio import CapacityLimiter

from api.context import DatabaseAway
from api.reads import SharedReads
from api.turns import Turns
from core.store.database import Sessions, open_sessions
from core.store.driver import Session, Sql, require_transaction
from core.store.tenants import Tenant
from tests.acts import DEFAULT

pytestmark = pytest.mark.anyio
_LENGTHS = Sql("SELECT n, length(n) FROM unnest(string_to_array(:names, ' ')) AS n WHERE n <> 'none'")


class Lengths:
    """Loads the lengths of names, and notes which were asked for together."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, session: Session, _tenant: Tenant, names: Sequence[str], _now: datetime) -> Mapping[str, int]:
        self.asked.append(list(names))
        if "bad" in names:
            raise ZeroDivisionError
        if "many" in names:
            require_transaction(session)
        return {row[0]: row[1] for row in _LENGTHS.rows(session, {"names": " ".join(names)})}


async def found(reads: SharedReads, load: Lengths, *names: str) -> list[int | BaseException | None]:
    """What those get who ask for these names while another name is read."""
    first = asyncio.create_task(reads.get(DEFAULT, load, "first"))
    await asyncio.sleep(0)
    answers = await asyncio.gather(*(reads.get(DEFAULT, load, name) for name in names), return_exceptions=True)
    assert await first == 5
    return answers


@pytest.fixture
def anyio_backend() -> str:
    """The loop of the API."""
    return "asyncio"


@pytest.fixture
def reads(session_factory: Sessions) -> SharedReads:
    """Those of one process."""
    return SharedReads(session_factory, Turns(), CapacityLimiter(8))


async def test_those_who_wait_are_read_together(reads: SharedReads) -> None:
    """By one statement, each name once; what is not there is None."""
    load = Lengths()
    assert await found(reads, load, "a", "bb", "none", "a") == [1, 2, None, 1]
    assert load.asked == [["first"], ["a", "bb", "none"]]


async def test_an_id_that_fails_harms_no_other(reads: SharedReads) -> None:
    """Each gets what it would have got alone: the others their answer, it its own error."""
    one, two, *others = await found(reads, Lengths(), "bad", "bad", "a", "none")
    assert (type(one), type(two), others) == (ZeroDivisionError, ZeroDivisionError, [1, None])
    assert one is not two


async def test_an_id_that_needs_a_transaction_gets_one(reads: SharedReads) -> None:
    """Alone, and among others, which do not."""
    load = Lengths()
    assert await found(reads, load, "many") == [4]
    # First with what else is asked for, then by itself in one statement, and then in a transaction.
    assert load.asked[1:] == [["many"]] * 3
    assert await found(reads, Lengths(), "many", "a") == [4, 1]


async def test_without_the_database_each_gets_the_reason() -> None:
    """An error of its own, whose cause is that of psycopg, for the log."""
    nowhere = open_sessions("postgresql://nobody@127.0.0.1:1/none", application_name="tests")
    reads, load = SharedReads(nowhere, Turns(), CapacityLimiter(8)), Lengths()
    asked = (reads.get(DEFAULT, load, name) for name in ("a", "a"))
    one, two = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(one, DatabaseAway)
    assert isinstance(two, DatabaseAway)
    assert one is not two
    assert "127.0.0.1" in str(one.__cause__)
