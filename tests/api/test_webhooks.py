"""POST /webhooks: what a provider signed is accepted for the tenant of the address, and nothing else is."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import Engine, text

from api.bodies import parse_provider_body
from core.providers.registry import Provider, scheme_of
from core.providers.sealing import Sealer
from core.services.tenants import create_tenant
from core.services.webhooks import add_endpoint, remove_endpoint, rotate_secrets
from core.store.database import Sessions
from core.store.tenants import read_tenants
from core.stream.entries import stream_key
from tests.api.conftest import SECRETS_KEY, MakeClient, MakeKey
from tests.api.paging import refused_fields
from tests.api.provider_bodies import BECOMES, BODIES, OWN, POINTER, TELLER_HOOK
from tests.unit.providers.signatures import signing
from tests.unit.providers.signatures.signing import SECRETS, SIGNERS


class Register(Protocol):
    """Makes an address and gives its path."""

    def __call__(self, provider: Provider, *, tenant: str = "default", secret: str | None = "") -> str: ...


@pytest.fixture
def register(session_factory: Sessions, now: datetime) -> Register:
    """Makes addresses, with the secret of SECRETS unless said otherwise."""

    def make(provider: Provider, *, tenant: str = "default", secret: str | None = "") -> str:
        given = SECRETS[provider] if secret == "" else secret
        with session_factory.begin() as session:
            if not read_tenants(session, [tenant]):
                create_tenant(session, tenant, "UTC", now)
            endpoint, _ = add_endpoint(
                session, Sealer([SECRETS_KEY]), tenant, provider, "test", given, now, actor="test"
            )
        return f"/webhooks/{provider}/{endpoint.endpoint_id}"

    return make


@pytest.fixture
def anyone(app: FastAPI) -> TestClient:
    """A client without a key."""
    return TestClient(app)


@pytest.fixture
def entries(redis_url: str) -> Iterator[Callable[[], list[tuple[str, Any]]]]:
    """Tenant and event of each entry on the stream."""
    with Redis.from_url(redis_url) as redis:

        def read() -> list[tuple[str, Any]]:
            rows: list[Any] = [row for shard in range(2) for row in redis.xrange(stream_key(shard))]  # type: ignore[union-attr]
            return [(fields[b"tenant"].decode(), json.loads(fields[b"event"])) for _, fields in rows]

        yield read


@pytest.fixture
def written(engine: Engine, entries: Callable[[], list[Any]]) -> Callable[[], tuple[int, int]]:
    """How many events and how many refresh requests there are."""

    def count() -> tuple[int, int]:
        with engine.connect() as connection:
            requests = connection.execute(text("SELECT count(*) FROM refresh_requests")).scalar_one()
        return len(entries()), int(requests)

    return count


Entries = Callable[[], list[tuple[str, Any]]]
Written = Callable[[], tuple[int, int]]


def deliver(api: TestClient, path: str, provider: Provider, body: bytes | None = None, **headers: str) -> Any:
    """Post a body that is signed now."""
    content = BODIES[provider] if body is None else body
    signed = SIGNERS[provider](content, datetime.now(UTC))
    return api.post(path, content=content, headers={**signed, "Content-Type": "application/json", **headers})


@pytest.mark.parametrize("provider", list(Provider))
def test_a_signed_delivery_is_taken(
    anyone: TestClient, register: Register, provider: Provider, written: Written
) -> None:
    """It becomes events on the stream, or a request to pull, and a repeated one changes no more than the count."""
    path = register(provider)
    accepted, refreshes = BECOMES[provider]
    for _ in range(2):
        answer = deliver(anyone, path, provider)
        assert (answer.status_code, answer.json()) == (202, {"accepted": accepted, "refreshes": refreshes})
    assert written() == (2 * accepted, refreshes)


def test_events_lie_on_the_stream_of_the_addresss_tenant(
    anyone: TestClient, client: MakeClient, register: Register, entries: Entries
) -> None:
    """Under the integrator's own account id, with what it registered for the account."""
    path = register(Provider.TELLER, tenant="acme")
    registered = {"account_id": "checking", "kind": "asset", "currency": "USD"}
    assert client("admin", tenant="acme").put("/provider-accounts/teller/acc_1", json=registered).status_code == 200
    answer = deliver(anyone, path, Provider.TELLER)
    assert answer.status_code == 202, answer.text
    events = entries()
    assert {tenant for tenant, _ in events} == {"acme"}
    ((_, spent),) = [each for each in events if each[1]["type"] == "milepost.transaction.recorded"]
    assert (spent["data"]["account_id"], spent["data"]["transaction_id"]) == ("checking", "txn_1")
    assert answer.json() == {"accepted": len(events), "refreshes": 0}


def _unsigned(api: TestClient, path: str, provider: Provider, body: bytes, at: datetime) -> list[Any]:
    """The answers to what is not signed as it should be."""
    signed = SIGNERS[provider](body, at)
    name = list(signed)[-1]
    late = SIGNERS[provider](body, at - timedelta(minutes=6))
    wrong = [{}, {**signed, name: "x"}, {**signed, name: signed[name] + "é"}, {**signed, name: "x" * 20_000}]
    answers = [
        api.post(path, content=body, headers={k: v.encode("latin-1") for k, v in each.items()}) for each in wrong
    ]
    if provider is not Provider.MX:
        answers += [api.post(path, content=body, headers=late), api.post(path, content=body + b" ", headers=signed)]
    return answers


@pytest.mark.parametrize("provider", list(Provider))
def test_every_refusal_looks_the_same(
    anyone: TestClient, register: Register, provider: Provider, written: Written
) -> None:
    """Wrong, late, missing and garbled signatures, and addresses that do not exist: one answer, and nothing written."""
    path, at = register(provider), datetime.now(UTC)
    other = register(Provider.TELLER if provider is not Provider.TELLER else Provider.MX)
    elsewhere = [
        f"/webhooks/{provider}/{other.rpartition('/')[2]}",
        f"{path}x",
        f"/webhooks/{provider}/whe_none",
        f"/webhooks/{provider}/%00",
        f"/webhooks/{provider}/{'x' * 5000}",
    ]
    answers = _unsigned(anyone, path, provider, BODIES[provider], at)
    answers += [deliver(anyone, each, provider) for each in elsewhere]
    answers += _unsigned(anyone, elsewhere[2], provider, BODIES[provider], at)
    outcomes = {(each.status_code, each.text, each.headers["WWW-Authenticate"]) for each in answers}
    assert len(outcomes) == 1, outcomes
    assert next(iter(outcomes))[:2] == (401, '{"detail":"The delivery is not signed as this address asks"}')
    assert written() == (0, 0)


def test_the_log_says_why(anyone: TestClient, register: Register, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason, the unknown key and the tenant are for us; neither the address nor a secret is in a line."""
    path = register(Provider.PLAID)
    deliver(anyone, path, Provider.PLAID)
    anyone.post(path, content=POINTER, headers=signing.plaid(POINTER, datetime.now(UTC), kid="kid-9"))
    deliver(anyone, "/webhooks/plaid/none", Provider.PLAID)
    taken, unknown, nowhere = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (taken["tenant"], taken["route"]) == ("default", "/webhooks/{provider}/{endpoint_id}")
    assert unknown["cause"] == "plaid of default: no verification key 'kid-9' is known"
    assert nowhere["cause"].startswith("plaid: there is no such address")
    assert path.rpartition("/")[2] not in json.dumps([taken, unknown, nowhere])


def test_a_removal_that_is_repeated_after_the_row_came_back_removes_nothing(
    anyone: TestClient, register: Register, client: MakeClient, apply_stream: Callable[[], Any], engine: Engine
) -> None:
    """The webhook has no time of its own, so it asks for a pull; the page that is pulled removes and restores."""
    path, api = register(Provider.PLAID), client()
    named = {"webhook_type": "TRANSACTIONS", "webhook_code": "TRANSACTIONS_REMOVED", "account_id": "acc_1"}
    gone = json.dumps(named | {"removed_transactions": ["t1"], "error": None}).encode()
    row = {"account_id": "acc_1", "transaction_id": "t1"}
    spent = row | {"amount": -100, "iso_currency_code": "USD", "date": "2026-03-01", "pending": False}

    def pulled(hour: int, **page: Any) -> int:
        answer = api.post(f"/events?format=plaid-sync&pulled_at=2026-03-01T{hour:02}:00:00Z", json=page)
        assert answer.status_code == 202, answer.text
        return worth()

    def worth() -> int:
        assert apply_stream().dead_letters == 0
        with engine.connect() as connection:
            return int(connection.execute(text("SELECT worth_minor FROM accounts")).scalar_one())

    assert pulled(9, added=[spent]) == 10_000
    assert deliver(anyone, path, Provider.PLAID, gone).json() == {"accepted": 0, "refreshes": 1}
    assert worth() == 10_000
    assert pulled(10, removed=[row]) == 0
    assert pulled(11, added=[spent]) == 10_000
    for _ in range(2):
        assert deliver(anyone, path, Provider.PLAID, gone).json() == {"accepted": 0, "refreshes": 1}
    assert worth() == 10_000
    (asked,) = api.get("/refresh-requests").json()
    assert (asked["subject"], asked["kind"], asked["count"]) == ("acc_1", "transactions", 3)


def test_an_unknown_key_is_asked_for_once(anyone: TestClient, register: Register, client: MakeClient) -> None:
    """The delivery is refused, and the integrator finds which key to fetch; what is no address asks for nothing."""
    path = register(Provider.PLAID, secret=None)
    for _ in range(3):
        assert deliver(anyone, path, Provider.PLAID).status_code == 401
    deliver(anyone, "/webhooks/plaid/none", Provider.PLAID)
    (asked,) = client("events:read").get("/refresh-requests").json()
    found = (asked["provider"], asked["kind"], asked["subject"], asked["count"])
    assert found == ("plaid", "verification_key", "kid-1", 1)


def test_an_address_without_a_secret_takes_nothing(anyone: TestClient, register: Register, written: Written) -> None:
    """Also what is signed with the secret that is checked in vain there, which anyone can read in the code."""
    path = register(Provider.TELLER, secret=None)
    (decoy,) = scheme_of(Provider.TELLER).decoys
    for address in (path, "/webhooks/teller"):
        headers = signing.teller(TELLER_HOOK, datetime.now(UTC), decoy)
        assert anyone.post(address, content=TELLER_HOOK, headers=headers).status_code == 401
    assert written() == (0, 0)


def test_both_secrets_are_good_during_a_rotation(
    anyone: TestClient, register: Register, session_factory: Sessions
) -> None:
    """The old one until its overlap has ended, by the clock of the delivery; a removed address is none at once."""
    path = register(Provider.TELLER)
    endpoint_id, new, at = path.rpartition("/")[2], "another_secret_of_teller", datetime.now(UTC)

    def rotate(overlap: timedelta) -> None:
        with session_factory.begin() as session:
            rotate_secrets(
                session, Sealer([SECRETS_KEY]), "default", endpoint_id, new, at, overlap=overlap, actor="test"
            )

    def status(secret: str) -> int:
        headers = signing.teller(TELLER_HOOK, datetime.now(UTC), secret)
        return anyone.post(path, content=TELLER_HOOK, headers=headers).status_code

    rotate(timedelta(hours=1))
    assert [status(signing.TELLER_SECRET), status(new)] == [202, 202]
    rotate(timedelta())
    assert [status(signing.TELLER_SECRET), status(new)] == [401, 202]
    with session_factory.begin() as session:
        remove_endpoint(session, "default", endpoint_id, at, actor="test")
    assert status(new) == 401


def test_the_path_without_an_address_is_for_the_only_one(
    anyone: TestClient, register: Register, new_key: MakeKey, entries: Entries
) -> None:
    """With a second address in the system a key has to name the tenant, and all of its addresses are tried."""
    path = "/webhooks/standard"
    assert deliver(anyone, path, Provider.STANDARD).status_code == 401
    register(Provider.STANDARD)
    assert deliver(anyone, path, Provider.STANDARD).status_code == 202
    other = "whsec_" + "B" * 32
    register(Provider.STANDARD, tenant="acme", secret=other)
    register(Provider.STANDARD, tenant="acme")
    assert deliver(anyone, path, Provider.STANDARD).status_code == 401
    for header in ("Authorization", "X-API-Key"):
        key = new_key("events:write", tenant="acme")
        named = {header: f"Bearer {key}" if header == "Authorization" else key}
        assert deliver(anyone, path, Provider.STANDARD, **named).status_code == 202
    assert sorted(tenant for tenant, _ in entries()) == ["acme", "acme", "default"]
    for key in (new_key("goals:read", tenant="acme"), "mp_none", "é"):
        headers = {**signing.standard(OWN, datetime.now(UTC)), "X-API-Key": key.encode("latin-1")}
        assert anyone.post(path, content=OWN, headers=headers).status_code == 401
    unsigned = anyone.post(path, content=OWN, headers={"X-API-Key": new_key("admin", tenant="acme")})
    assert unsigned.status_code == 401


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", []),
        (b"{", []),
        (b"\xff", []),
        (b"[" * 500_000, []),
        (b'{"a": NaN}', []),
        (OWN[:-1] + b', "id": "e2"}', []),
        (b"[" + b"{}," * 200_000 + b"{}]", []),
        (b"[" + b"0," * 600_000 + b"0]", []),
        (b"{}", ["[0]"]),
        (b"[%s, {}]" % OWN, ["[1]"]),
    ],
    ids=["nothing", "cut off", "not UTF-8", "deep", "NaN", "a key twice", "objects", "values", "no event", "one bad"],
)
def test_a_signed_body_that_cannot_be_is_refused(
    anyone: TestClient, register: Register, written: Written, body: bytes, place: list[str]
) -> None:
    """With its place, and none of the events beside it is written."""
    answer = deliver(anyone, register(Provider.STANDARD), Provider.STANDARD, body)
    assert refused_fields(answer) == [["body", *place]], answer.text
    assert written() == (0, 0)


def test_what_nobody_signed_reaches_no_parser(
    anyone: TestClient, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body is read only once its signature is good."""

    parsed: list[bytes] = []

    def parse(raw: bytes) -> object:
        parsed.append(raw)
        return parse_provider_body(raw)

    path = register(Provider.TELLER)
    monkeypatch.setattr("api.routes.webhooks.parse_provider_body", parse)
    for body in (TELLER_HOOK, b"[" * 500_000):
        assert anyone.post(path, content=body).status_code == 401
    assert parsed == []
    assert deliver(anyone, path, Provider.TELLER).status_code == 202
    assert parsed == [TELLER_HOOK]


def test_too_much_and_compressed_are_refused_before_anything(anyone: TestClient, register: Register) -> None:
    """413 and 415, whether the address exists or not."""
    for path in (register(Provider.MX), "/webhooks/mx/none"):
        assert anyone.post(path, content=b" " * 2_000_001, headers=signing.mx()).status_code == 413
        assert anyone.post(path, content=b"x", headers={"Content-Encoding": "gzip"}).status_code == 415


@pytest.mark.parametrize("path", ["/webhooks/paypal/x", "/webhooks/gocardless", "/webhooks/Plaid", "/webhooks/%00"])
def test_a_provider_that_is_none_is_404(anyone: TestClient, path: str) -> None:
    """GoCardless Bank Account Data has no webhooks."""
    assert (anyone.post(path, content=b"{}").status_code, anyone.get("/webhooks/plaid").status_code) == (404, 405)


def test_without_the_right_sealing_key_nothing_is_decided(register: Register, settings: Any, written: Written) -> None:
    """503, so that the provider tries again, and the log says which setting it is; the same for no address at all."""
    from api.app import make_app

    path = register(Provider.MX)
    for key in (None, "another key of more than thirty-two characters"):
        with TestClient(
            make_app(settings.model_copy(update={"secrets_key": None if key is None else SecretStr(key)}))
        ) as api:
            assert deliver(api, path, Provider.MX).status_code == 503
            assert deliver(api, "/webhooks/mx/none", Provider.MX).status_code == (503 if key is None else 401)
    assert written() == (0, 0)


@pytest.mark.parametrize("provider", list(Provider))
def test_a_delivery_is_answered_within_100_ms(anyone: TestClient, register: Register, provider: Provider) -> None:
    """From sending to the whole answer, once the connections are there; the median, since the machines are noisy."""
    path, seconds = register(provider), []
    deliver(anyone, path, provider)
    for _ in range(25):
        begun = time.perf_counter()
        assert deliver(anyone, path, provider).status_code == 202
        seconds.append(time.perf_counter() - begun)
    assert statistics.median(seconds) < 0.1


def test_a_full_stream_is_503_and_the_next_try_is_taken(
    anyone: TestClient, register: Register, redis_url: str, written: Written
) -> None:
    """Nothing is lost: the provider delivers again."""
    path = register(Provider.STANDARD)
    with Redis.from_url(redis_url) as redis:
        limit: Any = redis.config_get("maxmemory")
        redis.config_set("maxmemory", 1)
        try:
            answer = deliver(anyone, path, Provider.STANDARD)
        finally:
            redis.config_set("maxmemory", limit["maxmemory"])
    assert (answer.status_code, "Retry-After" in answer.headers, written()) == (503, True, (0, 0))
    assert deliver(anyone, path, Provider.STANDARD).status_code == 202
