"""Events from Python: one, many, a file, a pulled body; each is accepted once, and a refusal says which it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from api.app import make_app
from core.settings import Settings
from core.stream.entries import stream_key
from milepost import Client, InvalidField, Unavailable, easy_goals, sync
from milepost.client import batches
from tests.client.callers import AnyInterface, ask
from tests.conftest import KEY
from tests.serving import serving

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC).replace(microsecond=0)
TELLER = [{"id": "txn_1", "account_id": "acc_1", "amount": 42.5, "date": NOW.date().isoformat(), "status": "posted"}]

Interfaces = Mapping[str, AnyInterface]
Sent = Callable[[str], list[bytes]]


def paid(number: int, amount: object = "1.50", **changes: Any) -> dict[str, Any]:
    """An event; one whose amount is none cannot take effect."""
    data = {"account_id": "a", "transaction_id": f"t{number}", "amount": amount, "currency": "USD"}
    head = {"specversion": "1.0", "id": f"e{number}", "source": "bank", "type": "milepost.transaction.recorded"}
    return {**head, "time": NOW, "data": {**data, "posted_at": NOW}, **changes}


def line(number: int, amount: object = "1.50") -> str:
    """The same as text."""
    return json.dumps(paid(number, amount), default=datetime.isoformat)


@pytest.fixture
def sent(redis_client: Redis) -> Sent:
    """The events of a tenant on the stream, in the order in which they came."""

    def read(tenant: str) -> list[bytes]:
        rows: list[Any] = [row for shard in range(2) for row in redis_client.xrange(stream_key(shard))]  # type: ignore[union-attr]
        rows.sort(key=lambda row: [int(part) for part in row[0].split(b"-")])
        return [fields[b"event"] for _, fields in rows if fields[b"tenant"] == tenant.encode()]

    return read


def ids(events: Iterable[bytes]) -> list[str]:
    """Their ids."""
    return [json.loads(event)["id"] for event in events]


async def test_an_event_is_sent_as_it_is_meant(interfaces: Interfaces, sent: Sent) -> None:
    """Decimals keep their digits, floats are what they show, times are UTC; text and bytes go as they are."""
    cet = timezone(timedelta(hours=1))
    event = paid(1, 0.1 + 0.2)
    event["data"] |= {"exact": Decimal("1.10"), "at": datetime(2026, 1, 31, 1, tzinfo=cet), "day": date(2026, 1, 31)}
    event["data"] |= {"naive": datetime(2026, 1, 31), "list": (1, 2.0, None, True), "ü": {"text": "ü"}}  # noqa: DTZ001
    for name, interface in interfaces.items():
        assert await ask(interface, "send_event", event) == 1
        for given in (line(2), f"\n{line(2)}\n".replace(", ", ",\n  "), line(2).encode()):
            assert await ask(interface, "send_event", given, strict=True) == 1
        with pytest.raises(InvalidField, match=r"^event: specversion is missing") as refused:
            await ask(interface, "send_event", '{"id": "e2"}')
        assert refused.value.field == "event"
        first, second, spread, raw = sent(name)
        assert b'"amount":0.3,' in first
        assert b'"exact":1.10,"at":"2026-01-31T00:00:00Z","day":"2026-01-31"' in first
        assert b'"naive":"2026-01-31T00:00:00Z","list":[1,2,null,true]' in first
        assert json.loads(first)["data"]["ü"] == {"text": "ü"}
        assert second == raw == line(2).encode()
        assert json.loads(spread) == json.loads(second)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (paid(1, float("nan")), "data.amount: must be a finite number"),
        (paid(1, Decimal("Infinity")), "data.amount: must be a finite number"),
        (paid(1, {1: 2}), "data.amount: JSON has nothing for a dict"),
        (paid(1, [object()]), "data.amount.0: JSON has nothing for a object"),
        (paid(1, datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))), "data.amount: is out of range"),
        ("\ud800", "must not contain broken Unicode"),
        (" \n", "is empty"),
        (7, "must be a dictionary, or JSON as text or bytes"),
        (None, "must be a dictionary, or JSON as text or bytes"),
        (b"1" * (batches.MOST_BYTES + 1), "has more than 4194304 bytes"),
    ],
)
async def test_what_can_be_no_event_is_refused(interfaces: Interfaces, sent: Sent, event: Any, why: str) -> None:
    """Before anything is sent, by the place of what is wrong."""
    for name, interface in interfaces.items():
        with pytest.raises(InvalidField) as refused:
            await ask(interface, "send_event", event)
        assert (str(refused.value), refused.value.field) == (f"event: {why}", "event")
        with pytest.raises(InvalidField) as refused:
            await ask(interface, "send_events", [paid(0), event, paid(2)])
        assert str(refused.value) == f"event 1: {why}; events 0 to 1 were not accepted, and later ones were not sent"
        assert sent(name) == []


async def test_any_number_of_events_is_sent(interfaces: Interfaces, sent: Sent) -> None:
    """In requests of a thousand, from any iterable; under the same key again, each is accepted once."""
    for name, interface in interfaces.items():
        for _ in range(2):
            given = (paid(number) for number in range(2_001))
            assert await ask(interface, "send_events", given, idempotency_key="k" * 200) == 2_001
        assert sorted(ids(sent(name))) == sorted(f"e{number}" for number in range(2_001))
        assert await ask(interface, "send_events", []) == 0
        for one in (paid(1), line(1), line(1).encode()):
            with pytest.raises(InvalidField, match="events: must be several events"):
                await ask(interface, "send_events", one)
        with pytest.raises(InvalidField, match="was used for another request"):
            await ask(interface, "send_events", [paid(7)], idempotency_key="k" * 200)


async def test_a_strict_refusal_names_the_event(interfaces: Interfaces, sent: Sent) -> None:
    """Counted among all that were given; the request before it was accepted, and no other."""
    events = [paid(number) for number in range(1_200)]
    events[1_100] = paid(1_100, "no amount")
    for name, interface in interfaces.items():
        with pytest.raises(InvalidField) as refused:
            await ask(interface, "send_events", events, strict=True, idempotency_key="k")
        text = str(refused.value)
        assert text.startswith("event 1100: amount: must be a plain decimal")
        assert text.endswith("; events 1000 to 1199 were not accepted, and later ones were not sent")
        assert (refused.value.field, refused.value.idempotency_key) == ("event 1100", "k")
        assert len(sent(name)) == 1_000
        with pytest.raises(InvalidField, match=r"^event: amount: must be a plain decimal"):
            await ask(interface, "send_event", events[1_100], strict=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of 2,500 events, with empty lines before the last two."""
    path = tmp_path / "events.ndjson"
    lines = [line(number) for number in range(2_500)]
    path.write_text("\n".join([*lines[:2_498], "", "  ", *lines[2_498:]]) + "\r\n")
    return path


async def test_a_file_is_sent_with_progress(interfaces: Interfaces, sent: Sent, file: Path) -> None:
    """Line by line, in the order of the file."""
    for name, interface in interfaces.items():
        progress: list[int] = []
        assert await ask(interface, "send_file", file, on_progress=progress.append) == 2_500
        assert progress == [1_000, 2_000, 2_500]
        assert await ask(interface, "send_file", str(file), strict=True, idempotency_key="k") == 2_500
        assert await ask(interface, "send_file", str(file), strict=True, idempotency_key="k") == 2_500
        assert ids(sent(name))[:2] == ["e0", "e1"]
        assert len(sent(name)) == 5_000
        with pytest.raises(FileNotFoundError):
            await ask(interface, "send_file", file.with_name("nothing"))


async def test_a_broken_line_is_named(interfaces: Interfaces, sent: Sent, file: Path) -> None:
    """With the lines that were not accepted; those of earlier requests were."""
    lines = file.read_text().splitlines()
    lines[1_233] = "{broken"
    file.write_text("\n".join(lines))
    for name, interface in interfaces.items():
        progress: list[int] = []
        with pytest.raises(InvalidField) as refused:
            await ask(interface, "send_file", file, on_progress=progress.append)
        text = str(refused.value)
        assert text.startswith("line 1234: ")
        assert text.endswith("; lines 1001 to 2000 were not accepted, and later ones were not sent")
        assert (refused.value.field, progress) == ("line 1234", [1_000])
        assert len(sent(name)) == 1_000


async def test_a_line_without_an_end_is_not_read_to_it(interfaces: Interfaces, sent: Sent, file: Path) -> None:
    """A file that has no lines is no reason to fill the memory."""
    file.write_bytes(line(1).encode() + b"\n" + b"x" * (2 * batches.MOST_BYTES))
    for name, interface in interfaces.items():
        with pytest.raises(InvalidField, match=r"^line 2: has more than 4194304 bytes; lines 1 to 2 were not accepted"):
            await ask(interface, "send_file", file)
        assert sent(name) == []


@pytest.fixture
def narrow_server(database_url: str, redis_url: str) -> Iterator[str]:
    """The address of a server that takes 100,000 bytes at once."""
    settings = Settings(database_url=database_url, redis_url=redis_url, log_level="ERROR", max_body_bytes=100_000)
    with serving(make_app(settings)) as url:
        yield url


async def test_a_batch_is_divided_for_a_server_that_takes_less(
    narrow_server: str, database_url: str, redis_url: str, sent: Sent, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    """Only an event that is too long alone is refused, with its number; under the same key all are accepted once."""
    monkeypatch.setenv("MILEPOST_MAX_BODY_BYTES", "100000")
    stored = {"database_url": database_url, "redis_url": redis_url}
    count = 0
    async with AsyncExitStack() as open_ones:
        interfaces: list[AnyInterface] = [
            await open_ones.enter_async_context(Client(narrow_server, KEY)),
            await open_ones.enter_async_context(easy_goals(**stored)),
            open_ones.enter_context(sync.Client(narrow_server, KEY)),
            open_ones.enter_context(sync.easy_goals(**stored)),
        ]
        for interface in interfaces:
            for _ in range(2):
                assert await ask(interface, "send_file", file, idempotency_key=f"k{count}") == 2_500
            count += 2_500
            assert len(sent("default")) == count
            with pytest.raises(InvalidField) as refused:
                await ask(interface, "send_events", [paid(1), paid(2), paid(3, note="x" * 200_000), paid(4)])
            assert str(refused.value) == (
                "The body must have at most 100000 bytes; event 2 was not accepted, and later ones were not sent"
            )
            count += 2
            assert len(sent("default")) == count


async def test_pulled_bodies_are_sent(interfaces: Interfaces, sent: Sent) -> None:
    """Parsed or as they came, with what the body leaves out; a refusal names what is missing."""
    for name, interface in interfaces.items():
        said = {"pulled_at": NOW, "currency": "USD", "kind": "liability", "user_id": "user_123"}
        for body in (TELLER, json.dumps(TELLER), json.dumps(TELLER).encode()):
            assert await ask(interface, "send_pulled", "teller", body, **said) == 2
        first, second, third = ids(sent(name))[::2]
        assert first == second == third
        days = {"complete_from": NOW.date() - timedelta(days=3), "complete_through": NOW.date().isoformat()}
        amount = {"amount": "-5.5", "currency": "EUR"}
        row = {"internalTransactionId": "i1", "bookingDate": NOW.date().isoformat(), "transactionAmount": amount}
        pulled = {"transactions": {"booked": [row]}}
        for _ in range(2):
            accepted = await ask(
                interface,
                "send_pulled",
                "gocardless",
                pulled,
                account_id="g1",
                pulled_at=NOW,
                **days,
                idempotency_key="k",
            )
            assert accepted == 2
        assert len(sent(name)) == 8
        for wrong, field in (
            ({"pulled_at": NOW}, "[0].kind"),
            ({"currency": "USD", "kind": "asset"}, "[0].pulled_at"),
            ({**said, "kind": "house"}, "kind"),
            ({**said, "pulled_at": 3}, "pulled_at"),
            ({**said, "complete_from": NOW.date()}, "complete_through"),
        ):
            with pytest.raises(InvalidField) as refused:
                await ask(interface, "send_pulled", "teller", TELLER, **wrong)
            assert refused.value.field == field, str(refused.value)
        with pytest.raises(InvalidField, match=r"^body: 0\.amount: must be a finite number"):
            await ask(interface, "send_pulled", "teller", [{"amount": float("inf")}], **said)
        with pytest.raises(ValueError, match="format"):
            await ask(interface, "send_pulled", "bank", TELLER, **said)
        assert len(sent(name)) == 8


async def test_what_is_not_applied_is_listed(interfaces: Interfaces, apply_stream: Callable[[], None]) -> None:
    """First as waiting, then only what was refused, with the reason."""
    for interface in interfaces.values():
        before = datetime.now(UTC) - timedelta(seconds=5)
        await ask(interface, "send_events", [paid(1), paid(2, "no amount")])
        waiting = await ask(interface, "list_unapplied", since=before)
        assert sorted((each.id, each.state, each.code) for each in waiting) == [
            ("e1", "waiting", None),
            ("e2", "waiting", None),
        ]
        with pytest.raises(InvalidField, match="since: must not be after now"):
            await ask(interface, "list_unapplied", datetime.now(UTC) + timedelta(hours=1))
    apply_stream()
    for interface in interfaces.values():
        (refused,) = await ask(interface, "list_unapplied")
        assert (refused.id, refused.state, refused.code) == ("e2", "dead_letter", "bad_amount")
        assert refused.accepted_at >= NOW


async def test_without_a_stream_server_all_but_events_works(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs one is refused at once, and says what to set."""
    monkeypatch.delenv("MILEPOST_REDIS_URL", raising=False)
    async with easy_goals(database_url=database_url) as manager:
        goal = await manager.create_goal("user_123", "Trip", "savings", 5000)
        assert (await manager.link_account_to_goal(goal.id, "a", allocation_percent=60)).allocation_percent == 60
        assert (await manager.get_account("a")).worth is None
        assert [entry.cause for entry in await manager.get_goal_history(goal.id)] == ["created"]
        assert (await manager.register_provider_account("teller", "acc_1", account_id="a")).account_id == "a"
        assert await manager.list_dead_letters() == []
        began = datetime.now(UTC)
        for call in (
            lambda: manager.send_event(paid(1)),
            lambda: manager.send_events([paid(1)], idempotency_key="k"),
            lambda: manager.send_pulled("teller", TELLER, pulled_at=NOW, currency="USD", kind="asset"),
            lambda: manager.list_unapplied(),
            lambda: manager.replay_dead_letters("bad_amount"),
        ):
            with pytest.raises(Unavailable, match="MILEPOST_REDIS_URL") as refused:
                await call()
            assert "may have been" not in str(refused.value)
        assert datetime.now(UTC) - began < timedelta(seconds=2)


def test_a_lost_answer_leaves_it_open() -> None:
    """Nobody knows whether the events were accepted; sent again under the key of the error they are once."""
    with sync.Client("http://127.0.0.1:1", attempts=1) as client, pytest.raises(Unavailable) as trouble:
        client.send_events([paid(1)])
    assert str(trouble.value).endswith("; event 0 may not have been accepted, and later ones were not sent")
    assert trouble.value.idempotency_key is not None
