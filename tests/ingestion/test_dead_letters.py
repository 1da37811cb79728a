"""What cannot take effect goes to the dead letters with a reason, and the rest of its batch is applied."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import simplejson

from core.store.database import Sessions
from core.store.driver import Sql
from tests.acts import event
from tests.conftest import Apply

AT = datetime(2026, 3, 9, 8, tzinfo=UTC)
GOOD = {"account_id": "a", "transaction_id": "good", "amount": 1, "currency": "USD", "posted_at": "2026-03-09"}


def recorded(**changes: Any) -> bytes:
    """A transaction that is good but for `changes`; None takes a field away."""
    data = {key: value for key, value in (GOOD | {"transaction_id": "bad"} | changes).items() if value is not None}
    return event("transaction.recorded", AT, "bad", data)


def reported(**changes: Any) -> bytes:
    """A report that is good but for `changes`."""
    data = {"account_id": "a", "current": 5, "currency": "USD", "as_of": "2026-03-09"} | changes
    return event("balance.reported", AT, "bad", data)


def envelope(**changes: Any) -> bytes:
    """An event whose envelope is good but for `changes`."""
    whole = simplejson.loads(recorded()) | changes
    return simplejson.dumps({key: value for key, value in whole.items() if value is not None}).encode()


BAD = [
    (b"", "unparseable"),
    (b"{", "unparseable"),
    (b"\xff\xfe", "unparseable"),
    (b"[" * 60_000, "unparseable"),
    (recorded(description="x" * 70_000), "too_large"),
    (recorded().replace(b'"amount": 1', b'"amount": NaN'), "unparseable"),
    (recorded().replace(b'"amount": 1', b'"amount": -Infinity'), "unparseable"),
    (recorded().replace(b'"amount": 1', b'"amount": ' + b"9" * 5000), "unparseable"),
    (b"[]", "malformed"),
    (envelope(specversion="0.3"), "malformed"),
    (envelope(id=None), "malformed"),
    (envelope(id="a\u0000b"), "malformed"),
    (envelope(source="x" * 501), "malformed"),
    (envelope(time="yesterday"), "malformed"),
    (envelope(time="2026-03-09"), "malformed"),
    (envelope(data=[1]), "malformed"),
    (envelope(type="milepost.balance.guessed"), "unknown_type"),
    (envelope(time="2026-03-10T12:05:01Z"), "clock_ahead"),
    (recorded(posted_at="2027-05-12T00:00:00Z"), "far_future"),
    (reported(as_of="2027-05-12"), "far_future"),
    (recorded(posted_at="1492-10-12"), "bad_value"),
    (recorded(posted_at="2026-02-30"), "bad_value"),
    (recorded(posted_at=20260309), "bad_value"),
    (recorded(posted_at=None), "missing_field"),
    (recorded(amount=None), "missing_field"),
    (recorded(account_id=None), "missing_field"),
    (recorded(account_id="\ud800"), "bad_value"),
    (recorded(transaction_id=7), "bad_value"),
    (recorded(currency=None), "missing_field"),
    (recorded(currency="DOLLARS"), "bad_currency"),
    (recorded(currency=["USD"]), "bad_currency"),
    (recorded(amount="12.345"), "bad_amount"),
    (recorded(amount=True), "bad_amount"),
    (recorded(amount={"value": 1}), "bad_amount"),
    (recorded(amount="1e3"), "bad_amount"),
    (recorded().replace(b'"amount": 1', b'"amount": 1e999999'), "bad_amount"),
    (recorded(amount="99999999999999999999"), "bad_amount"),
    (recorded(pending="no"), "bad_value"),
    (recorded(kind="equity"), "bad_value"),
    (recorded(replaces="bad"), "self_contradicting"),
    (reported(available="a lot"), "bad_amount"),
    (event("account.changed", AT, "bad", {"account_id": "a"}), "missing_field"),
    (event("account.changed", AT, "bad", {"account_id": "a", "replaced_by": "a"}), "self_contradicting"),
    (event("connection.changed", AT, "bad", {"account_ids": [], "state": "broken"}), "bad_value"),
    (event("connection.changed", AT, "bad", {"account_ids": ["a"] * 51, "state": "broken"}), "bad_value"),
    (event("connection.changed", AT, "bad", {"account_ids": ["a"], "state": "meh"}), "bad_value"),
]


@pytest.mark.parametrize(("bad", "code"), BAD, ids=[f"{n}-{code}" for n, (_, code) in enumerate(BAD)])
def test_a_bad_event_is_kept_whole_with_its_reason(
    apply: Apply, session_factory: Sessions, bad: bytes, code: str
) -> None:
    """Between two good events a bad one is set aside with a code and a text, and the good ones count."""
    first = event("transaction.recorded", AT, "1", GOOD | {"transaction_id": "1"})
    last = event("transaction.recorded", AT, "2", GOOD | {"transaction_id": "2"})
    applied = apply([first, bad, last])
    assert (applied.events, applied.dead_letters) == (3, 1)
    with session_factory() as session:
        found, reason, body = Sql("SELECT code, reason, event FROM dead_letters").one(session, {})
        assert (found, body) == (code, bad)
        assert 5 < len(reason) < 300
        assert Sql("SELECT worth_minor FROM accounts WHERE account_id = 'a'").value(session, {}) == 200


def test_an_unknown_tenant_is_a_reason(apply: Apply, session_factory: Sessions) -> None:
    """Events of a tenant that does not exist are kept under the name they gave."""
    apply([recorded()], tenant="nobody")
    with session_factory() as session:
        assert Sql("SELECT tenant, code FROM dead_letters").rows(session, {}) == [("nobody", "unknown_tenant")]
        assert Sql("SELECT count(*) FROM accounts").value(session, {}) == 0


def test_unknown_fields_are_ignored_and_texts_are_tidied(apply: Apply, session_factory: Sessions) -> None:
    """Fields that mean nothing do no harm, and free text loses control characters and what is over-long."""
    apply([recorded(colour="red", description="a\u0000b" + "x" * 600)])
    with session_factory() as session:
        description = Sql("SELECT description FROM transactions").value(session, {})
        assert description == "ab" + "x" * 498


def test_a_report_without_a_balance_is_no_event(apply: Apply, session_factory: Sessions) -> None:
    """A null balance, as providers send it, is neither a fact nor a dead letter."""
    assert apply([reported(current=None)]).dead_letters == 0
    with session_factory() as session:
        assert Sql("SELECT count(*) FROM accounts").value(session, {}) == 0


def test_amounts_come_through_without_a_rounding(apply: Apply, session_factory: Sessions) -> None:
    """A number that no double holds arrives to the cent, and each currency has its own digits."""
    exact = recorded().replace(b'"amount": 1', b'"amount": 1234567890123.45')
    apply(
        [
            exact,
            event("transaction.recorded", AT, "k", GOOD | {"account_id": "k", "currency": "KWD", "amount": "1.234"}),
        ]
    )
    with session_factory() as session:
        rows = {row[0]: row[1] for row in Sql("SELECT account_id, worth_minor FROM accounts").rows(session, {})}
        assert rows == {"a": 123_456_789_012_345, "k": 1234}
