"""The fast path of parsing makes the same facts as the full parser."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import EventRejected
from core.events.envelope import check_envelope, parse_json
from core.events.facts import AccountFacts, SimpleTransaction
from core.ingestion.fast_parse import read_transaction
from core.ingestion.parse import parse_event

PRAGUE = ZoneInfo("Europe/Prague")
ARRIVED = datetime(2026, 3, 10, 12, tzinfo=UTC)


def parse_fully(raw: bytes) -> tuple[AccountFacts, ...] | None:
    """The facts that the full parser makes of an event; None if it refuses it."""
    try:
        return parse_event(check_envelope(parse_json(raw)), PRAGUE, ARRIVED)
    except EventRejected:
        return None


def written(data: dict[str, str], **envelope: str) -> bytes:
    """An event whose values are JSON texts."""
    usual = {
        "specversion": '"1.0"',
        "id": '"e1"',
        "source": '"bank"',
        "type": '"milepost.transaction.recorded"',
        "time": '"2026-03-10T10:00:00Z"',
    }
    fields = ", ".join(f'"{name}": {value}' for name, value in data.items())
    members = [f'"{name}": {value}' for name, value in (usual | envelope).items()]
    return f'{{{", ".join(members)}, "data": {{{fields}}}}}'.encode()


USUAL = {
    "account_id": '"a1"',
    "transaction_id": '"t1"',
    "amount": "12.50",
    "currency": '"EUR"',
    "posted_at": '"2026-03-09"',
}
texts = st.one_of(
    st.sampled_from(["a1", "t1", "", " ", "x" * 200, "x" * 201, "ü", "\u2028", "a\tb", "a\\b", 'a"b', 'a": 1', "\x1f"]),
    st.text(max_size=12),
).map(json.dumps)
odd = st.sampled_from(
    ["null", "1", "true", "[]", "{}", '{"a": [[]]}', "NaN", '"EUR"', '"usd"', '"JPY"', '"asset"', "1e3"]
)
numbers = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.decimals(-1000, 1000, places=2).map(str),
    st.sampled_from(
        ["0", "-0", "-0.00", "1000000000000000", "10000000000000.01", "1.10000", "0.001", "007", "+1", "1."]
    ),
    st.sampled_from(['"12.50"', '"1e2"', "1E2", "1e400", "9" * 5000, "1_000", ".5", "-"]),
)
instants = st.builds(
    lambda at, fraction, end: f"{at:%Y-%m-%dT%H:%M:%S}{fraction}{end}",
    st.integers(-130 * 365 * 24 * 3600, 96 * 3600).map(lambda seconds: ARRIVED + timedelta(seconds=seconds)),
    st.sampled_from(["", ".", ".5", ".123", ",123", ".1234", ".123456", ".1234567", ".123456789", ".1-0", ".00:000"]),
    st.sampled_from(
        ["Z", "z", "", "+00:00", "-00:00", "+0000", "+00", "+02:00", "-11:30", "+00:00:00", "Z+00:00", " Z"]
    ),
)


@st.composite
def nearly_instants(draw: st.DrawFn) -> str:
    """Instants as programs write them, of which a few characters may be others."""
    text = draw(instants)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text) - 1))
        text = text[:at] + draw(st.sampled_from([*"09-:+.,TtZzW ", "٣", ""])) + text[at + 1 :]
    return text


moments = st.one_of(
    nearly_instants().map(lambda text: f'"{text}"'),
    st.integers(-130 * 365 * 24, 96).map(lambda hours: json.dumps((ARRIVED + timedelta(hours=hours)).isoformat())),
    st.dates().map(lambda day: json.dumps(day.isoformat())),
    st.sampled_from(
        ['"2026-03-09t10:00:00z"', '"2026-03-09T10:00:00+02:00"', '"2026-02-30"', '"20260309"', '"0001-01-01"']
    ),
)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """Events of which some are for the fast path, and most are nearly so."""
    data = dict(USUAL)
    optional = dict.fromkeys(("user_id", "replaces", "category", "description", "kind", "more"), texts)
    kinds: dict[str, st.SearchStrategy[str]] = optional | {
        "account_id": texts,
        "transaction_id": texts,
        "amount": numbers,
        "posted_at": moments,
        "currency": odd,
        "pending": st.sampled_from(["true", "false", "null", "1"]),
        "kind": st.sampled_from(['"asset"', '"liability"', "null", '"debt"']),
    }
    for name in draw(st.lists(st.sampled_from(sorted(kinds)), max_size=4)):
        data[name] = draw(st.one_of(kinds[name], kinds[name], odd))
    for name in draw(st.lists(st.sampled_from(sorted(USUAL)), max_size=1)):
        if draw(st.integers(0, 5)) == 0:
            del data[name]
    envelope: dict[str, str] = {}
    for name in draw(st.lists(st.sampled_from(["id", "source", "time", "subject", "specversion", "type"]), max_size=1)):
        envelope[name] = draw(moments if name == "time" else texts)
    raw = written(data, **envelope)
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.sampled_from([b" ", b'"', b"\\", b"\xff", b',"id":"x"', b"}", b""])) + raw[at:]
    return raw


@given(events())
@example(written(USUAL | {"pending": "true", "category": "null", "kind": '"asset"', "user_id": '"u"'}))
def test_the_fast_path_has_the_results_of_the_full_parser(raw: bytes) -> None:
    """Whatever the fast path takes, the full parser makes the very same facts of it."""
    fast = read_transaction(raw, PRAGUE, ARRIVED)
    if fast is not None:
        assert parse_fully(raw) == (fast.facts() if isinstance(fast, SimpleTransaction) else fast,)


@given(nearly_instants(), nearly_instants())
@example("2026-03-09T10:00:00.123456+00:00", "2026-03-09T10:00:00.123456+00:00")
def test_a_time_in_any_form_has_the_result_of_the_full_parser(time: str, posted_at: str) -> None:
    """The fast path takes an event with these times exactly if the full parser does, with the same facts."""
    raw = written(USUAL | {"posted_at": f'"{posted_at}"'}, time=f'"{time}"')
    fast, full = read_transaction(raw, PRAGUE, ARRIVED), parse_fully(raw)
    if fast is None:
        assert full is None
    else:
        assert isinstance(fast, SimpleTransaction)
        assert (fast.facts(),) == full
        assert fast.event_time.tzinfo is fast.posted_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-09T10:00:00Z", datetime(2026, 3, 9, 10, tzinfo=UTC)),
        ("2026-03-09T10:00:00.5Z", datetime(2026, 3, 9, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-09T10:00:00.123Z", datetime(2026, 3, 9, 10, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-03-09T10:00:00.123456Z", datetime(2026, 3, 9, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-03-09T10:00:00.1234569Z", datetime(2026, 3, 9, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-03-09T10:00:00.999999999+00:00", datetime(2026, 3, 9, 10, 0, 0, 999_999, tzinfo=UTC)),
        ("2026-03-09T10:00:00+00:00", datetime(2026, 3, 9, 10, tzinfo=UTC)),
        ("2026-03-09T10:00:00.123+00:00", datetime(2026, 3, 9, 10, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-03-09T10:00:00.123456+00:00", datetime(2026, 3, 9, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-03-09T10:00:00-00:00", datetime(2026, 3, 9, 10, tzinfo=UTC)),
        ("2026-03-09T10:00:00.123456+02:00", datetime(2026, 3, 9, 8, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-03-09T10:00:00", datetime(2026, 3, 9, 10, tzinfo=UTC)),
        ("2026-03-09t10:00:00z", datetime(2026, 3, 9, 10, tzinfo=UTC)),
    ],
)
def test_the_fast_path_takes_a_time_in_any_usual_form(text: str, moment: datetime) -> None:
    """Every usual way to write an instant, and some that are not: what is beyond the microsecond is cut."""
    raw = written(USUAL | {"posted_at": f'"{text}"'}, time=f'"{text}"')
    fast = read_transaction(raw, PRAGUE, ARRIVED)
    assert isinstance(fast, SimpleTransaction)
    assert fast.event_time == fast.posted_at == moment
    assert fast.event_time.tzinfo is fast.posted_at.tzinfo is UTC
    assert (fast.facts(),) == parse_fully(raw)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-09 10:00:00Z",
        "2026-03-09T10:00:00+0000",
        "2026-03-09T10:00:00+00:00:00",
        "2026-03-09T10:00:00,123Z",
        "2026-03-09T10:00:00.12aZ",
        "2026-03-09T10:00:60Z",
        "2026-03-09T10:00Z",
        "2026-02-30T10:00:00Z",
        "2026-W11-1T10:00:00Z",
        "20260309T100000.000Z",
        "2026-03-09T10:00:00.+00:00+00:00",
        "2026-03-09T10:00:0٣Z",
        "0001-01-01T00:00:00Z",
    ],
)
@pytest.mark.parametrize("name", ["time", "posted_at"])
def test_the_fast_path_takes_no_near_instant(name: str, text: str) -> None:
    """A text that the full parser refuses, though it has the separators or the length of an instant."""
    quoted = f'"{text}"'
    raw = written(USUAL, time=quoted) if name == "time" else written(USUAL | {name: quoted})
    assert read_transaction(raw, PRAGUE, ARRIVED) is None
    assert parse_fully(raw) is None


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"pending": "true"},
        {"pending": "false", "category": '"FOOD"', "description": '"Café, č. 7"'},
        {"user_id": '"u1"', "kind": '"liability"', "replaces": '"t0"'},
        {"amount": "-3", "posted_at": '"2026-03-09T10:00:00+02:00"'},
        {"category": "null", "description": "null", "replaces": "null", "user_id": "null", "kind": "null"},
    ],
)
def test_the_fast_path_takes_usual_transactions(more: dict[str, Any]) -> None:
    """What producers usually send takes the fast path."""
    assert read_transaction(written(USUAL | more), PRAGUE, ARRIVED) is not None


@pytest.mark.parametrize(
    "raw",
    [
        written(USUAL).replace(b'"id": "e1"', b'"id": "e1", "id": "e2"'),
        written(USUAL).replace(b'"amount": 12.50', b'"amount": 12.50, "amount": 99.00'),
        # A text with the word null, and a null before the value that counts: quotation marks alone show neither.
        written(USUAL | {"category": '"null"'}).replace(b'"amount": 12.50', b'"amount": 12.50, "amount": 99.00'),
        written(USUAL | {"category": '"FOOD"'}).replace(b'"category"', b'"category": null, "category"'),
        written(USUAL).replace(b'"id": "e1"', b'"id" : "e1", "\\u0069d": "e2"'),
    ],
)
def test_a_key_that_comes_twice_is_not_overlooked(raw: bytes) -> None:
    """Of two values for one key none is taken."""
    assert read_transaction(raw, PRAGUE, ARRIVED) is None
    with pytest.raises(EventRejected, match="twice"):
        parse_json(raw)


@pytest.mark.parametrize("text", ["\x7f", "a\x7fb", "ü\x7f", "a\x80b"])
@pytest.mark.parametrize("name", ["account_id", "transaction_id", "replaces", "user_id", "category", "description"])
def test_a_control_character_is_left_to_the_full_parser(name: str, text: str) -> None:
    """Those that JSON lets through: DELETE and what follows it."""
    assert read_transaction(written(USUAL | {name: f'"{text}"'}), PRAGUE, ARRIVED) is None
