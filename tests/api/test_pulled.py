"""POST /events?format=: bodies as providers give them become events, all of them or none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from sqlalchemy import Engine, text

from api.batches import MAX_EVENTS
from core.providers.registry import Format
from core.stream.entries import stream_key
from tests.api.conftest import MakeClient
from tests.api.paging import refused_fields
from tests.api.provider_bodies import FORMATS, GOCARDLESS, MX, SPENT, SYNC, TELLER

PULLED_AT = "2026-03-01T08:00:00Z"
Entries = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def entries(redis_url: str) -> Iterator[Entries]:
    """Tenant and event of each entry on the stream."""
    with Redis.from_url(redis_url) as redis:

        def read() -> list[tuple[str, str]]:
            rows: list[Any] = [row for shard in range(2) for row in redis.xrange(stream_key(shard))]  # type: ignore[union-attr]
            return [(fields[b"tenant"].decode(), fields[b"event"].decode()) for _, fields in rows]

        yield read


def send(api: TestClient, format: str, body: object, headers: dict[str, str] | None = None, **query: str) -> Any:
    """Send a body; without `pulled_at` it was pulled at PULLED_AT."""
    encoded = urlencode({"format": format, "pulled_at": PULLED_AT, **query})
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.post(f"/events?{encoded}", content=raw, headers={"Content-Type": "application/json", **(headers or {})})


@pytest.mark.parametrize("format", [str(format) for format in Format])
def test_a_pulled_body_takes_effect(
    api: TestClient, entries: Entries, apply_stream: Callable[[], Any], engine: Engine, format: str
) -> None:
    """As many events as the answer says, and no dead letter among them; sent again, nothing moves."""
    body, query = FORMATS[format]
    answer = send(api, format, body, **query)
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"accepted": len(entries())}
    assert apply_stream().dead_letters == 0
    facts = text("SELECT worth_minor, currency, kind FROM accounts WHERE account_id = 'acc_1'")
    with engine.connect() as connection:
        before = connection.execute(facts).one()
    assert send(api, format, body, **query).status_code == 202
    assert apply_stream().dead_letters == 0
    with engine.connect() as connection:
        assert connection.execute(facts).one() == before
    assert before[0] != 0


def test_a_list_of_members_gives_the_state_of_their_accounts(api: TestClient, entries: Entries) -> None:
    """They are found by the connection that was registered for them; a member without any account says nothing."""
    registered = {"account_id": "savings_001", "connection": "MBR-1"}
    assert api.put("/provider-accounts/mx/ACT-1", json=registered).status_code in (200, 201)
    members = [{"guid": name, "connection_status": "EXPIRED"} for name in ("MBR-1", "MBR-2")]
    assert send(api, "mx", {"members": members}).json() == {"accepted": 1}
    ((_, event),) = entries()
    assert json.loads(event)["data"] == {"account_ids": ["savings_001"], "state": "broken", "reason": "EXPIRED"}


@pytest.mark.parametrize("format", ["gocardless", "enablebanking"])
def test_a_pull_of_whole_days_removes_what_it_no_longer_has(
    api: TestClient, apply_stream: Callable[[], Any], engine: Engine, format: str
) -> None:
    """A row of these days; the pull is refused if it has no transactions, and then nothing is removed."""
    body, query = FORMATS[format]
    days = {"complete_from": "2026-02-01", "complete_through": "2026-03-01"}
    none = {"transactions": {"booked": []} if format == "gocardless" else []}
    worth = text("SELECT worth_minor FROM accounts WHERE account_id = 'acc_1'")

    def worth_after(later: object, at: str) -> int:
        assert send(api, format, later, **query, **days, pulled_at=at).status_code == 202
        assert apply_stream().dead_letters == 0
        with engine.connect() as connection:
            return int(connection.execute(worth).scalar_one())

    assert worth_after(body, "2026-03-01T08:00:00Z") == -12_30
    refused = send(api, format, {"balances": []}, **query, **days, pulled_at="2026-03-01T09:00:00Z")
    assert (refused.status_code, "complete_from" in refused.text) == (422, True)
    assert worth_after(none, "2026-03-01T10:00:00Z") == 0
    assert worth_after(body, "2026-03-01T09:00:00Z") == 0
    assert worth_after(body, "2026-03-01T11:00:00Z") == -12_30


def test_rows_of_whole_days_that_get_new_ids_count_once(
    api: TestClient, apply_stream: Callable[[], Any], engine: Engine
) -> None:
    """Of SimpleFIN, whose rows have the time of the balance beside them; an answer with an error removes nothing."""
    days = {"complete_from": "2026-02-01", "complete_through": "2026-03-01"}
    worth = text("SELECT worth_minor FROM accounts WHERE account_id = 'ACT-1'")

    def worth_after(hour: int, *ids: str, errors: tuple[str, ...] = ()) -> int:
        rows = [{"id": each, "posted": 1_771_934_400, "amount": "-5.00"} for each in ids]
        about = {"id": "ACT-1", "currency": "USD", "balance": None, "balance-date": 1_772_323_200 + 3600 * hour}
        body = {"errors": errors, "accounts": [about | {"transactions": rows}]}
        at = f"2026-03-01T{hour + 1:02}:00:00Z"
        assert send(api, "simplefin", body, kind="asset", **days, pulled_at=at).status_code == 202
        assert apply_stream().dead_letters == 0
        with engine.connect() as connection:
            return int(connection.execute(worth).scalar_one())

    assert worth_after(1, "a1", "a2") == -10_00
    assert worth_after(3, "b1", "b2") == -10_00
    assert worth_after(5, errors=("Sign in again",)) == -10_00
    assert worth_after(7, "b1") == -5_00


def test_amounts_keep_every_digit(api: TestClient, entries: Entries) -> None:
    """Also those that no double holds, and those that are no amount of ours."""
    raw = json.dumps(SYNC).replace("72.25", "12345678901234567.8900").encode()
    assert send(api, "plaid-sync", raw).status_code == 202
    assert any("12345678901234567.8900" in event for _, event in entries())


def test_what_is_registered_for_accounts_holds_for_their_bodies(client: MakeClient, entries: Entries) -> None:
    """The integrator's own id, its user, the currency that Teller leaves out; of its own tenant only."""
    own, other = client("admin", tenant="acme"), client("admin")
    registered = {"account_id": "checking", "user_id": "u1", "currency": "EUR", "kind": "asset"}
    own.put("/provider-accounts/teller/acc_1", json=registered)
    assert send(own, "teller", TELLER).status_code == 202
    spent = [json.loads(event) for tenant, event in entries() if "txn_1" in event and tenant == "acme"]
    assert [(each["data"]["account_id"], each["data"]["currency"]) for each in spent] == [("checking", "EUR")]
    refused = send(other, "teller", TELLER, kind="asset")
    assert (refused.status_code, "currency" in refused.json()["detail"]) == (422, True)


BAD_QUERIES = [
    ("format=paypal", "format"),
    ("format=Teller", "format"),
    ("format=", "format"),
    ("pulled_at=2026-03-01T08:00:00Z", "format"),
    ("currency=USD", "format"),
    ("account_id=a", "format"),
    ("format=mx&pulled_at=2026-03-01", "pulled_at"),
    ("format=mx&pulled_at=yesterday", "pulled_at"),
    ("format=mx&pulled_at=", "pulled_at"),
    ("format=mx&pulled_at=9999-12-31T23:59:59-14:00", "pulled_at"),
    ("format=mx&currency=usd", "currency"),
    ("format=mx&kind=credit", "kind"),
    ("format=mx&user_id=%00", "user_id"),
    ("format=gocardless&account_id=", "account_id"),
    (f"format=gocardless&account_id={'x' * 201}", "account_id"),
    ("complete_from=2026-01-01", "format"),
    ("format=gocardless&complete_from=2026-01-01", "complete_through"),
    ("format=gocardless&complete_through=2026-01-01", "complete_from"),
    ("format=gocardless&complete_from=2026-01-02&complete_through=2026-01-01", "complete_through"),
    ("format=gocardless&complete_from=2026-01-02T00:00:00Z&complete_through=2026-01-03", "complete_from"),
    ("format=gocardless&complete_from=2026-02-30&complete_through=2026-03-01", "complete_from"),
    ("format=gocardless&complete_from=&complete_through=2026-03-01", "complete_from"),
    ("format=gocardless&complete_from=1899-01-01&complete_through=2026-03-01", "complete_from"),
    ("format=gocardless&complete_from=2026-01-01&complete_through=9999-12-31", "complete_through"),
    *(
        (f"format={format}&complete_from=2026-01-01&complete_through=2026-03-01", "complete_from")
        for format in Format
        if format not in (Format.GOCARDLESS, Format.ENABLEBANKING, Format.SIMPLEFIN)
    ),
]


def test_a_query_that_cannot_be_is_refused_by_name(api: TestClient, entries: Entries) -> None:
    """Whatever the body is, and nothing is written."""
    ahead = (datetime.now(UTC) + timedelta(days=2)).isoformat().replace("+00:00", "Z")
    for query, field in [*BAD_QUERIES, (f"format=mx&pulled_at={ahead}", "pulled_at")]:
        answer = api.post(f"/events?{query}", json=MX)
        assert refused_fields(answer) == [["query", field]], (query, answer.text)
    assert entries() == []


@pytest.mark.parametrize(
    ("format", "body", "query", "place"),
    [
        ("plaid-sync", {}, {}, None),
        ("plaid-sync", [], {}, None),
        ("plaid-sync", TELLER, {}, None),
        ("gocardless", GOCARDLESS, {}, "account_id"),
        ("teller", TELLER, {"kind": "asset"}, "currency"),
        ("plaid-sync", {**SYNC, "added": 5}, {}, "added"),
        ("mx", b"{", {}, None),
        ("mx", b"\xff", {}, None),
        ("mx", b"[" * 500_000, {}, None),
        ("mx", b'{"transactions": [{"amount": NaN}]}', {}, None),
        ("mx", b'{"transactions": [], "transactions": []}', {}, None),
        ("mx", b" ", {}, None),
        ("plaid-sync", b'{"added": [' + b"{}," * 150_000 + b"{}]}", {}, None),
        ("plaid-sync", b'{"added": [' + b"0," * 600_000 + b"0]}", {}, None),
    ],
)
def test_a_body_that_is_not_of_the_form_is_refused(
    api: TestClient, entries: Entries, format: str, body: object, query: dict[str, str], place: str | None
) -> None:
    """With the place where it is not, and nothing is written."""
    answer = send(api, format, body, **query)
    assert answer.status_code == 422, answer.text
    (problem,) = answer.json()["errors"]
    assert problem["loc"][0] == "body"
    assert place is None or place in problem["loc"][1]
    assert entries() == []


def test_a_body_without_times_of_its_own_has_to_say_when_it_was_pulled(api: TestClient, entries: Entries) -> None:
    """422 naming what is missing; with it the same body is taken."""
    answer = api.post("/events?format=plaid-sync", json=SYNC)
    assert (answer.status_code, "pulled_at" in answer.json()["detail"]) == (422, True)
    assert entries() == []
    assert send(api, "plaid-sync", SYNC, pulled_at="2026-03-01T09:00:00 01:00").status_code == 202


def test_a_row_that_cannot_be_understood_does_not_hold_up_the_others(
    api: TestClient, apply_stream: Callable[[], Any], client: MakeClient, engine: Engine
) -> None:
    """It is a dead letter with its reason, whole, and the row beside it takes effect."""
    bad = {**SPENT, "transaction_id": "t2", "amount": None}
    assert send(api, "plaid-sync", {**SYNC, "added": [bad, SPENT]}).status_code == 202
    assert apply_stream().dead_letters == 1
    (letter,) = client("admin").get("/dead-letters").json()
    whole = client("admin").get(f"/dead-letters/{letter['shard']}/{letter['entry_id']}").json()
    assert whole["event"]["data"]["row"] == bad
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT transaction_id FROM transactions")).scalars().all()
    assert kept == ["t1"]


def test_a_row_whose_account_is_no_text_is_kept(api: TestClient, apply_stream: Callable[[], Any]) -> None:
    """Half a surrogate pair can name nothing, and spreads the row over the shards all the same."""
    body = json.dumps(TELLER).replace("acc_1", "\\ud800").encode()
    assert send(api, "teller", body, currency="USD", kind="asset").json() == {"accepted": 1}
    assert apply_stream().dead_letters == 1


def test_the_most_events_of_a_body(api: TestClient, entries: Entries) -> None:
    """One row too many, in one array or in all, is 422, and nothing is written."""
    rows = [{**SPENT, "transaction_id": f"t{number}", "amount": 1} for number in range(MAX_EVENTS + 1)]
    bare = {"account_id", "transaction_id", "amount", "iso_currency_code", "date"}
    slim = [{name: row[name] for name in bare} for row in rows]
    for sections, said in (
        ({"added": slim}, "10,000 rows"),
        ({"added": slim[:6000], "modified": slim[6000:]}, "at most 10000"),
    ):
        answer = send(api, "plaid-sync", {**SYNC, **sections})
        assert (answer.status_code, said in answer.json()["detail"]) == (422, True)
    assert entries() == []


def test_a_pulled_body_is_sent_again_under_its_key(api: TestClient, entries: Entries) -> None:
    """Once on the stream, however often it is sent; the key with another query is another request."""
    key = {"Idempotency-Key": "k"}
    first, second = (send(api, "plaid-sync", SYNC, key) for _ in range(2))
    count = len(entries())
    assert (second.json(), second.headers["Idempotency-Replayed"], count) == (first.json(), "true", len(entries()))
    other = send(api, "plaid-sync", SYNC, key, pulled_at="2026-03-02T08:00:00Z")
    assert refused_fields(other) == [["header", "Idempotency-Key"]]
    assert len(entries()) == count
    refused = send(api, "plaid-sync", {}, {"Idempotency-Key": "free"})
    assert refused.status_code == 422
    assert send(api, "plaid-sync", SYNC, {"Idempotency-Key": "free"}).status_code == 202
