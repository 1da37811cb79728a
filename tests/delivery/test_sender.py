"""Whatever a receiver answers, a send ends in time, reads little, and says what came of it."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.delivery import sender as module
from core.delivery.sender import ANSWER_KEPT_BYTES, ANSWER_MOST_BYTES, Outcome, read_retry_after
from tests.budget import examples
from tests.delivery.raw_receivers import (
    BODY,
    Answer,
    Request,
    dripping,
    hanging,
    receiving,
    saying,
    send,
    send_once,
    sending,
    writing,
)

OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS = OK + b"Content-Length: 1000000\r\n\r\n"


@pytest.fixture(autouse=True)
def bodies_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests wait less long for the rest of a body."""
    monkeypatch.setattr(module, "BODY_MOST_S", 0.2)


@pytest.mark.parametrize(
    ("status", "is_success"),
    [
        ("200 OK", True),
        ("204 No Content", True),
        ("299 Odd", True),
        ("301 Moved Permanently", False),
        ("304 Not Modified", False),
        ("400 Bad Request", False),
        ("410 Gone", False),
        ("429 Too Many Requests", False),
        ("500 Internal Server Error", False),
        ("999 Odd", False),
    ],
)
def test_the_status_says_whether_it_was_taken(status: str, is_success: bool) -> None:
    """2xx and nothing else is a success; every status is an answer, and so no error."""
    outcome, receiver = send_once(saying(status))
    assert (outcome.status, outcome.error, outcome.is_success) == (int(status[:3]), None, is_success)
    assert outcome.retry_after_s is None
    assert 0 <= outcome.latency_ms < 5_000
    assert len(receiver.requests) == 1


def test_the_message_arrives_as_it_was_given() -> None:
    """The body and the headers are those of the caller, and the path is sent as it was registered."""

    async def main() -> Request:
        async with receiving(saying("200 OK", body=b"thanks")) as receiver, sending() as sender:
            outcome = await send(sender, receiver.url("/a%2Fb/../c%41;d?x=%20+&y=[1]"))
            assert outcome == Outcome(200, None, outcome.latency_ms, b"thanks")
            return receiver.requests[0]

    request = asyncio.run(main())
    lines = request.head.lower().splitlines()
    assert request.head.startswith("POST /a%2Fb/../c%41;d?x=%20+&y=[1] HTTP/1.1\r\n")
    assert {"content-type: application/json", "webhook-id: msg_1", "user-agent: milepost/1"} < set(lines)
    assert "accept-encoding: identity" in lines
    assert request.body == BODY


def test_redirects_are_not_followed() -> None:
    """Wherever a receiver points to gets nothing."""

    async def main() -> None:
        async with receiving(saying("200 OK")) as other, sending() as sender:
            for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
                async with receiving(saying(status, f"Location: {other.url()}")) as receiver:
                    outcome = await send(sender, receiver.url())
                    assert (outcome.status, outcome.is_success) == (int(status[:3]), False)
            assert other.connections == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("99999999999999999999", 86_400.0),
        ("9" * 100, None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
        ("soon", None),
        ("Mon, 99 Foo 2026 00:00:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("Fri, 31 Dec 9999 23:59:59 -9900", None),
        (None, None),
    ],
)
def test_retry_after_is_read_with_care(text: str | None, wait_s: float | None) -> None:
    """Seconds and dates count, from none to a day; all else is as if it were not there."""
    assert read_retry_after(text) == wait_s


@settings(max_examples=examples(50))
@given(st.text(max_size=70) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [-+A-Z0-9]*"))
def test_any_retry_after_can_be_read(text: str) -> None:
    """No text makes it fail."""
    wait_s = read_retry_after(text)
    assert wait_s is None or 0 <= wait_s <= 86_400


def test_retry_after_comes_with_the_outcome() -> None:
    """In seconds, or until a date."""
    outcome, _ = send_once(saying("429 Too Many Requests", "Retry-After: 7"))
    assert (outcome.status, outcome.retry_after_s) == (429, 7.0)
    later = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    outcome, _ = send_once(saying("503 Service Unavailable", f"Retry-After: {later}"))
    assert outcome.retry_after_s == pytest.approx(300, abs=10)


@pytest.mark.parametrize(
    "answer",
    [
        saying("200 OK", body=b"x" * 10_000_000),
        writing(OK + b"\r\n" + b"x" * 10_000_000, then_close=True),
        dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b"x" * 1_024 + b"\r\n", 0),
    ],
    ids=["sized", "to the end", "chunked"],
)
def test_long_answers_are_cut(answer: Answer) -> None:
    """Of megabytes the first part is kept, and the connection is closed; the status counts."""
    outcome, _ = send_once(answer)
    assert outcome.is_success
    assert outcome.answer == b"x" * ANSWER_KEPT_BYTES
    assert outcome.latency_ms < 1_000


def test_compressed_answers_stay_compressed() -> None:
    """A small answer that would unpack to ten megabytes does not."""
    packed = gzip.compress(bytes(10_000_000))
    outcome, _ = send_once(saying("200 OK", "Content-Encoding: gzip", body=packed))
    assert (outcome.status, outcome.answer) == (200, packed[:ANSWER_KEPT_BYTES])


@pytest.mark.parametrize("head", [ENDLESS, OK + b"\r\n"], ids=["sized", "to the end"])
def test_a_body_may_not_drip(head: bytes) -> None:
    """The status counts, and the slot is free again soon after the headers."""
    outcome, _ = send_once(dripping(head, b"x", 0.05))
    assert outcome.is_success
    assert 1 <= len(outcome.answer) <= 10
    assert 150 <= outcome.latency_ms < 1_500


def test_a_body_that_breaks_off_leaves_the_status() -> None:
    """What came of it is kept."""
    outcome, _ = send_once(writing(ENDLESS + b"begun", then_close=True))
    assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"begun")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (hanging, "timed out after 0.3 s"),
        (dripping(OK, b"X", 0.01), "timed out after 0.3 s"),
        (dripping(OK, b"X: y\r\n", 0.01), "timed out after 0.3 s"),
        (dripping(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Wait\r\n\r\n", 0.01), "timed out after 0.3 s"),
        (writing(then_close=True), "the connection was closed before the answer was complete"),
        (writing(OK + b"X: y", then_close=True), "the connection was closed before the answer was complete"),
        (writing(OK + b"X: " + b"y" * 9_000), "the answer is not HTTP, or its headers are too long"),
        (writing(OK + b"X: y\r\n" * 200 + b"\r\n"), "the answer is not HTTP, or its headers are too long"),
        (dripping(OK, b"X: " + b"y" * 4_000 + b"\r\n", 0), "the answer is not HTTP, or its headers are too long"),
        (dripping(b"", b"HTTP/1.1 102 W\r\n\r\n" * 99, 0), "the answer is not HTTP, or its headers are too long"),
        (writing(b"SSH-2.0-OpenSSH_9.2\r\n"), "the answer is not HTTP, or its headers are too long"),
        (writing(b"\x15\x03\x01\x00\x02\x02\x16"), "the answer is not HTTP, or its headers are too long"),
    ],
)
def test_without_complete_headers_there_is_no_answer(answer: Answer, error: str) -> None:
    """The reason is said in words, and the message was sent once."""
    outcome, receiver = send_once(answer, timeout_s=0.3)
    assert (outcome.status, outcome.error, outcome.answer, outcome.is_success) == (None, error, b"", False)
    assert outcome.latency_ms < 1_000
    assert len(receiver.requests) == 1


def test_nobody_listens() -> None:
    """A refused connection is an outcome."""

    async def main() -> Outcome:
        async with receiving(hanging) as receiver:
            pass
        async with sending() as sender:
            return await send(sender, receiver.url())

    assert asyncio.run(main()).error == "cannot connect: connection refused"


def test_switching_protocols_is_just_a_status() -> None:
    """After 101 nothing more is read."""
    outcome, _ = send_once(dripping(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", b"x" * 9_999, 0))
    assert (outcome.status, outcome.is_success) == (101, False)


@settings(max_examples=examples(60))
@given(
    st.binary(max_size=200)
    | st.builds(
        lambda status, fields, body: b"HTTP/1.1 " + status + b"\r\n" + b"\r\n".join(fields) + b"\r\n\r\n" + body,
        st.sampled_from([b"200 OK", b"100 C", b"204 N", b"101 S", b"200", b"-1 X", b"2000 X", b"200 \xff"]),
        st.lists(
            st.sampled_from(
                [
                    b"Content-Length: 5",
                    b"Content-Length: -5",
                    b"Content-Length: 99999999999999999999999",
                    b"Transfer-Encoding: chunked",
                    b"Transfer-Encoding: gzip, chunked",
                    b"Content-Encoding: br",
                    b"Connection: upgrade",
                    b"Upgrade: websocket",
                    b"Set-Cookie: =;=;\xff",
                    b"Location: http://[",
                    b"Retry-After: \xff",
                    b"\xff\xff: \x00",
                    b" folded",
                    b":",
                ]
            ),
            max_size=4,
        ),
        st.binary(max_size=50),
    )
)
def test_nothing_that_a_receiver_writes_is_raised(answer: bytes) -> None:
    """Whatever comes, it ends as a status or as an error."""
    outcome, receiver = send_once(writing(answer, then_close=True))
    assert (outcome.status is None) == (outcome.error is not None)
    assert len(receiver.requests) == 1


def test_connections_are_kept_and_cookies_are_not() -> None:
    """Messages to one host share a connection one after the other; nothing of an answer comes back to the receiver."""

    async def main() -> None:
        answer = saying("200 OK", "Set-Cookie: a=b; Path=/", body=b"ok")
        async with receiving(answer) as receiver, sending() as sender:
            for path in ("/tenant-a", "/tenant-b", "/tenant-a"):
                assert (await send(sender, receiver.url(path))).is_success
            assert receiver.connections == 1
            assert not any("cookie" in each.head.lower() for each in receiver.requests)

    asyncio.run(main())


def test_a_kept_connection_that_closes_costs_no_failure() -> None:
    """A message that meets the end of an idle connection is sent again over a new one."""

    async def answer(request: Request) -> None:
        if request.connection == 1 and request.path == "/second":
            raise EOFError
        await saying("200 OK")(request)

    async def main() -> None:
        async with receiving(answer) as receiver, sending() as sender:
            assert (await send(sender, receiver.url("/first"))).is_success
            assert (await send(sender, receiver.url("/second"))).is_success
            assert [(each.path, each.connection) for each in receiver.requests] == [
                ("/first", 1),
                ("/second", 1),
                ("/second", 2),
            ]

    asyncio.run(main())


def test_an_idle_connection_reads_no_flood() -> None:
    """A receiver that goes on writing after its answer is cut off."""
    written = 0
    cut_off = asyncio.Event()

    async def flood(request: Request) -> None:
        nonlocal written
        try:
            while True:
                request.writer.write(OK + b"Content-Length: 0\r\n\r\n")
                await request.writer.drain()
                written += 1
                await asyncio.sleep(0)
        finally:
            cut_off.set()

    async def main() -> None:
        async with receiving(flood) as receiver, sending() as sender:
            assert (await send(sender, receiver.url())).is_success
            await asyncio.wait_for(cut_off.wait(), 5)

    asyncio.run(main())
    # Beside what is read there is what the system takes in for a connection.
    assert written * len(OK) < 100 * ANSWER_MOST_BYTES


def test_receivers_that_hang_delay_no_others() -> None:
    """A hundred sends that wait take nothing from another one."""

    async def answer(request: Request) -> None:
        await (hanging if request.path == "/hang" else saying("200 OK"))(request)

    async def main() -> None:
        async with receiving(answer) as receiver, sending(timeout_s=1.0) as sender:
            slow = [asyncio.create_task(send(sender, receiver.url("/hang"))) for _ in range(100)]
            while len(receiver.requests) < 100:
                await asyncio.sleep(0.01)
            outcome = await send(sender, receiver.url("/fast"))
            assert outcome.is_success
            assert outcome.latency_ms < 500
            assert {each.error for each in await asyncio.gather(*slow)} == {"timed out after 1 s"}

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:Sending a large body")
def test_a_receiver_that_does_not_read_holds_nothing() -> None:
    """What is not yet written when time is up is dropped; a connection does not stay open until the receiver reads."""
    body = bytes(16_000_000)

    async def main() -> int:
        is_over = asyncio.Event()
        arrived: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await is_over.wait()
            count = 0
            with suppress(ConnectionResetError):
                while part := await reader.read(65_536):
                    count += len(part)
            writer.close()
            arrived.set_result(count)

        server = await asyncio.start_server(read_late, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        async with server, sending(timeout_s=0.3) as sender:
            assert (await sender.send(url, {}, body)).error == "timed out after 0.3 s"
            is_over.set()
            return await asyncio.wait_for(arrived, 5)

    assert asyncio.run(main()) < len(body)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"])
def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A proxy would connect to addresses that nobody checked."""

    async def main() -> None:
        async with receiving(saying("500 No")) as proxy, receiving(saying("200 OK")) as receiver, sending() as sender:
            monkeypatch.setenv(name, proxy.url(""))
            assert (await send(sender, receiver.url())).is_success
            assert proxy.connections == 0

    asyncio.run(main())


def test_a_cancelled_send_is_cancelled() -> None:
    """Only the caller's own cancellation passes."""

    async def main() -> None:
        async with receiving(hanging) as receiver, sending() as sender:
            task = asyncio.create_task(send(sender, receiver.url()))
            while not receiver.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
