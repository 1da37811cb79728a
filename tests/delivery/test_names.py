"""Names are looked up by the sender itself, and connections go to what was checked and to nothing else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from core.delivery import sender as module
from core.delivery.addresses import AddressRules
from core.delivery.sender import Outcome
from tests.delivery.raw_receivers import hanging, receiving, saying, send, sending

# The first stands for a global address: it is the only one that these rules allow. The receiver is at both.
GLOBAL, PRIVATE = "127.0.0.1", "127.0.0.2"
RULES = AddressRules(True, (ip_network(GLOBAL),))
REFUSED = "the name hooks.test leads to an address that is not allowed"


class Names:
    """A name server that gives these answers in turn, and the last one from then on."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def __call__(self, host: str, _: int) -> list[str]:
        self.asked.append(host)
        return self._answers[min(len(self.asked), len(self._answers)) - 1]


@pytest.fixture
def names_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection needs a lookup."""
    monkeypatch.setattr(module, "_NAMES_KEPT_S", 0)


def send_in_turn(names: Names, count: int, rules: AddressRules = RULES) -> tuple[list[Outcome], list[str]]:
    """Messages over a connection each: what came of them, and at which addresses they came in."""

    async def main() -> tuple[list[Outcome], list[str]]:
        answer = saying("200 OK", "Connection: close")
        async with receiving(answer, host="0.0.0.0") as receiver, sending(rules, resolve=names) as sender:
            outcomes = [await send(sender, receiver.url(host="hooks.test")) for _ in range(count)]
            assert receiver.connections == len(receiver.requests)
            return outcomes, [each.host for each in receiver.requests]

    return asyncio.run(main())


@pytest.mark.usefixtures("names_are_not_kept")
def test_a_name_that_turns_private_is_refused() -> None:
    """Global when it is looked up first, private afterwards: nothing ever reaches the private address."""
    names = Names([GLOBAL], [PRIVATE])
    (first, *others), reached = send_in_turn(names, 3)
    assert first.is_success
    assert [(each.status, each.error) for each in others] == [(None, REFUSED)] * 2
    assert reached == [GLOBAL]
    # One lookup for one connection: there is no second one that could give another answer after the check.
    assert len(names.asked) == 3


@pytest.mark.usefixtures("names_are_not_kept")
def test_a_name_that_turns_global_is_allowed() -> None:
    """A refusal is not remembered."""
    outcomes, reached = send_in_turn(Names([PRIVATE], [GLOBAL]), 2)
    assert [each.error for each in outcomes] == [REFUSED, None]
    assert reached == [GLOBAL]


@pytest.mark.parametrize(
    "addresses",
    [
        [GLOBAL, PRIVATE],
        [PRIVATE, GLOBAL],
        [*[GLOBAL] * 20, PRIVATE],
        [GLOBAL, "::1"],
        [GLOBAL, "::ffff:127.0.0.2"],
        [GLOBAL, "fe80::1%1"],
        [GLOBAL, "169.254.169.254"],
    ],
)
def test_one_private_address_is_one_too_many(addresses: list[str]) -> None:
    """A name is refused as a whole if any of its addresses is not allowed."""
    (outcome,), reached = send_in_turn(Names(addresses), 1)
    assert (outcome.status, outcome.error, reached) == (None, REFUSED, [])


def test_without_networks_of_the_operator_nothing_local_is_reached() -> None:
    """Loopback is refused as the address of a name, and as the host of a URL that was registered before."""
    strict = AddressRules(True, ())
    (outcome,), reached = send_in_turn(Names([GLOBAL]), 1, strict)
    assert (outcome.error, reached) == (REFUSED, [])

    async def main() -> None:
        async with receiving(saying("200 OK")) as receiver, sending(strict) as sender:
            for host in ("127.0.0.1", "127.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "localhost"):
                outcome = await send(sender, receiver.url(host=host))
                assert outcome.status is None
                assert outcome.error is not None
                assert outcome.error.startswith("the URL must have a")
            assert receiver.connections == 0

    asyncio.run(main())


@pytest.mark.parametrize("answer", [[], ["nonsense"], ["127.1"], ["2130706433"], [""]])
def test_a_name_without_an_address_does_not_resolve(answer: list[str]) -> None:
    """No address, or what is none."""
    (outcome,), reached = send_in_turn(Names(answer), 1)
    assert (outcome.error, reached) == ("the name hooks.test does not resolve", [])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "the name hooks.test does not resolve"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "the name hooks.test does not resolve"),
        (UnicodeError("label too long"), "the name hooks.test does not resolve"),
        (OSError(24, "Too many open files"), "cannot connect: too many open files"),
    ],
)
def test_a_lookup_that_fails_is_an_outcome(error: Exception, text: str) -> None:
    """Whatever a lookup raises, the send says so in words."""

    def resolve(_host: str, _port: int) -> list[str]:
        raise error

    async def main() -> str | None:
        async with sending(resolve=resolve) as sender:
            return (await send(sender, "https://hooks.test/x")).error

    assert asyncio.run(main()) == text


def test_the_system_looks_names_up() -> None:
    """`localhost` is known to every system, and a name of the reserved domain `invalid` to none."""

    async def main() -> None:
        rules = AddressRules(True, (ip_network("127.0.0.0/8"), ip_network("::1")))
        async with receiving(saying("200 OK")) as receiver, sending(rules) as sender:
            assert (await send(sender, receiver.url(host="localhost"))).is_success
            outcome = await send(sender, "https://nowhere.invalid/x")
            assert outcome.error in ("the name nowhere.invalid does not resolve", "timed out after 5 s")

    asyncio.run(main())


def test_lookups_of_one_name_are_shared() -> None:
    """A hundred messages to a new name need one lookup, and so do those of the next seconds."""
    names = Names([GLOBAL])

    async def main() -> None:
        answer = saying("200 OK", "Connection: close")
        async with receiving(answer) as receiver, sending(resolve=names) as sender:
            url = receiver.url(host="hooks.test")
            for _ in range(2):
                outcomes = await asyncio.gather(*(send(sender, url) for _ in range(100)))
                assert all(each.is_success for each in outcomes)

    asyncio.run(main())
    assert names.asked == ["hooks.test"]


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Ends the lookups that hang."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("hanging_lookups", [module._LOOKUPS_MOST - 1, module._LOOKUPS_MOST])
def test_lookups_that_hang_delay_no_others(released: threading.Event, hanging_lookups: int) -> None:
    """Others get a thread, and an address needs none. With all threads busy a lookup fails in its time, and the
    threads don't make up for it later."""
    asked: list[str] = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        if host.startswith("slow"):
            released.wait(10)
        return [GLOBAL]

    async def main() -> None:
        async with receiving(saying("200 OK")) as receiver, sending(resolve=resolve, timeout_s=0.5) as sender:
            slow = [
                asyncio.create_task(send(sender, receiver.url(host=f"slow{n}.test"))) for n in range(hanging_lookups)
            ]
            while len(asked) < hanging_lookups:
                await asyncio.sleep(0.005)
            literal, named = await asyncio.gather(
                send(sender, receiver.url()), send(sender, receiver.url(host="quick.test"))
            )
            is_busy = hanging_lookups == module._LOOKUPS_MOST
            assert literal.is_success
            assert literal.latency_ms < 400
            assert named.error == ("timed out after 0.5 s" if is_busy else None)
            assert {each.error for each in await asyncio.gather(*slow)} == {"timed out after 0.5 s"}
            released.set()
            assert (await send(sender, receiver.url(host="later.test"))).is_success
            assert ("quick.test" in asked) is not is_busy

    asyncio.run(main())


def test_a_sender_closes_while_lookups_hang(released: threading.Event) -> None:
    """Nothing waits for them, and what they find is dropped."""

    def resolve(_host: str, _port: int) -> list[str]:
        released.wait(10)
        return [GLOBAL]

    async def main() -> None:
        async with receiving(hanging) as receiver, sending(resolve=resolve, timeout_s=0.1) as sender:
            assert (await send(sender, receiver.url(host="slow.test"))).error == "timed out after 0.1 s"
        assert not released.is_set()

    asyncio.run(main())
