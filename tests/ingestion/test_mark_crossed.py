"""What a goal reaches when it is moved by a difference is marked as if it were recomputed."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.goals.goal import GoalType, Tracking
from core.messages.types import MessageType, body
from core.services.inputs import MilestoneDraft
from core.services.milestones import add_milestone
from core.store import outbox
from core.store.database import Sessions
from core.store.driver import Sql
from tests import acts
from tests.acts import DEFAULT, event
from tests.budget import examples
from tests.conftest import Apply

START = datetime(2026, 3, 1, tzinfo=UTC)
_names = itertools.count(1)
# By what may fund them: an asset, or a liability.
KINDS: dict[str, list[tuple[GoalType, dict[str, Any]]]] = {
    "asset": [
        (GoalType.SAVINGS, {"tracking": Tracking.CHANGE, "current_amount": "100"}),
        (GoalType.SAVINGS, {"tracking": Tracking.BALANCE}),
        (GoalType.INCOME, {"tracking": Tracking.INFLOW}),
    ],
    "liability": [
        (GoalType.DEBT, {"tracking": Tracking.CHANGE, "current_amount": "10000", "target_amount": "0"}),
        (GoalType.DEBT, {"tracking": Tracking.BALANCE, "current_amount": "10000", "target_amount": "0"}),
    ],
}
# Close to each other, so that most movements pass some.
MILESTONES = [str(amount) for amount in range(250, 10_000, 750)]

hours = st.integers(-100, 100).map(lambda hour: START + timedelta(hours=hour))
facts = st.tuples(st.sampled_from(["paid", "paid", "paid", "reported"]), st.integers(-4_000_00, 9_000_00), hours)
batches = st.lists(st.lists(facts, min_size=1, max_size=6), min_size=1, max_size=5)


def _stored(sessions: Sessions, goal_id: str) -> dict[str, Any]:
    """All rows of a goal that marking writes, without the goal's own id."""
    with sessions() as session:
        goal = Sql("SELECT amount_minor, next_milestone_minor, reached_at FROM goals WHERE goal_id = :g").one(
            session, {"g": goal_id}
        )
        milestones = Sql(
            "SELECT amount_minor, reached_at, marked_at FROM milestones WHERE goal_id = :g ORDER BY 1"
        ).rows(session, {"g": goal_id})
        sent = Sql(
            """SELECT type, payload, created_at FROM outbox
            WHERE goal_id = :g AND type LIKE '%.reached' ORDER BY message_id"""
        ).rows(session, {"g": goal_id})
    messages = [(type, json.loads(payload)["data"] | {"goal_id": None}, at) for type, payload, at in sent]
    return {"goal": tuple(goal), "milestones": milestones, "sent": messages}


@settings(max_examples=examples(15))
@given(st.sampled_from(sorted(KINDS)), st.sampled_from(["99", "60", "33.3333"]), st.sampled_from([1, 90]), batches)
def test_a_goal_of_one_link_is_marked_as_one_with_a_quiet_account_too(
    session_factory: Sessions, apply: Apply, kind: str, percent: str, since_hours: int, stated: list[list[Any]]
) -> None:
    """The second goal also has an account whose owner changes in each batch: it is recomputed, with equal marks."""
    account, quiet = f"a{next(_names)}", f"q{next(_names)}"
    first_at = START - timedelta(days=20)
    apply([acts.balance(0, first_at, quiet, kind=kind), acts.balance(100_00, first_at, account, kind=kind)], at=START)
    # Each request has a moment of its own, or those of the goal with one request more would come later.
    began = START - timedelta(hours=2)
    short, long = (
        [acts.goal(session_factory, began, type, currency="USD", **more) for type, more in KINDS[kind]]
        for _ in range(2)
    )
    goals = [*short, *long]
    from_ = START - timedelta(hours=since_hours)
    for goal_id in goals:
        acts.link(session_factory, START - timedelta(hours=1), goal_id, account, percent, from_)
    # From the same moment on: a goal that follows balances has no amount before all its links have begun.
    for goal_id in long:
        acts.link(session_factory, START, goal_id, quiet, "0.0001", from_)
    with session_factory.begin() as session:
        for goal_id, (minute, amount) in itertools.product(goals, enumerate(MILESTONES, 1)):
            add_milestone(session, DEFAULT, goal_id, MilestoneDraft(amount), START + timedelta(minutes=minute))
    now = START + timedelta(days=5)
    for batch in stated:
        now += timedelta(seconds=1)
        events = [
            acts.paid(f"t{next(_names)}", value, at, account)
            if what == "paid"
            else acts.balance(value, at, account, kind=kind)
            for what, value, at in batch
        ]
        owner = {"account_id": quiet, "user_id": f"u{next(_names)}"}
        apply([*events, event("account.changed", now, owner["user_id"], owner)], at=now)
        for one, other in zip(short, long, strict=True):
            assert _stored(session_factory, one) == _stored(session_factory, other)


def test_each_mark_of_one_batch_has_its_own_moment(
    session_factory: Sessions, apply: Apply, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A goal of one link that crosses two milestones and the target in one batch: each at its own moment, once."""
    monkeypatch.setattr(outbox, "_SENT_AT_ONCE", 2)
    goal_id = acts.goal(session_factory, now, currency="USD", target_amount="300")
    acts.link(session_factory, now, goal_id, "a", "50")
    with session_factory.begin() as session:
        for amount in ("100", "200"):
            add_milestone(session, DEFAULT, goal_id, MilestoneDraft(amount), now)
    at = [now + timedelta(hours=hour) for hour in range(1, 5)]
    later = now + timedelta(hours=6)
    applied = apply([acts.paid(f"p{n}", 200_00, at[n]) for n in (2, 0, 3, 1)], at=later)
    assert (applied.goals_moved, applied.milestones_reached) == (1, 2)
    stored = _stored(session_factory, goal_id)
    assert stored["goal"] == (400_00, None, at[2])
    assert stored["milestones"] == [(100_00, at[0], later), (200_00, at[1], later)]
    assert [(type, payload["reached_at"]) for type, payload, _ in stored["sent"]] == [
        ("goal.reached", f"{at[2]:%Y-%m-%dT%H:%M:%SZ}"),
        ("milestone.reached", f"{at[0]:%Y-%m-%dT%H:%M:%SZ}"),
        ("milestone.reached", f"{at[1]:%Y-%m-%dT%H:%M:%SZ}"),
    ]


@pytest.mark.parametrize(
    ("currency", "amount", "current"),
    [("JPY", "150", "200"), ("KWD", "150.125", "200.000"), ("USD", "150.10", "200.00")],
)
def test_a_message_is_json_with_exact_amounts(
    session_factory: Sessions, apply: Apply, now: datetime, currency: str, amount: str, current: str
) -> None:
    """Amounts have the currency's decimals, texts are as they were given, and nothing in the text splits parameters."""
    name, described = 'Größe "東京" \\ 🏠', "zwölf\u2028Monate"
    goal_id = acts.goal(session_factory, now, name=name, currency=currency, target_amount=amount)
    acts.link(session_factory, now, goal_id, "a", "100")
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft(amount, described), now)
    at = now + timedelta(hours=1)
    data = {"account_id": "a", "transaction_id": "p", "amount": Decimal(current), "currency": currency}
    apply([event("transaction.recorded", at, "p", data | {"posted_at": at.isoformat()})], at=at)
    with session_factory() as session:
        sent = {row[0]: row[1] for row in Sql("SELECT type, payload FROM outbox").rows(session, {})}
    of_goal = {
        "goal_id": goal_id,
        "user_id": "u",
        "name": name,
        "type": "savings",
        "current_amount": Decimal(current),
        "target_amount": Decimal(amount),
        "currency": currency,
    }
    moment = {"reached_at": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    of_milestone = {**of_goal, "milestone_amount": Decimal(amount), "description": described, **moment}
    for type, whole in (("goal.reached", of_goal | moment), ("milestone.reached", of_milestone)):
        found = json.loads(sent[type], parse_float=Decimal, parse_int=Decimal)["data"]
        # As text too: equal decimals may differ in their digits.
        assert (found, str(found)) == (whole, str(whole))


def test_the_encoder_of_messages_escapes_every_control_character() -> None:
    """One of them stands between the values of a parameter."""
    controls = "".join(map(chr, range(0x20)))
    encoded = body(MessageType.GOAL_CREATED, datetime.now(UTC), {"name": controls})
    assert json.loads(encoded)["data"] == {"name": controls}
    assert min(map(ord, encoded)) >= 0x20
