"""GET /accounts: what is known of accounts, and what their reports say beyond the transactions."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any, Protocol
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import MakeClient
from tests.api.paging import refused_fields, walk

_numbers = count(1)


class Tell(Protocol):
    """Sends an event about the account `a` and applies it."""

    def __call__(self, type: str, time: str = "2026-01-31T12:00:00Z", **data: Any) -> None: ...


@pytest.fixture
def tell(client: MakeClient, apply_stream: Callable[[], Any]) -> Tell:
    """Sends events of the default tenant."""
    producer = client("events:write")

    def send(type: str, time: str = "2026-01-31T12:00:00Z", **data: Any) -> None:
        envelope = {"specversion": "1.0", "id": f"e{next(_numbers)}", "source": "bank", "time": time}
        body = {**envelope, "type": f"milepost.{type}", "data": {"account_id": "a", **data}}
        assert producer.post("/events", json=body).status_code == 202
        assert apply_stream().dead_letters == 0

    return send


@pytest.fixture
def reports(tell: Tell) -> Callable[..., None]:
    """States a balance a day, from January 1 on."""

    def state(*balances: Any, account_id: str = "a", **more: Any) -> None:
        for day, current in enumerate(balances, 1):
            as_of = f"2026-01-{day:02}T12:00:00Z"
            tell("balance.reported", account_id=account_id, current=current, currency="USD", as_of=as_of, **more)

    return state


@pytest.fixture
def pay(tell: Tell) -> Callable[..., None]:
    """States a booked transaction of a day in January."""

    def state(name: str, amount: str, day: int, account_id: str = "a", **more: Any) -> None:
        posted_at = f"2026-01-{day:02}T10:00:00Z"
        data = {"transaction_id": name, "amount": amount, "currency": "USD", "posted_at": posted_at}
        tell("transaction.recorded", account_id=account_id, **data, **more)

    return state


@pytest.fixture
def differences(api: TestClient, exact: Callable[[Any], Any]) -> Callable[..., list[Any]]:
    """The differences of an account's reports, the newest first, as text."""

    def read(account_id: str = "a") -> list[Any]:
        response = api.get(f"/accounts/{quote(account_id, safe='')}/reports")
        assert response.status_code == 200, response.text
        shown = [report["difference"] for report in exact(response)]
        return [None if each is None else str(each) for each in shown]

    return read


def test_an_account_is_shown_with_its_latest_facts(api: TestClient, tell: Tell, exact: Callable[[Any], Any]) -> None:
    """Worth, currency, name, kind, user, the last report with its difference and event, the last fact of any kind, and
    the connection with its state.
    """
    tell("account.changed", name="Savings", kind="asset", user_id="ann")
    tell("balance.reported", current="100.00", currency="USD", as_of="2026-01-30T12:00:00Z")
    tell(
        "balance.reported",
        "2026-01-31T12:00:05Z",
        current="87.70",
        available="80.00",
        currency="USD",
        as_of="2026-01-31T12:00:00Z",
    )
    last_report_id = f"e{next(_numbers) - 1}"
    tell("transaction.recorded", "2026-02-03T08:00:00Z", **_row("t", "5.00", "2026-02-01T10:00:00Z"))
    tell("connection.changed", "2026-02-04T09:00:00.5Z", account_ids=["a"], state="broken", reason="login expired")
    expected = {
        "account_id": "a",
        "name": "Savings",
        "user_id": "ann",
        "kind": "asset",
        "currency": "USD",
        "currency_from": "report",
        "worth": Decimal("92.70"),
        "closed": False,
        "replaced_by": None,
        "replaces": [],
        "opened": None,
        "counts_from": None,
        "counts_until": None,
        "note": None,
        "last_report": {
            "as_of": "2026-01-31T12:00:00Z",
            "currency": "USD",
            "current": Decimal("87.70"),
            "available": Decimal("80.00"),
            "difference": Decimal("-12.30"),
            "time": "2026-01-31T12:00:05Z",
            "source": "bank",
            "id": last_report_id,
        },
        "last_fact": {"type": "transaction", "at": "2026-02-01T10:00:00Z", "time": "2026-02-03T08:00:00Z"},
        "connection": {
            "provider": None,
            "id": None,
            "state": "broken",
            "reason": "login expired",
            "changed_at": "2026-02-04T09:00:00.500000Z",
        },
    }
    assert exact(api.get("/accounts/a")) == expected
    assert exact(api.get("/accounts")) == [expected]
    tell("account.changed", "2026-02-05T09:00:00Z", closed=True)
    assert api.get("/accounts/a").json()["closed"] is True


def _row(name: str, amount: str, posted_at: str) -> dict[str, Any]:
    return {"transaction_id": name, "amount": amount, "currency": "USD", "posted_at": posted_at}


def test_an_account_without_facts_is_shown_with_what_is_known(api: TestClient, new_goal: Callable[..., str]) -> None:
    """An account that only a link has named has the name of the link, and null for all that facts say."""
    link = {"account_id": "a", "account_name": "Linked", "allocation_percent": 5}
    assert api.post(f"/goals/{new_goal()}/funding", json=link).status_code == 201
    body = api.get("/accounts/a").json()
    assert (body.pop("account_id"), body.pop("name"), body.pop("kind"), body.pop("closed")) == (
        "a",
        "Linked",
        "asset",
        False,
    )
    assert body.pop("replaces") == []
    assert set(body.values()) == {None}


def test_it_says_who_named_the_currency(
    api: TestClient, client: MakeClient, pay: Callable[..., None], reports: Callable[..., None], tell: Tell
) -> None:
    """A transaction, until a report names the currency; before both, what was stated or registered, the latest."""
    provider = client("events:write")
    pay("t", "1.00", 1)
    assert api.get("/accounts/a").json()["currency_from"] == "transaction"
    reports("1.00")
    assert api.get("/accounts/a").json()["currency_from"] == "report"
    tell("account.changed", currency="USD")
    assert api.get("/accounts/a").json()["currency_from"] == "statement"
    tell("account.changed", "2026-02-01T12:00:00Z", currency=None)
    for name, currency, shown in (
        ("p0", None, ("USD", "report", 1.0)),
        ("p1", "EUR", ("EUR", "registration", 0.0)),
        ("p2", "USD", ("USD", "registration", 1.0)),
    ):
        registration = {"account_id": "a", "currency": currency, "connection": f"item {name}"}
        assert provider.put(f"/provider-accounts/plaid/{name}", json=registration).status_code == 200
        body = api.get("/accounts/a").json()
        assert (body["currency"], body["currency_from"], body["worth"]) == shown
        assert (body["connection"]["provider"], body["connection"]["id"]) == ("plaid", f"item {name}")


def test_the_difference_is_what_the_transactions_do_not_explain(
    reports: Callable[..., None], pay: Callable[..., None], tell: Tell, differences: Callable[..., list[Any]]
) -> None:
    """None for the first report, 0 where rows explain the balance; a row that comes later explains it after all, and
    one that is removed no longer does.
    """
    pay("t2", "-20.00", 2)
    reports("100.00", "80.00", "95.00")
    assert differences() == ["15.00", "0.00", None]
    pay("t3", "15.00", 3)
    assert differences() == ["0.00", "0.00", None]
    tell("transaction.removed", "2026-02-01T12:00:00Z", transaction_id="t2")
    assert differences() == ["0.00", "-20.00", None]


@pytest.mark.parametrize(("kind", "expected"), [("asset", "25.00"), ("liability", "-25.00")])
def test_the_difference_is_told_as_worth(
    reports: Callable[..., None], differences: Callable[..., list[Any]], kind: str, expected: str
) -> None:
    """A balance that is 25.00 higher is more worth in an asset, and less in what is owed."""
    reports("100.00", "125.00", kind=kind)
    assert differences() == [expected, None]


def test_reports_come_in_pages_the_newest_first(api: TestClient, reports: Callable[..., None]) -> None:
    """Pages of two hold each report once, whatever is added before the first meanwhile; a changed cursor is refused."""
    reports(*range(1, 6))
    (whole,) = walk(api, "/accounts/a/reports")
    assert [each["as_of"][8:10] for each in whole] == ["05", "04", "03", "02", "01"]
    assert walk(api, "/accounts/a/reports?limit=2") == [whole[:2], whole[2:4], whole[4:]]
    assert refused_fields(api.get("/accounts/a/reports?limit=0")) == [["query", "limit"]]
    following = api.get("/accounts/a/reports?limit=2").links["next"]["url"]
    reports("2", "3", "4", "5", "6", "7")
    assert [each["as_of"] for each in api.get(following).json()] == [each["as_of"] for each in whole[2:4]]
    assert refused_fields(api.get(following.replace("accounts/a/", "accounts/b/"))) == [["query", "cursor"]]


def test_reports_in_another_currency_have_no_difference(
    api: TestClient, reports: Callable[..., None], tell: Tell
) -> None:
    """Such a report is listed with the digits of its own currency, and is neither the last report nor a difference."""
    reports("100.00", "100.00")
    foreign = {"currency": "JPY", "current": 5000, "as_of": "2026-01-02T13:00:00Z"}
    tell("balance.reported", "2026-02-01T12:00:00Z", account_id="a", **foreign)
    shown, last, _ = api.get("/accounts/a/reports").json()
    assert (shown["currency"], shown["current"], shown["difference"]) == ("JPY", 5000, None)
    assert api.get("/accounts/a").json()["last_report"] == last


def test_accounts_are_listed_by_user_and_page(api: TestClient, reports: Callable[..., None]) -> None:
    """In the order of their ids, each once; of one user those that are that user's now, and of a made-up one none."""
    for account_id, user_id in (("b", "ann"), ("a", "bob"), ("c/d", "ann"), ("c", "ann")):
        reports("1.00", account_id=account_id, user_id=user_id)

    def listed(query: str) -> list[list[str]]:
        return [[each["account_id"] for each in page] for page in walk(api, f"/accounts?limit=2{query}")]

    assert listed("") == [["a", "b"], ["c", "c/d"]]
    assert listed("&user_id=ann") == [["b", "c"], ["c/d"]]
    assert listed("&user_id=eve") == [[]]
    cursor = api.get("/accounts?limit=1").links["next"]["url"].partition("cursor=")[2]
    for query in ("user_id=ann", "has_difference=true"):
        assert refused_fields(api.get(f"/accounts?{query}&cursor={cursor}")) == [["query", "cursor"]]


def test_accounts_with_a_lasting_difference_are_listed(api: TestClient, reports: Callable[..., None]) -> None:
    """Those with one that three more reports left as it is; not one that was taken back or is too young to tell."""
    balances = {
        "explained": "100 100 100 100 100",
        "lasting": "100 150 150 150 150",
        "taken back": "100 150 150 150 100 100 100 100",
        "young": "100 100 150 150 150",
    }
    for account_id, reported in balances.items():
        reports(*reported.split(), account_id=account_id)
    assert _listed(api, "true") == ["lasting"]
    assert _listed(api, "false") == ["explained", "taken back", "young"]
    assert refused_fields(api.get("/accounts?has_difference=maybe")) == [["query", "has_difference"]]


def test_a_page_looks_at_a_limited_number_of_accounts(
    api: TestClient, reports: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So pages may be short or empty, and following them still meets each account once."""
    monkeypatch.setattr("core.store.account_views.ACCOUNTS_AT_ONCE", 3)
    for number in range(9):
        reports("1", *(["2"] * 4 if number in (0, 1, 8) else []), account_id=f"a{number}")
    pages = [[each["account_id"] for each in page] for page in walk(api, "/accounts?has_difference=true&limit=1")]
    assert pages == [["a0"], ["a1"], [], ["a8"]]
    assert _listed(api, "false") == ["a2", "a3", "a4", "a5", "a6", "a7"]


def _listed(api: TestClient, has_difference: str) -> list[str]:
    return [each["account_id"] for page in walk(api, f"/accounts?has_difference={has_difference}") for each in page]


@pytest.mark.parametrize("account_id", ["DE/12 34?ü%", "a/b/c", "/a", "a//b", "v1.", "allocations", "reports"])
def test_an_account_of_any_id_is_found(api: TestClient, reports: Callable[..., None], account_id: str) -> None:
    """An id with slashes, spaces and accents finds its account, and its reports, and no other."""
    reports("1.00", account_id=account_id)
    reports("2.00", "3.00", account_id="b")
    path = f"/accounts/{quote(account_id, safe='')}"
    assert api.get(path).json()["account_id"] == account_id
    assert [each["current"] for each in api.get(f"{path}/reports").json()] == [1]


@pytest.mark.parametrize("rest", ["", "/reports"])
@pytest.mark.parametrize("account_id", ["never", "", "%00", "x" * 9000, "%F0%9F%98%80", "'; DROP"])
def test_an_account_that_no_one_named_is_not_found(api: TestClient, account_id: str, rest: str) -> None:
    """An account without events and links is 404, whatever its id looks like."""
    response = api.get(f"/accounts/{account_id}{rest}")
    assert (response.status_code, response.json()) == (404, {"detail": "Account not found"})


def test_accounts_are_their_tenants_own(client: MakeClient, reports: Callable[..., None]) -> None:
    """Another tenant finds neither the account nor its reports, lists none, and shows nothing that it registered."""
    reports("1.00", *["5.00"] * 4)
    other = client(tenant="other")
    assert other.get("/accounts/a").status_code == other.get("/accounts/a/reports").status_code == 404
    assert other.get("/accounts").json() == other.get("/accounts?has_difference=true").json() == []
    assert other.put("/provider-accounts/plaid/p", json={"account_id": "a", "user_id": "u"}).status_code == 200
    assert other.get("/accounts/a").status_code == 404, "a registration without a currency states nothing of it"
    assert other.put("/provider-accounts/plaid/p", json={"account_id": "a", "currency": "EUR"}).status_code == 200
    assert other.get("/accounts/a").json()["currency"] == "EUR"
    body = client().get("/accounts/a").json()
    assert (body["currency_from"], body["connection"]) == ("report", None)
