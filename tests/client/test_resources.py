"""Accounts, dead letters, providers and a goal's past: the same over both transports, async and sync."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from core.providers.contracts import Refresh
from core.services.deliveries import record_refreshes
from core.store.database import Sessions
from milepost import Conflict, Exact, InvalidField, NotFound, Tracking
from milepost.client.records import Record
from tests.client.callers import AnyInterface, ask, comparable

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC).replace(microsecond=0)
TODAY = NOW.date()
DAY = timedelta(days=1)
# The moments at which something is recorded, and places on the stream.
_OWN = ("shard", "recorded_at", "arrived_at", "replayed_at", "discarded_at", "entry_id", "until", "changed_at")

Interfaces = Mapping[str, AnyInterface]


def event(kind: str, at: datetime, **data: Any) -> dict[str, Any]:
    """An event of an account of the user."""
    name = f"{kind}-{data.get('account_id')}-{at.isoformat()}"
    data = {"user_id": "user_123", **data} if kind != "connection.changed" else data
    return {"specversion": "1.0", "id": name, "source": "bank", "type": f"milepost.{kind}", "time": at, "data": data}


def reported(account_id: str, current: object, at: datetime) -> dict[str, Any]:
    """A balance of an account."""
    return event("balance.reported", at, account_id=account_id, current=current, currency="USD", as_of=at)


EVENTS = [
    reported("a/1", 1000, NOW - 6 * DAY),
    event(
        "transaction.recorded",
        NOW - 5 * DAY,
        account_id="a/1",
        transaction_id="t1",
        amount=0.1 + 0.2,
        currency="USD",
        posted_at=NOW - 5 * DAY,
    ),
    reported("a/1", Decimal("1010.30"), NOW - 4 * DAY),
    reported("b", 1005, NOW - DAY),
]


def without_own(value: Any) -> Any:
    """The outcome without what is another one in each tenant."""
    if isinstance(value, dict):
        return {name: without_own(each) for name, each in value.items() if name not in _OWN}
    return [without_own(each) for each in value] if isinstance(value, list | tuple) else value


def assert_equal(outcomes: Mapping[str, list[Any]]) -> list[Any]:
    """All interfaces had the same outcomes; returns those of one."""
    shown = {name: without_own([comparable(each) for each in found]) for name, found in outcomes.items()}
    for name, found in shown.items():
        for number, outcome in enumerate(found):
            assert outcome == shown["manager"][number], (name, number)
    return outcomes["manager"]


async def each(interfaces: Interfaces, method: str, *arguments: Any, **named: Any) -> Any:
    """What a method gives, which is the same by every interface; also an error that it raises."""
    outcomes = {}
    for name, interface in interfaces.items():
        try:
            outcomes[name] = [await ask(interface, method, *arguments, **named)]
        except (ValueError, KeyError) as error:
            outcomes[name] = [error]
    (outcome,) = assert_equal(outcomes)
    return outcome


async def test_accounts(interfaces: Interfaces, apply_stream: Callable[[], None]) -> None:
    """An account is read with its reports, its last facts and how it is divided, as records with types."""
    for name, interface in interfaces.items():
        assert await ask(interface, "send_events", EVENTS) == 4, name
    apply_stream()
    accounts = await each(interfaces, "list_accounts")
    assert [account.account_id for account in accounts] == ["a/1", "b"]
    assert await each(interfaces, "list_accounts", user_id="nobody") == []
    assert await each(interfaces, "list_accounts", "user_123", has_difference=True) == []
    account = await each(interfaces, "get_account", "a/1")
    assert account == accounts[0]
    assert (account.worth, account.kind, account.closed) == (1010.30, "asset", False)
    assert account.last_report.difference == 10
    assert (account.last_fact.type, account.last_fact.at) == ("report", NOW - 4 * DAY)
    assert account.connection is None
    newest, oldest = await each(interfaces, "list_reports", "a/1")
    assert newest == account.last_report
    assert (type(newest.current), newest.as_of, newest.difference) == (Exact, NOW - 4 * DAY, 10)
    assert oldest.difference is None
    goals = {}
    for name, interface in interfaces.items():
        goals[name] = await ask(interface, "create_goal", "user_123", "Trip", "savings", 5000)
        await ask(interface, "link_account_to_goal", goals[name].id, "a/1", allocation_percent=60)
    whole = await each(interfaces, "get_allocations", "a/1")
    (allocation,) = whole.allocations
    assert (whole.allocated_percent, whole.unallocated, whole.over_allocated) == (60, Exact("404.12"), False)
    assert (allocation.tracking, allocation.share) == (Tracking.CHANGE, Exact("606.18"))
    assert allocation.from_ == allocation["from"] <= datetime.now(UTC)


async def test_accounts_that_are_not_there(interfaces: Interfaces) -> None:
    """Nor can be: no id leads to another address; the error has the id that was asked for."""
    for method in ("get_account", "list_reports", "get_allocations"):
        for account_id in ("nowhere", "a/../b", "", "\ud800", "a?b#c", "a\0b"):
            missing = await each(interfaces, method, account_id)
            assert (str(missing), missing.id) == ("Account not found", account_id)
        assert (await each(interfaces, method, None)).id is None
    for account_id in ("a/reports", "a/allocations", "/reports"):
        assert (await each(interfaces, "get_account", account_id)).id == account_id
    assert (await each(interfaces, "list_accounts", user_id="\ud800")).field == "user_id"


async def test_many_allocations_are_one_record(interfaces: Interfaces) -> None:
    """The goals of an account beyond a page are all there, in order."""
    made = []
    for name in ("manager", "client"):
        goals = [(await ask(interfaces[name], "create_goal", "u", f"Goal {n}", "savings", 5)).id for n in range(202)]
        for goal in goals:
            await ask(interfaces[name], "link_account_to_goal", goal, "a", allocation_percent="0.5")
        found = await ask(interfaces[name], "get_allocations", "a")
        assert [allocation.goal_id for allocation in found.allocations] == goals
        made.append((found.allocated_percent, found.over_allocated))
    assert made == [(101, True)] * 2


async def test_relinks(interfaces: Interfaces, apply_stream: Callable[[], None]) -> None:
    """Two accounts that are probably one are listed, joined and parted again."""
    for interface in interfaces.values():
        await ask(interface, "send_events", EVENTS)
    apply_stream()
    assert await each(interfaces, "list_relinks", "nobody") == []
    (relink,) = await each(interfaces, "list_relinks", user_id="user_123")
    assert (relink.old_account_id, relink.new_account_id, relink.why) == ("a/1", "b", "silent")
    assert (relink.old_balance, relink.new_as_of) == (1010.30, NOW - DAY)
    joined = await each(interfaces, "accept_relink", "a/1", "b", from_=TODAY - 3 * DAY, idempotency_key="k")
    assert joined == await each(interfaces, "accept_relink", "a/1", "b", from_=TODAY - 3 * DAY, idempotency_key="k")
    assert (joined.replaced_by, joined.counts_until.date()) == ("b", TODAY - 3 * DAY)
    assert await each(interfaces, "list_relinks") == []
    parted = await each(interfaces, "undo_relink", old_account_id="a/1")
    assert (parted.replaced_by, parted.worth) == (None, 1010.30)
    assert str(await each(interfaces, "accept_relink", "a/1", "c")) == "New account not found"
    assert (await each(interfaces, "undo_relink", "a/1")).field == "old_account_id"
    assert (await each(interfaces, "accept_relink", 7, "c")).field == "old_account_id"


async def test_dead_letters(interfaces: Interfaces, apply_stream: Callable[[], None]) -> None:
    """What could not take effect is read with its event, replayed, and discarded."""
    bad = [{**reported("a", "no amount", NOW), "id": str(n)} for n in range(3)]
    for interface in interfaces.values():
        assert await ask(interface, "send_events", bad) == 3
    apply_stream()
    letters = {name: await ask(interface, "list_dead_letters") for name, interface in interfaces.items()}
    assert_equal(letters)
    assert await each(interfaces, "list_dead_letters", "bad_currency") == []
    assert len(await each(interfaces, "list_dead_letters", code="bad_amount", state="waiting")) == 3
    assert (await each(interfaces, "list_dead_letters", state="gone")).field == "state"
    outcomes: dict[str, list[Any]] = {}
    for name, interface in interfaces.items():
        first, second, third = letters[name]
        assert first.recorded_at >= first.arrived_at >= NOW
        found = [
            await ask(interface, "get_dead_letter", first.shard, first.entry_id),
            await ask(interface, "replay_dead_letter", first.shard, first.entry_id),
            await ask(interface, "replay_dead_letter", first.shard, first.entry_id, again=True),
            await ask(interface, "discard_dead_letter", second.shard, second.entry_id, "a test"),
            await ask(interface, "replay_dead_letters", "bad_amount", until=third.recorded_at, limit=1),
        ]
        with pytest.raises(Conflict):
            await ask(interface, "replay_dead_letter", first.shard, first.entry_id)
        for shard, entry_id in ((0, "0-0"), ("0", "0-0"), (9999, "a/b"), (-1, ".."), (True, "1-0")):
            with pytest.raises(NotFound, match="Dead letter not found") as missing:
                await ask(interface, "get_dead_letter", shard, entry_id)
            assert missing.value.id == entry_id
        assert isinstance(found[-1], Record)
        outcomes[name] = found
    whole, replayed, again, discarded, rest = assert_equal(outcomes)
    assert (whole.event["data"]["current"], whole.event_base64) == ("no amount", None)
    assert (replayed.state, again.state, discarded.state) == ("replayed", "replayed", "discarded")
    assert (rest.replayed, rest.left) == (1, 0)
    assert rest.until is not None
    assert (await each(interfaces, "replay_dead_letters", "bad_amount", limit=1.5)).field == "limit"
    assert (await each(interfaces, "replay_dead_letters", "bad_amount", limit=0)).field == "limit"


async def test_provider_accounts(interfaces: Interfaces) -> None:
    """A registration is made, replaced, read, listed and removed."""
    own = {"account_id": "savings_001", "user_id": "user_123", "kind": "asset", "currency": "USD"}
    first = await each(interfaces, "register_provider_account", "teller", "acc/1", **own, since=TODAY, sign="reversed")
    assert (first.account_id, first.since, first.sign) == ("savings_001", TODAY, "reversed")
    second = await each(interfaces, "register_provider_account", "teller", "acc/1", connection="enr_1")
    assert (second.account_id, second.connection, second.since) == ("acc/1", "enr_1", None)
    assert await each(interfaces, "get_provider_account", "teller", "acc/1") == second
    assert await each(interfaces, "list_provider_accounts") == [second]
    assert await each(interfaces, "list_provider_accounts", "plaid") == []
    await each(interfaces, "remove_provider_account", "teller", "acc/1", idempotency_key="once")
    await each(interfaces, "remove_provider_account", "teller", "acc/1", idempotency_key="once")
    missing = await each(interfaces, "remove_provider_account", "teller", "acc/1")
    assert (str(missing), missing.id) == ("Provider account not found", "acc/1")
    unknown = await each(interfaces, "register_provider_account", "bank", "acc/1")
    assert (str(unknown), unknown.id) == ("Provider not found", "bank")
    assert (await each(interfaces, "get_provider_account", "teller", "a/..")).id == "a/.."
    refused = await each(interfaces, "register_provider_account", "teller", "acc/1", currency="usd")
    assert refused.field == "currency"
    assert refused.idempotency_key is None


async def test_refresh_requests(interfaces: Interfaces, session_factory: Sessions) -> None:
    """What webhooks asked for is listed, and done with the count that was read."""
    for name in interfaces:
        with session_factory.begin() as session:
            record_refreshes(session, name, "plaid", [Refresh("item_1", "transactions", "SYNC")], NOW)
    (found,) = await each(interfaces, "list_refresh_requests", "plaid", "transactions")
    assert (found.provider, found.subject, found.count, found.open) == ("plaid", "item_1", 1, True)
    assert found.opened_at == NOW
    assert await each(interfaces, "list_refresh_requests", kind="balances") == []
    assert (await each(interfaces, "finish_refresh_request", found.id, "1")).field == "count"
    assert (await each(interfaces, "finish_refresh_request", "refresh_0", 1)).id == "refresh_0"
    assert not (await each(interfaces, "finish_refresh_request", found.id, found.count)).open
    assert await each(interfaces, "list_refresh_requests") == []


async def test_the_past_of_a_goal(interfaces: Interfaces, apply_stream: Callable[[], None]) -> None:
    """Its ledger and snapshots are read, now and as known before; a wrong share and a final status are corrected."""
    for interface in interfaces.values():
        await ask(interface, "send_events", EVENTS)
    apply_stream()
    outcomes: dict[str, list[Any]] = {}
    for name, interface in interfaces.items():
        start = TODAY - 6 * DAY
        goal = await ask(interface, "create_goal", "user_123", "Trip", "savings", 5000, start_date=start)
        before = datetime.now(UTC)
        await ask(interface, "link_account_to_goal", goal.id, "a/1", allocation_percent=50, from_=start + DAY)
        outcomes[name] = [
            await ask(interface, "get_goal_history", goal.id),
            await ask(interface, "get_goal_history", goal.id, as_known_at=before),
            await ask(interface, "get_goal_snapshots", goal.id),
            await ask(interface, "get_goal_snapshots", goal.id, from_=start, to=start.isoformat()),
            await ask(interface, "get_goal_snapshots", goal.id, as_known_at=before),
            await ask(interface, "update_account_allocation", goal.id, "a/1", 100, correct_from=TODAY - 4 * DAY),
            await ask(interface, "get_goal_snapshots", goal.id),
            await ask(interface, "remove_account_from_goal", goal.id, "a/1", correct_from=(TODAY - 2 * DAY)),
            await ask(interface, "update_goal", goal.id, status="completed"),
            (await ask(interface, "reopen_goal", goal.id, idempotency_key="reopen")).status,
            (await ask(interface, "reopen_goal", goal.id, idempotency_key="reopen")).status,
            await ask(interface, "get_goal", goal.id),
        ]
        for refused, field in (
            ({"from_": TODAY, "to": TODAY - DAY}, None),
            ({"from_": "soon"}, "from"),
            ({"as_known_at": datetime.now(UTC) + DAY}, "as_known_at"),
            ({"to": 3}, "to"),
        ):
            with pytest.raises(InvalidField) as error:
                await ask(interface, "get_goal_snapshots", goal.id, **refused)
            assert field in (None, error.value.field)
    history, known, snapshots, one, _, _, corrected, *_ = assert_equal(outcomes)
    assert [entry.cause for entry in history] == ["linked", "created"]
    assert (history[1].before, history[1].change, history[0].account_ids) == (None, None, [])
    assert (type(history[0].after), [entry.cause for entry in known]) == (Exact, ["created"])
    assert [snapshot.day for snapshot in snapshots] == [TODAY - n * DAY for n in range(6, 0, -1)]
    assert one == snapshots[:1]
    assert isinstance(one[0].day, date)
    assert corrected[-1].amount != snapshots[-1].amount


async def test_milestones_are_changed_and_deleted(interfaces: Interfaces) -> None:
    """Only what is given changes; None clears, and another amount may be reached already."""
    outcomes: dict[str, list[Any]] = {}
    for name, interface in interfaces.items():
        goal = await ask(interface, "create_goal", "user_123", "Trip", "savings", 5000, current_amount=1000)
        milestone = await ask(interface, "add_milestone", goal.id, 2000, "Halfway", TODAY)
        outcomes[name] = [
            await ask(interface, "update_milestone", goal.id, milestone.id, description=None, target_date=None),
            await ask(interface, "update_milestone", goal.id, milestone.id, amount=500.0, idempotency_key="k"),
            await ask(interface, "update_milestone", goal.id, milestone.id, amount=500.0, idempotency_key="k"),
            await ask(interface, "delete_milestone", goal.id, milestone.id, idempotency_key="d"),
            await ask(interface, "delete_milestone", goal.id, milestone.id, idempotency_key="d"),
            await ask(interface, "list_milestones", goal.id),
        ]
        for milestone_id in (milestone.id, "", "..", "a/b", None):
            with pytest.raises(NotFound, match="Milestone not found") as missing:
                await ask(interface, "delete_milestone", goal.id, milestone_id)
            assert missing.value.id == milestone_id
        with pytest.raises(NotFound, match="Goal not found") as missing:
            await ask(interface, "update_milestone", "goal_0", milestone.id, amount=1)
        assert missing.value.id == "goal_0"
        with pytest.raises(
            TypeError, match=r"^Goals\.update_milestone\(\) got an unexpected keyword argument 'reached'$"
        ):
            await ask(interface, "update_milestone", goal.id, milestone.id, reached=True)
    cleared, reached, again, gone, *_ = assert_equal(outcomes)
    assert (cleared.amount, cleared.description, cleared.target_date, cleared.reached) == (2000, None, None, False)
    assert (reached.reached, reached, gone) == (True, again, None)
