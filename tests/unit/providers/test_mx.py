"""MX's objects, pulled and posted: signs by type, dates as numbers, revisions."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from core.errors import ProviderBodyRefused
from core.providers.contracts import Adapted, AdaptedEvent, KnownAccount, Refresh
from core.providers.registry import Format, Provider, adapt, adapt_webhook, connections_named
from tests.unit.providers.adapted import context, counted, later, only, values

NOON = int(datetime(2026, 3, 9, 12, tzinfo=UTC).timestamp())


def row(amount: Any = "61.11", type: Any = "DEBIT", **more: Any) -> dict[str, Any]:
    """A transaction as a list has it."""
    posted = {"guid": "TRN-1", "account_guid": "ACT-1", "amount": amount, "type": type, "status": "POSTED"}
    times = {"date": "2026-03-08", "posted_at": "2026-03-09T12:00:00.000Z", "transacted_at": "2026-03-08T12:00:00.000Z"}
    return posted | times | {"currency_code": "USD", "updated_at": "2026-03-09T18:00:00.000Z"} | more


def hook(action: str = "created", revision: int = 1, **more: Any) -> dict[str, Any]:
    """A transaction as a webhook has it, its times in seconds since 1970."""
    posted = row() | {"posted_at": NOON, "date": NOON, "transacted_at": NOON, "updated_at": NOON + 3600}
    return posted | {"action": action, "revision": revision, "user_guid": "USR-1", "member_guid": "MBR-1"} | more


def pulled(*rows: dict[str, Any], hours: float = 0, **more: Any) -> Adapted:
    """What a list becomes."""
    return adapt(Format.MX, {"transactions": list(rows), "pagination": {}}, later(hours, **more))


def posted(body: dict[str, Any], hours: float = 0) -> Adapted:
    """What a webhook becomes."""
    return adapt_webhook(Provider.MX, body, later(hours))


@pytest.mark.parametrize(
    ("type", "cents"), [("DEBIT", -6111), ("CREDIT", 6111), ("debit", -6111), (1, 6111), (2, -6111)]
)
def test_the_sign_is_that_of_the_type(type: Any, cents: int) -> None:
    """Amounts are positive; a payment to a loan is a credit of it and raises worth."""
    assert counted(pulled(row(type=type)).events) == {"TRN-1": cents}


@pytest.mark.parametrize("broken", [{"type": None}, {"type": "OTHER"}, {"type": True}, {"status": 3}, {"amount": "-1"}])
def test_a_row_whose_sign_or_state_is_not_known_is_kept_whole(broken: dict[str, Any]) -> None:
    """The adapter guesses no amount."""
    assert [type for type, _ in values(pulled(row() | broken))] == ["provider.row"]


def test_a_single_object_reads_like_a_list_of_one() -> None:
    """`transaction` and `transactions` are the same row."""
    assert adapt(Format.MX, {"transaction": row()}, context()).events == pulled(row()).events


@pytest.mark.parametrize(
    ("times", "posted_at"),
    [
        ({}, "2026-03-09"),
        ({"posted_at": NOON}, "2026-03-09"),
        ({"posted_at": NOON - 6 * 3600}, "2026-03-09"),
        ({"posted_at": NOON + 1}, "2026-03-09T12:00:01+00:00"),
        ({"posted_at": None}, "2026-03-08"),
        ({"posted_at": None, "date": None}, "2026-03-08"),
    ],
)
def test_noon_and_midnight_mean_their_day(times: dict[str, Any], posted_at: str) -> None:
    """MX writes a date as a time of that day; in lists and in webhooks it is read as the same day."""
    assert only(pulled(row(**times)), "transaction.recorded")["posted_at"] == posted_at


def test_a_list_and_a_webhook_of_one_state_count_the_same() -> None:
    """The same object, once with its times as texts and once as numbers."""
    for order in itertools.permutations([pulled(row()).events, posted(hook()).events]):
        assert counted(itertools.chain(*order)) == {"TRN-1": -6111}


def test_revisions_order_the_changes_of_one_second() -> None:
    """MX's times are whole seconds; of two changes within one the greater revision wins (10 over 9)."""
    changes = [posted(hook("updated", 9, amount=1)).events, posted(hook("updated", 10, amount=2)).events]
    for order in itertools.permutations(changes):
        assert counted(itertools.chain(*order)) == {"TRN-1": -200}


def test_a_later_change_wins_over_a_greater_revision_of_before() -> None:
    """Time decides first."""
    changes = [
        posted(hook("updated", 3, amount=1)).events,
        posted(hook("updated", 2, amount=2, updated_at=NOON + 7200)).events,
    ]
    for order in itertools.permutations(changes):
        assert counted(itertools.chain(*order)) == {"TRN-1": -200}


def test_of_two_pulls_of_one_state_the_later_wins() -> None:
    """The next pull corrects what MX changed without a new time."""
    pulls = [
        pulled(row("1")).events,
        pulled(row("2"), hours=24).events,
        posted(hook(amount=3, updated_at=NOON + 6 * 3600)).events,
    ]
    for order in itertools.permutations(pulls):
        assert counted(itertools.chain(*order)) == {"TRN-1": -200}


def test_a_deleted_transaction_is_gone_whatever_is_applied_later() -> None:
    """Deliveries are repeated and unordered."""
    deliveries = [
        posted(hook()).events,
        posted(hook("updated", 2, amount=5)).events,
        posted(hook("deleted", 3, deleted_at=NOON + 9000)).events,
    ]
    for order in itertools.permutations([*deliveries, deliveries[0]]):
        assert counted(itertools.chain(*order)) == {}


def split(hours: float = 1, updated: str = "2026-03-09T20:00:00Z", **more: Any) -> tuple[AdaptedEvent, ...]:
    """A pull of a split transaction and its two parts, whose own time is that of the transaction before the split."""
    parts = [row(amount, guid=guid, parent_guid="TRN-1") for guid, amount in (("TRN-2", "40.11"), ("TRN-3", "21.00"))]
    return pulled(row(has_been_split=True, updated_at=updated, **more), *parts, hours=hours).events


WHOLE, PARTS = {"TRN-1": -6111}, {"TRN-2": -4011, "TRN-3": -2100}


@pytest.mark.parametrize("updated", ["2026-03-09T20:00:00Z", "2026-03-09T18:00:00.000Z"])
def test_a_split_transaction_counts_through_its_parts_alone(updated: str) -> None:
    """In any order of pulls and rows, whether or not MX gives the parent a new time, repeated as often as you like."""
    events = [*pulled(row()).events, *split(updated=updated)]
    for order in itertools.permutations(events):
        assert counted(order) == PARTS
    assert counted([*events, *events[:2]]) == PARTS


def test_parts_that_come_before_their_parent_is_known_as_split_do_not_count_twice() -> None:
    """A part replaces its parent by itself; a parent that is split does not count before its parts are there."""
    before = pulled(row()).events
    parts, parent = split()[-2:], split()[-3:-2]
    assert counted([*before, *parts]) == PARTS
    assert counted([*before, *parent]) == {}


@pytest.mark.parametrize("updated", ["2026-03-09T22:00:00Z", "2026-03-09T20:00:00Z"])
@pytest.mark.parametrize("are_removals_known", [True, False])
def test_a_transaction_whose_split_is_undone_counts_again(updated: str, are_removals_known: bool) -> None:
    """Alone once its parts are known to be gone. Until then they count in its stead: the sum is the same throughout."""
    pulls = [pulled(row()).events, split(), pulled(row(has_been_split=False, updated_at=updated), hours=2).events]
    if are_removals_known:
        gone = {"deleted_at": NOON + 40_000, "parent_guid": "TRN-1"}
        pulls.append(posted(hook("deleted", 4, guid="TRN-2", **gone)).events)
        pulls.append(posted(hook("deleted", 4, guid="TRN-3", **gone)).events)
    for order in itertools.permutations(pulls):
        assert counted(itertools.chain(*order)) == (WHOLE if are_removals_known else PARTS)


def test_a_split_in_webhooks_of_one_second_is_as_its_greatest_revision_says() -> None:
    """Split and undone within the second that MX's times have."""
    states = [
        posted(hook("updated", revision, has_been_split=is_split)).events
        for revision, is_split in ((1, False), (2, True), (3, False))
    ]
    for order in itertools.permutations(states):
        assert counted(itertools.chain(*order)) == WHOLE


def test_a_transaction_that_is_a_part_of_itself_is_kept_whole() -> None:
    """It would never count."""
    assert [type for type, _ in values(pulled(row(parent_guid="TRN-1")))] == ["provider.row"]


def test_a_repeated_delivery_is_the_same_event() -> None:
    """The object knows its time, so it does not matter when a delivery arrives."""
    assert posted(hook()).events[-1] == posted(hook(), hours=5).events[-1]


@pytest.mark.parametrize(
    ("type", "kind"),
    [("CHECKING", "asset"), ("CREDIT_CARD", "liability"), ("MORTGAGE", "liability"), ("LINE_OF_CREDIT", "liability")],
)
def test_a_balance_is_owed_on_debts(type: str, kind: str) -> None:
    """It is positive when owed, as in our events, and as of when MX last changed the account."""
    account = {
        "guid": "ACT-1",
        "type": type,
        "balance": "1000.5",
        "currency_code": "USD",
        "name": "A",
        "is_closed": False,
    }
    account |= {"updated_at": "2026-03-09T18:00:00Z", "available_balance": None, "member_guid": "MBR-1"}
    reported = only(adapt(Format.MX, {"accounts": [account]}, context()), "balance.reported")
    assert (reported["current"], reported["kind"], reported["as_of"]) == ("1000.50", kind, "2026-03-09T18:00:00+00:00")


@pytest.mark.parametrize(("number", "kind"), [(1, "asset"), (4, "liability"), (7, "liability"), (0, None), (99, None)])
def test_webhooks_may_give_the_type_of_an_account_as_a_number(number: int, kind: str | None) -> None:
    """A number that nobody knows leaves the kind open."""
    body = {"guid": "ACT-1", "member_guid": "MBR-1", "account_type": number, "action": "updated", "revision": 4}
    adapted = adapt_webhook(Provider.MX, body | {"name": "A", "balance": None, "updated_at": NOON}, context())
    assert only(adapted, "account.changed").get("kind") == kind


def test_lists_need_no_pulled_at_as_long_as_their_rows_have_times() -> None:
    """Event time is the provider's where there is one."""
    assert counted(adapt(Format.MX, {"transactions": [row()]}, context(None)).events) == {"TRN-1": -6111}
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt(Format.MX, {"transactions": [row(), row(updated_at=None)]}, context(None))
    assert refused.value.where == "transactions[1].pulled_at"


def test_a_missing_currency_must_come_from_the_integrator() -> None:
    """Without it a list is refused and a webhook becomes a pointer; with it the row is applied."""
    with pytest.raises(ProviderBodyRefused) as refused:
        pulled(row(currency_code=None))
    assert (refused.value.code, refused.value.where) == ("untold", "transactions[0].currency")
    assert posted(hook(currency_code="")).refreshes == (Refresh("ACT-1", "transactions", "created"),)
    assert counted(pulled(row(currency_code=None), currency="USD").events) == {"TRN-1": -6111}


@pytest.mark.parametrize(
    ("status", "state"),
    [("CONNECTED", "healthy"), ("CHALLENGED", "broken"), ("EXPIRED", "broken"), ("DENIED", "broken")],
)
def test_a_members_state_is_that_of_its_accounts(status: str, state: str) -> None:
    """The accounts are those registered with the member; without any the body becomes a pointer."""
    known = {"ACT-1": KnownAccount("main", connection="MBR-1")}
    body = {"guid": "MBR-1", "connection_status": status, "action": "updated", "revision": 1}
    adapted = adapt_webhook(Provider.MX, body, context(accounts=known))
    assert only(adapted, "connection.changed") == {"account_ids": ["main"], "state": state, "reason": status}
    assert adapt_webhook(Provider.MX, body, context()).refreshes == (Refresh("MBR-1", "connection", "updated"),)
    assert connections_named(Provider.MX, body) == {"MBR-1"}
    listed = {"members": [{"guid": "MBR-1", "connection_status": status}]}
    assert connections_named(Format.MX, listed) == {"MBR-1"}
    assert only(adapt(Format.MX, listed, context(accounts=known)), "connection.changed")["state"] == state


@pytest.mark.parametrize(
    ("type", "kind"),
    [("AGGREGATION", "transactions"), ("BALANCE", "balances"), ("HISTORY", "transactions"), ("NEW", "new")],
)
def test_a_members_new_data_is_a_pointer(type: str, kind: str) -> None:
    """Such a webhook says that there is something to pull, and no more."""
    body = {"type": type, "action": "member_data_updated", "member_guid": "MBR-1", "completed_at": NOON}
    assert adapt_webhook(Provider.MX, body, context()) == Adapted(
        refreshes=(Refresh("MBR-1", kind, "member_data_updated"),)
    )


def test_a_code_of_mx_that_cannot_be_stored_is_cleaned() -> None:
    """A database takes neither a zero byte nor half a surrogate pair, nor a name as long as a page."""
    hook = {"action": "created", "type": "\0\ud800New" + "x" * 500, "member_guid": "MBR-1"}
    (asked,) = adapt_webhook(Provider.MX, hook, context()).refreshes
    assert asked.kind == ("new" + "x" * 500)[:100]


@pytest.mark.parametrize(("status", "state"), [("LOCKED", "broken"), ("CONNECTED", "healthy")])
def test_a_webhook_of_a_status_says_what_the_members_status_says(status: str, state: str) -> None:
    """A state that waits for the user is broken; should MX ever post a good state, it is healthy."""
    known = {"ACT-1": KnownAccount("main", connection="MBR-1")}
    body = {"type": "CONNECTION_STATUS", "action": "CHANGED", "connection_status": status, "member_guid": "MBR-1"}
    changed = only(adapt_webhook(Provider.MX, body, context(accounts=known)), "connection.changed")
    assert (changed["state"], changed["reason"]) == (state, status)


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"action": "created"}, hook(revision=-1), hook(revision=10**30), {"action": 5, "guid": "TRN-1"}],
)
def test_what_is_no_webhook_of_mx_is_refused(body: object) -> None:
    """It has no action, no subject or no whole revision."""
    with pytest.raises(ProviderBodyRefused):
        adapt_webhook(Provider.MX, body, context())
