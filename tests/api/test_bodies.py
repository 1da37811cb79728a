"""What a body must be before its fields are looked at."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

POSTS = ["/goals", "/events", "/goals/none/milestones", "/goals/none/funding"]
NO_BODIES = {
    "empty": b"",
    "blank": b" \n ",
    "cut off": b'{"user_id": "u',
    "text": b"hello",
    "not an object": b"[]",
    "null": b"null",
    "a number": b"12",
    "two values": b"{} {}",
    "invalid UTF-8": b'{"user_id": "\xff"}',
    "UTF-16": '{"user_id": "u"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a byte order mark in an array": b"[\xef\xbb\xbf{}]",
    "the bytes of a mark as characters": b"\xc3\xaf\xc2\xbb\xc2\xbf{}",
    "half a surrogate pair as a name": b'{"\\ud800": 1}',
    "half a surrogate pair as a name, twice": b'{"\\ud800": 1, "\\ud800": 1}',
    "half a surrogate pair as a name further in": b'{"milestones": [{"\\ud800": 1}], "data": {"\\ud800": 1}}',
    "deep arrays": b"[" * 60_000,
    "deep objects": b'{"a":' * 12_000,
    "a key twice": b'{"user_id": "u", "user_id": "v"}',
    "a key twice, spelt in two ways": b'{"user_id": "u", "user\\u005fid": "u"}',
    "a key twice further in": b'{"data": {"a": 1, "a": 1}}',
    "deep and closed": b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
}


@pytest.mark.parametrize("url", POSTS)
def test_what_is_no_json_object_is_refused(api: TestClient, url: str, dump: Callable[[], str]) -> None:
    """Each is 422 with a place in the body and a text, and nothing is written."""
    before = dump()
    for name, body in NO_BODIES.items():
        response = api.post(url, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 422, (name, response.text)
        problem, *_ = response.json()["errors"]
        assert problem["loc"][0] == "body", name
        assert problem["msg"], name
    assert dump() == before


@pytest.mark.parametrize("url", POSTS)
def test_a_body_over_the_limit_is_413(api: TestClient, url: str) -> None:
    """A body that declares more bytes than are allowed is refused, as is one that comes in chunks.

    Events have what the setting says, and what names its fields 64 KiB.
    """
    limit = 2_000_000 if url == "/events" else 65_536

    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 100_000

    for response in (api.post(url, content=b" " * (limit + 1)), api.post(url, content=chunks())):
        assert response.status_code == 413
        assert response.json() == {"detail": f"The body must have at most {limit} bytes"}


@pytest.mark.parametrize("url", POSTS)
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "zstd", "identity, gzip", "x", "gz\xefp"])
def test_a_compressed_body_is_415_before_it_is_read(api: TestClient, url: str, encoding: str) -> None:
    """It is not inflated, however little it is: the answer says what is taken, and what was sent does not matter."""
    bomb = gzip.compress(bytes(1_500_000))
    response = api.post(url, content=bomb, headers={"Content-Encoding": encoding.encode("latin-1")})
    assert (response.status_code, response.headers["Accept-Encoding"]) == (415, "identity")
    assert response.json()["detail"].startswith("Send the body as it is: Content-Encoding ")


def test_identity_is_no_compression(api: TestClient) -> None:
    """A body that is said to be as it is, is taken."""
    goal = {"user_id": "u", "name": "n", "type": "savings", "target_amount": 1}
    assert api.post("/goals", json=goal, headers={"Content-Encoding": " Identity"}).status_code == 201


def test_a_body_at_the_limit_is_read(api: TestClient) -> None:
    """A body of exactly the allowed size is taken."""
    goal = b'{"user_id":"u","name":"n","type":"savings","target_amount":1}'
    assert api.post("/goals", content=goal.ljust(65_536)).status_code == 201
    assert api.post("/events", content=b"[]".ljust(2_000_000)).status_code == 422


def test_a_method_that_is_not_there_is_405(api: TestClient) -> None:
    """PUT is not among the documented methods."""
    response = api.put("/goals", json={})
    assert (response.status_code, response.json()) == (405, {"detail": "Method Not Allowed"})


def test_a_path_that_is_not_there_is_404(api: TestClient) -> None:
    """What is no route is not found, in the documented form."""
    response = api.get("/nothing/here")
    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})
