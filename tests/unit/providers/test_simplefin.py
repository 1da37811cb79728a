"""SimpleFIN: whose sign an amount has, what a time means, which accounts a body is about."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from typing import Any

import pytest

from core.errors import EventRejected, ProviderBodyRefused
from core.events.envelope import check_envelope, parse_json
from core.ingestion.parse import parse_event
from core.providers.contracts import Adapted, KnownAccount
from core.providers.registry import Format, accounts_named, adapt, connections_named
from core.providers.rows import ROW_TYPE
from tests.unit.providers.adapted import PULLED, UTC_ZONE, context, counted, later, only, values


def epoch(*moment: int) -> int:
    """Seconds since 1970 of a moment in UTC."""
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]


MIDNIGHT, NOON, READ = epoch(2026, 3, 9), epoch(2026, 3, 9, 12), epoch(2026, 3, 10, 6, 30)
CARD = {"ACT-1": KnownAccount("card", "u", "liability")}


def row(amount: Any = "-5.50", **more: Any) -> dict[str, Any]:
    """A posted transaction."""
    posted = {"id": "TRN-1", "posted": NOON, "amount": amount, "description": "COFFEE SHOP 12", "payee": "Coffee Shop"}
    return (
        posted
        | {"memo": "", "transacted_at": MIDNIGHT - 40_000, "pending": False, "extra": {"category": "food"}}
        | more
    )


def account(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An account of version 1."""
    about = {"org": {"domain": "bank.example", "sfin-url": "https://bank.example"}, "id": "ACT-1", "name": "Daily"}
    money = {"currency": "USD", "balance": "100.23", "available-balance": "75.20", "balance-date": READ}
    return about | money | {"transactions": list(rows), "extra": {}} | more


def pulled(*accounts: Any, hours: float = 0, errors: Any = (), **given: Any) -> Adapted:
    """What an answer becomes, of accounts that are assets unless registered."""
    body = {"errors": list(errors), "accounts": list(accounts)}
    return adapt(Format.SIMPLEFIN, body, later(hours, **{"kind": "asset"} | given))


def reason(adapted: Adapted) -> str:
    """Why the only row that was kept whole was not understood."""
    envelopes = [check_envelope(parse_json(event.event)) for event in adapted.events]
    (kept,) = [envelope for envelope in envelopes if envelope.type == ROW_TYPE]
    with pytest.raises(EventRejected) as rejected:
        parse_event(kept, UTC_ZONE, PULLED)
    return rejected.value.message


@pytest.mark.parametrize("known", [{}, CARD])
def test_an_amount_is_the_holders_on_every_kind_of_account(known: dict[str, KnownAccount]) -> None:
    """Money out is negative, on a card as on a current account."""
    rows = [row("-5.50"), row("20", id="TRN-2")]
    assert counted(pulled(account(*rows), accounts=known).events) == {"TRN-1": -550, "TRN-2": 2000}


@pytest.mark.parametrize(("given", "current"), [("-250.00", "250.00"), ("0", "0.00"), ("12.5", "-12.50")])
def test_a_negative_balance_of_a_liability_is_owed(given: str, current: str) -> None:
    """The body writes it below zero; a card that was paid twice owes less than nothing."""
    body = account(**{"balance": given, "available-balance": "4750.00"})
    reported = only(pulled(body, accounts=CARD), "balance.reported")
    assert (reported["current"], reported["kind"]) == (current, "liability")


def test_what_can_be_spent_on_a_liability_is_no_money_of_its_holder() -> None:
    """It is what is left of a limit; of an asset it is kept beside the balance."""
    body = account(**{"available-balance": "4750.00"})
    assert "available" not in only(pulled(body, accounts=CARD), "balance.reported")
    assert only(pulled(body), "balance.reported")["available"] == "4750.00"


@pytest.mark.parametrize("recorded", [False, True])
def test_only_the_caller_knows_the_kind(recorded: bool) -> None:
    """The protocol has no types. A report without a kind would change its sign when the kind is said later."""
    if recorded:
        known = {"ACT-1": KnownAccount("card", recorded_kind="liability")}
        body = account(balance="-250")
        reported = only(pulled(body, kind=None, accounts=known), "balance.reported")
        assert (reported["current"], "kind" in reported) == ("250.00", False)
        return
    with pytest.raises(ProviderBodyRefused) as refused:
        pulled(account(id="ACT-0"), account(), kind=None, accounts={"ACT-0": KnownAccount("a", kind="asset")})
    assert (refused.value.code, refused.value.where) == ("untold", "accounts[1].kind")


@pytest.mark.parametrize(
    ("times", "posted_at", "pending"),
    [
        ({"posted": MIDNIGHT}, "2026-03-09", False),
        ({"posted": NOON}, "2026-03-09", False),
        ({"posted": NOON + 90}, "2026-03-09T12:01:30+00:00", False),
        ({"posted": NOON, "pending": True}, "2026-03-09", True),
        ({"posted": 0, "pending": True}, "2026-03-08T12:53:20+00:00", True),
        ({"posted": 0, "pending": False}, "2026-03-08T12:53:20+00:00", True),
        ({"posted": None, "pending": True, "transacted_at": None}, "2026-03-10T12:00:00+00:00", True),
    ],
)
def test_midnight_and_noon_are_dates_and_0_is_pending(times: dict[str, Any], posted_at: str, pending: bool) -> None:
    """A row whose `posted` is 0 is not posted, whatever else it says: it must not count before it is."""
    recorded = only(pulled(account(row(**times))), "transaction.recorded")
    assert (recorded["posted_at"], recorded["pending"]) == (posted_at, pending)


@pytest.mark.parametrize("posted", ["", None, "2026-03-09", False])
def test_a_posted_row_without_a_time_is_kept_whole(posted: Any) -> None:
    """Only a 0 means pending; a row that does not say when it was posted waits until someone has looked at it."""
    assert "posted" in reason(pulled(account(row(posted=posted))))


def test_a_row_that_posts_under_its_id_or_another_counts_once() -> None:
    """A pending row counts nothing, so it does not matter whether it is ever taken back."""
    hold = pulled(account(row(posted=0, pending=True), row(id="TRN-2", posted=0, pending=True)))
    posted = pulled(account(row("-6.00"), row("-6.00", id="TRN-3")), hours=24)
    for order in itertools.permutations([hold.events, posted.events]):
        assert counted(itertools.chain(*order)) == {"TRN-1": -600, "TRN-3": -600}


@pytest.mark.parametrize("amount", [f"-{n}.00" for n in range(6, 12)])
def test_of_a_pending_and_a_posted_row_in_one_pull_the_posted_one_counts(amount: str) -> None:
    """Some servers show both under one id, until the pending one is gone; whatever they differ in, in either order."""
    both = [row(posted=0, pending=True), row(amount)]
    for rows in itertools.permutations(both):
        assert list(counted(pulled(account(*rows)).events).values()) == [int(amount[:-3]) * 100]


DAYS = (date(2026, 1, 1), date(2026, 3, 10))


def windows(adapted: Adapted) -> list[tuple[str, str]]:
    """The account and the time of each window that a body becomes."""
    envelopes = [check_envelope(parse_json(event.event)) for event in adapted.events]
    of_windows = [envelope for envelope in envelopes if envelope.type == "milepost.window.reported"]
    assert all((each.data["from"], each.data["through"]) == ("2026-01-01", "2026-03-10") for each in of_windows)
    return [(each.data["account_id"], each.time.isoformat()) for each in of_windows]


def test_a_whole_pull_is_one_for_each_of_its_accounts() -> None:
    """As of the balance with which the rows were read; not of an account whose rows are not there or not understood."""
    accounts = [
        account(row()),
        account(id="ACT-2", **{"balance-date": 0}),
        account(row("a lot"), id="ACT-3"),
        account(id="ACT-4", transactions=None),
        account(row(), id="ACT-5", balance="a lot"),
        account(row(), id="ACT-6", currency="https://bank.example/miles"),
    ]
    expected = [("ACT-1", "2026-03-10T06:30:00+00:00"), ("ACT-2", "2026-03-10T12:00:00+00:00")]
    assert windows(pulled(*accounts, complete=DAYS)) == expected
    assert windows(pulled(*accounts)) == []
    known = {"ACT-1": KnownAccount("main", kind="asset", since=date(2026, 3, 11))}
    assert windows(pulled(account(row()), complete=DAYS, accounts=known)) == []


def test_the_former_id_of_an_account_takes_back_no_rows_of_the_next() -> None:
    """A server that still lists the account of the former login has no rows there, and perhaps a later balance."""
    first, second = KnownAccount("main", kind="asset"), KnownAccount("main", kind="asset", since=date(2026, 3, 1))
    accounts = account(id="OLD", **{"balance-date": READ + 60}), account(row(), id="NEW")
    adapted = pulled(*accounts, complete=DAYS, accounts={"OLD": first, "NEW": second})
    days = [
        (envelope.data["from"], envelope.data["through"])
        for envelope in (check_envelope(parse_json(event.event)) for event in adapted.events)
        if envelope.type == "milepost.window.reported"
    ]
    assert days == [("2026-01-01", "2026-02-28"), ("2026-03-01", "2026-03-10")]


def test_an_account_of_a_bank_that_did_not_answer_has_not_lost_its_rows() -> None:
    """An answer with errors is no whole pull, in either version, whatever the caller says."""
    assert windows(pulled(account(row()), errors=["Connection to Bank may need attention"], complete=DAYS)) == []
    body = {"errlist": [{"code": "con.auth", "conn_id": "CON-1", "msg": "Sign in"}], "accounts": [account()]}
    assert windows(adapt(Format.SIMPLEFIN, body, context(kind="asset", complete=DAYS))) == []


def test_balances_alone_are_no_whole_pull() -> None:
    """They were asked for without transactions."""
    with pytest.raises(ProviderBodyRefused, match="no account has transactions"):
        pulled(account(transactions=None), complete=DAYS)


@pytest.mark.parametrize(
    ("read", "time", "as_of"),
    [
        (READ, "2026-03-10T06:30:00+00:00", "2026-03-10T06:30:00+00:00"),
        (READ + 86_400, "2026-03-10T12:00:00+00:00", "2026-03-10T12:00:00+00:00"),
        (MIDNIGHT, "2026-03-10T12:00:00+00:00", "2026-03-09"),
        (0, "2026-03-10T12:00:00+00:00", "2026-03-10T12:00:00+00:00"),
        (None, "2026-03-10T12:00:00+00:00", "2026-03-10T12:00:00+00:00"),
    ],
)
def test_balance_and_rows_are_of_the_time_at_which_the_server_had_them(read: Any, time: str, as_of: str) -> None:
    """A server asks the bank once a day. A date says no time, and no time is later than the pull."""
    adapted = pulled(account(row(), **{"balance-date": read}))
    envelopes = [check_envelope(parse_json(event.event)) for event in adapted.events]
    times = {envelope.type.removeprefix("milepost."): envelope.time.isoformat() for envelope in envelopes}
    assert times == {
        "account.changed": "2026-03-10T12:00:00+00:00",
        "balance.reported": time,
        "transaction.recorded": time,
    }
    assert only(adapted, "balance.reported")["as_of"] == as_of


@pytest.mark.parametrize(
    ("posted", "pending", "is_of_the_pull"),
    [
        (READ, False, False),
        (READ + 60, False, True),
        (epoch(2026, 3, 10), False, False),
        (epoch(2026, 3, 11), False, True),
        (epoch(2026, 3, 11), True, False),
    ],
)
def test_a_row_that_posted_after_the_balance_was_not_read_with_it(
    posted: int, pending: bool, is_of_the_pull: bool
) -> None:
    """A server that leaves balance-date as it is would otherwise give rows a time before they happened."""
    envelope = check_envelope(parse_json(pulled(account(row(posted=posted, pending=pending))).events[-1].event))
    read = datetime.fromtimestamp(READ, UTC)
    assert envelope.time == (PULLED if is_of_the_pull else read)


def test_of_two_pulls_of_one_balance_the_later_wins() -> None:
    """A server may change a row and leave balance-date as it was."""
    pulls = [pulled(account(row("-5.50"))).events, pulled(account(row("-6.00")), hours=1).events]
    for order in itertools.permutations(pulls):
        assert counted(itertools.chain(*order)) == {"TRN-1": -600}


def test_an_account_of_points_is_no_money_and_does_not_hold_up_the_others() -> None:
    """Its currency is a URL: the account becomes a dead letter that says so, and its rows are left out."""
    points = account(row(), id="ACT-2", currency="https://bank.example/miles")
    adapted = pulled(points, account(row("-7.00")), kind=None, accounts={"ACT-1": KnownAccount("a", kind="asset")})
    assert "ISO 4217" in reason(adapted)
    understood = [event for event in adapted.events if ROW_TYPE.encode() not in event.event]
    assert counted(understood) == {"TRN-1": -700}


def test_two_accounts_with_one_id_are_refused() -> None:
    """Ids are unique within a connection alone: their money would become one account's."""
    with pytest.raises(ProviderBodyRefused) as refused:
        pulled(account(), account(org={"domain": "other.example"}))
    assert (refused.value.code, refused.value.where) == ("not_this_form", "accounts[1].id")


def test_rows_that_the_former_account_reported_are_left_out() -> None:
    """After a new login the account has another id, and its history comes again."""
    known = {"ACT-1": KnownAccount("main", kind="asset", since=date(2026, 3, 9))}
    rows = [row(posted=MIDNIGHT - 1), row(id="TRN-2")]
    assert counted(pulled(account(*rows), accounts=known).events) == {"TRN-2": -550}


def second_version(*errors: dict[str, Any]) -> dict[str, Any]:
    """A body of version 2: two connections, one of them without accounts in the body."""
    connections = [{"conn_id": name, "name": name, "org_id": "ORG"} for name in ("CON-1", "CON-2")]
    own = {name: value for name, value in account(row()).items() if name != "org"} | {"conn_id": "CON-1"}
    return {"errlist": list(errors), "connections": connections, "accounts": [own]}


def test_a_connection_is_broken_by_its_own_errors_alone() -> None:
    """For the accounts that the body or a registration gives it; without an error it is healthy again."""
    known = {"ACT-9": KnownAccount("old", connection="CON-2")}
    errors = [
        {"code": "con.auth", "msg": "Sign in again", "conn_id": "CON-2"},
        {"code": "act.missingdata", "msg": "Incomplete", "account_id": "ACT-1"},
        {"code": "gen.api", "msg": "No such parameter"},
    ]
    body = second_version(*errors)
    adapted = adapt(Format.SIMPLEFIN, body, context(kind="asset", accounts=known))
    assert [data for type, data in values(adapted) if type == "connection.changed"] == [
        {"account_ids": ["ACT-1"], "state": "healthy"},
        {"account_ids": ["old"], "state": "broken", "reason": "con.auth"},
    ]
    assert connections_named(Format.SIMPLEFIN, body) == {"CON-1", "CON-2"}
    assert accounts_named(Format.SIMPLEFIN, body) == {"ACT-1"}


def test_the_errors_of_version_1_are_texts_and_state_nothing() -> None:
    """They name no connection; only a person can read them."""
    assert pulled(account(), errors=["Connection to Bank may need attention"]) == pulled(account())


def test_every_body_needs_the_time_of_its_pull() -> None:
    """What the caller says of the accounts is known since then."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt(Format.SIMPLEFIN, {"accounts": [account()]}, context(None, kind="asset"))
    assert (refused.value.code, refused.value.where) == ("untold", "accounts[0].pulled_at")


@pytest.mark.parametrize(
    "body", [None, [], {}, {"errors": ["x"]}, {"accounts": {}}, {"accounts": [{"transactions": 5}]}]
)
def test_a_body_of_another_form_is_refused(body: Any) -> None:
    """It is an error that the server answered, or has something else where an array must be."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt(Format.SIMPLEFIN, body, context(kind="asset"))
    assert refused.value.code == "not_this_form"
