"""Events in batches: all of them in their order, none longer than a request, and each with a key of its own."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.client import batches as module
from milepost.client.batches import Batch, batches, encode_event
from milepost.client.errors import InvalidField, ServerFault, Unavailable

KEY = "k" * 200
MOST_EVENTS, MOST_BYTES = 5, 40


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of at most MOST_EVENTS and MOST_BYTES."""
    monkeypatch.setattr(module, "MOST_EVENTS", MOST_EVENTS)
    monkeypatch.setattr(module, "MOST_BYTES", MOST_BYTES)


def made(sizes: list[int]) -> tuple[list[bytes], list[Batch]]:
    """Texts of these sizes, and their batches."""
    texts = [b"x" * size for size in sizes]
    return texts, list(batches("line", enumerate(texts, 10)))


@given(st.lists(st.integers(1, MOST_BYTES), max_size=40))
def test_every_event_is_in_one_batch(sizes: list[int]) -> None:
    """In its order and with its number; no batch is longer than allowed, and none could have had the next event too."""
    texts, found = made(sizes)
    assert [text for batch in found for text in batch.texts] == texts
    assert [number for batch in found for number in batch.numbers] == list(range(10, 10 + len(texts)))
    for batch in found:
        assert 0 < len(batch.texts) == len(batch.numbers) <= MOST_EVENTS
        assert len(batch.body) <= MOST_BYTES
    for batch, following in pairwise(found):
        longer = len(batch.body) + 1 + len(following.texts[0])
        assert len(batch.texts) == MOST_EVENTS or longer > MOST_BYTES
    assert found == made(sizes)[1]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=40))
def test_every_part_has_a_key_of_its_own(sizes: list[int]) -> None:
    """Also the halves of halves, down to single events; the same ones each time."""

    def parts(batch: Batch) -> list[Batch]:
        halves = batch.halves()
        assert (sum([half.texts for half in halves], ()) == batch.texts) is bool(halves)
        assert bool(halves) is (len(batch.texts) > 1)
        return [batch, *[part for half in halves for part in parts(half)]]

    _, found = made(sizes)
    keys = [part.key(KEY) for batch in found for part in parts(batch)]
    assert len(set(keys)) == len(keys)
    assert all(len(key) <= 200 and key.isascii() and key.isprintable() for key in keys)
    assert keys[0] != found[0].key("other")


def test_an_event_that_is_too_long_is_named() -> None:
    """With those that would have been sent with it."""
    with pytest.raises(InvalidField, match=r"^line 12: has more than 40 bytes; lines 10 to 12 were not accepted, and "):
        made([1, 1, 41, 1])
    with pytest.raises(InvalidField, match=r"^line 10: has more than 40 bytes; line 10 was not accepted, and later "):
        made([41])


def test_an_event_is_one_line() -> None:
    """Whatever spaces the JSON has around its values."""
    assert encode_event("event", ' \n{"a":\n 1}\r\n') == b'{"a":  1}'
    assert encode_event("event", {"a": "\n"}) == b'{"a":"\\n"}'
    endless: dict[str, object] = {}
    endless["itself"] = endless
    with pytest.raises(InvalidField, match=r"^event: is nested too deeply$"):
        encode_event("event", endless)


def test_the_error_of_a_request_becomes_that_of_the_call() -> None:
    """It names the event as the caller counts them, has the key of the call, and says what is not accepted."""
    batch = Batch("0", "line", (7, 9, 12), (b"1", b"2", b"3"))
    refused = InvalidField("event 1: time is missing", "1")
    batch.describe(refused, "key")
    assert str(refused) == "line 9: time is missing; lines 7 to 12 were not accepted, and later ones were not sent"
    assert (refused.field, refused.idempotency_key) == ("line 9", "key")
    other = InvalidField("At most 10 events are taken at once")
    batch.halves()[0].describe(other, "key")
    assert str(other).endswith("once; line 7 was not accepted, and later ones were not sent")
    away = Unavailable("away")
    away.may_pass = True
    for in_doubt in (away, ServerFault("fault")):
        batch.describe(in_doubt, "key")
        assert str(in_doubt).endswith("; lines 7 to 12 may not have been accepted, and later ones were not sent")
