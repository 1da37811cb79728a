"""Whatever is sent to the routes that accept events gets an answer of ours, and writes all that it says or nothing."""

from __future__ import annotations

import copy
import functools
import json
import operator
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from core.providers.registry import Format, Provider
from core.providers.sealing import Sealer
from core.services.webhooks import add_endpoint
from core.store.database import Sessions
from core.stream.entries import stream_key
from tests.api.conftest import SECRETS_KEY
from tests.api.provider_bodies import BODIES, FORMATS
from tests.budget import examples
from tests.unit.providers.signatures.signing import SECRETS, SIGNERS

# Of each provider some more of what it posts.
MORE = {
    Provider.PLAID: [
        b'{"webhook_type": "ITEM", "webhook_code": "ERROR", "item_id": "item_1", "error": {"error_code": "X"}}',
        b'{"webhook_type": "TRANSACTIONS", "webhook_code": "TRANSACTIONS_REMOVED", "account_id": "acc_1",'
        b' "removed_transactions": ["t1", "t2"]}',
    ],
    Provider.TELLER: [
        b'{"id": "wh_2", "type": "enrollment.disconnected", "timestamp": "2026-01-31T12:00:00Z",'
        b' "payload": {"enrollment_id": "enr_1", "reason": "disconnected"}}'
    ],
    Provider.MX: [
        b'{"action": "created", "guid": "TRN-1", "account_guid": "acc_1", "revision": 4, "amount": 61.11,'
        b' "type": "DEBIT", "status": "POSTED", "currency_code": "USD", "transacted_at": 1772193600,'
        b' "posted_at": 1772193600, "updated_at": 1772193600}',
        b'{"action": "deleted", "guid": "TRN-1", "account_guid": "acc_1", "revision": 5, "deleted_at": 1772193600}',
        b'{"action": "updated", "guid": "acc_1", "member_guid": "MBR-1", "revision": 5, "type": "CHECKING",'
        b' "balance": 10.5, "currency_code": "USD", "updated_at": 1772193600}',
    ],
}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        [
            "x" * 300,
            "\ud800",
            "a\0b",
            "",
            " ",
            "2026-02-30",
            "2026-02-27",
            "1.005",
            "-5",
            "1e5",
            "NaN",
            "USD",
            "XXX",
            [],
            {},
        ]
    ),
)
GARBAGE = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"[" * 5_000,
            b'{"a":' * 5_000,
            b"[[[]]]",
            b'{"a": 1e400}',
            b'{"a": 1, "a": 2}',
            b"\xef\xbb\xbf{}",
            b"null",
            b"{}",
        ]
    ),
)


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is something in a body."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, each in inner for place in _places(each, (*at, key)))]


@st.composite
def mutated(draw: st.DrawFn, bodies: list[Any]) -> bytes:
    """A body as a provider sends it, with some of it replaced, left out, repeated, or put in another place."""
    body = copy.deepcopy(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(0, 4))):
        *path, last = draw(st.sampled_from(_places(body)[1:] or [()])) or (None,)
        if last is None:
            break
        holder = functools.reduce(operator.getitem, path, body)
        match draw(st.integers(0, 4)):
            case 0 | 1:
                holder[last] = draw(SCALARS)
            case 2:
                del holder[last]
            case 3 if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[last]))
            case _:
                place = draw(st.sampled_from(_places(body)))
                holder[last] = copy.deepcopy(functools.reduce(operator.getitem, place, body))
    return json.dumps(body).encode()


def bodies_like(bodies: list[Any]) -> st.SearchStrategy[bytes]:
    """Mostly such bodies, more or less, and sometimes anything."""
    return st.one_of(mutated(bodies), mutated(bodies), mutated(bodies), GARBAGE)


ANSWERS = {202, 401, 404, 413, 415, 422}


@pytest.fixture
def on_stream(redis_url: str) -> Callable[[], int]:
    """How many entries are on the stream."""

    def count() -> int:
        with Redis.from_url(redis_url) as redis:
            return sum(int(redis.xlen(stream_key(shard))) for shard in range(2))  # type: ignore[arg-type]

    return count


@pytest.fixture
def paths(session_factory: Sessions, now: datetime) -> dict[Provider, str]:
    """An address for each provider."""
    made = {}
    for provider, secret in SECRETS.items():
        with session_factory.begin() as session:
            endpoint, _ = add_endpoint(
                session, Sealer([SECRETS_KEY]), "default", provider, "test", secret, now, actor="test"
            )
        made[provider] = f"/webhooks/{provider}/{endpoint.endpoint_id}"
    return made


def _lock_only(answer: Any, before: int, after: int) -> None:
    """An answer of ours, in our form, that says what was written."""
    assert answer.status_code in ANSWERS, answer.text
    accepted = answer.json()["accepted"] if answer.status_code == 202 else 0
    assert after - before == accepted
    assert answer.status_code == 202 or answer.json()["detail"]


@settings(max_examples=examples(30))
@given(data=st.data())
@pytest.mark.parametrize("provider", list(Provider))
def test_signed_bodies_of_any_kind(
    app: FastAPI, paths: dict[Provider, str], on_stream: Callable[[], int], provider: Provider, data: st.DataObject
) -> None:
    """A provider may send anything under a good signature: it is taken whole or refused by name."""
    body = data.draw(bodies_like([json.loads(each) for each in (BODIES[provider], *MORE.get(provider, ()))]))
    before = on_stream()
    headers = SIGNERS[provider](body, datetime.now(UTC))
    answer = TestClient(app).post(paths[provider], content=body, headers=headers)
    _lock_only(answer, before, on_stream())
    assert answer.status_code in {202, 422}, answer.text


@settings(max_examples=examples(20))
@given(data=st.data())
@pytest.mark.parametrize("format", list(Format))
def test_pulled_bodies_of_any_kind(
    api: TestClient, on_stream: Callable[[], int], format: Format, data: st.DataObject
) -> None:
    """And so may an integrator, with any query."""
    good = {"pulled_at": "2026-03-01T08:00:00Z", "account_id": "acc_1", "currency": "USD", "kind": "asset"}
    bad = data.draw(st.dictionaries(st.sampled_from(sorted(good)), st.sampled_from(["", "x", "\0"]), max_size=1))
    query = good | (bad if data.draw(st.integers(0, 4)) == 0 else {})
    body = data.draw(bodies_like([FORMATS[format][0]]))
    before = on_stream()
    answer = api.post(f"/events?{urlencode({'format': format.value, **query})}", content=body)
    _lock_only(answer, before, on_stream())


HEADER_NAMES = [
    *("Plaid-Verification", "Teller-Signature", "Authorization", "X-API-Key"),
    *("webhook-id", "webhook-timestamp", "webhook-signature"),
    *("Content-Type", "Content-Encoding", "Idempotency-Key", "X-Request-Id"),
]
HEADER_VALUES = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=80),
    st.sampled_from(["t=1,v1=", "v1,", "Basic ", "Bearer ", "gzip", "a.b.c", "9" * 40, "x" * 9_000, "é" * 500]),
)


@settings(max_examples=examples(40))
@given(data=st.data())
def test_headers_of_any_kind(
    app: FastAPI, paths: dict[Provider, str], on_stream: Callable[[], int], data: st.DataObject
) -> None:
    """Without a good signature nothing is written, whatever the headers, the path and the body are."""
    path = data.draw(
        st.one_of(
            st.sampled_from([*paths.values(), "/webhooks/plaid", "/webhooks/standard", "/events?format=mx"]),
            st.text("az/%é?&=.", max_size=12).map(lambda tail: f"/webhooks/{tail}"),
        )
    )
    drawn = data.draw(st.lists(st.tuples(st.sampled_from(HEADER_NAMES), HEADER_VALUES), max_size=5))
    headers = [(name.encode(), value.encode("latin-1")) for name, value in drawn]
    before = on_stream()
    answer = TestClient(app).post(path, content=data.draw(GARBAGE), headers=headers)
    assert answer.status_code in {401, 404, 405, 415}, answer.text
    assert answer.json()["detail"]
    assert on_stream() == before
