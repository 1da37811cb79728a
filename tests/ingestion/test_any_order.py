"""Facts decide, not their order: any permutation, duplication and split leaves what the definitions say."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.goals.goal import GoalType, Tracking
from core.services.funding import change_allocation, link_account, unlink_account
from core.services.goals import create_goal, get_goal, update_goal
from core.services.inputs import GoalChanges, GoalDraft, LinkDraft
from core.store.database import Sessions
from core.store.driver import Session, Sql
from core.store.tenants import Tenant
from tests.acts import event, money
from tests.budget import examples
from tests.conftest import Apply
from tests.dumping import rows_by_table
from tests.ingestion.oracle import OracleAccount, OracleLink, apply_fact, change_amount, cut_share, inflow_amount

DEFAULT = Tenant("default", "UTC")
START = datetime(2026, 3, 1, tzinfo=UTC)
LATEST = datetime(2026, 3, 12, tzinfo=UTC)
_names = itertools.count(1)

# Few distinct moments and ids, so that facts meet: late ones, repeated keys, equal times, reports at transactions.
moments = st.integers(0, 40).map(lambda step: START + timedelta(hours=6 * step))
times = st.integers(0, 6).map(lambda step: START + timedelta(days=step))
amounts = st.integers(-5_000_00, 5_000_00)
currencies = st.sampled_from(["USD"] * 3 + ["EUR"])
ids = st.sampled_from(["t1", "t2", "t3", "t4", "t5", "t6"])


@st.composite
def facts(draw: st.DrawFn) -> dict[str, Any]:
    """One event of account 0 or 1, in the oracle's shape."""
    kind = draw(st.sampled_from(["recorded"] * 6 + ["reported"] * 4 + ["removed", "kind", "currency"]))
    made: dict[str, Any] = {
        "kind": kind,
        "account": draw(st.integers(0, 1)),
        "time": draw(times),
        "source": "test",
        "id": f"e{next(_names)}",
    }
    if kind == "recorded":
        name = draw(ids)
        replaces = draw(st.one_of(st.none(), st.none(), ids))
        made |= {
            "key": name,
            "body": {
                "amount": draw(amounts),
                "at": draw(moments),
                "pending": draw(st.integers(0, 4)) == 0,
                "replaces": None if replaces == name else replaces,
                "currency": draw(currencies),
            },
        }
    elif kind == "removed":
        made |= {"key": draw(ids), "body": None}
    elif kind == "reported":
        made |= {"key": draw(moments), "body": {"current": draw(amounts), "currency": draw(currencies)}}
    elif kind == "currency":
        made |= {"key": None, "body": draw(st.one_of(st.none(), currencies))}
    else:
        made |= {"key": None, "body": draw(st.sampled_from(["asset", "liability"]))}
    return made


def as_event(made: dict[str, Any], accounts: list[str]) -> bytes:
    """The event that states an oracle's fact."""
    data: dict[str, Any] = {"account_id": accounts[made["account"]]}
    body = made["body"]
    if made["kind"] == "recorded":
        data |= {
            "transaction_id": made["key"],
            "amount": money(body["amount"]),
            "currency": body["currency"],
            "posted_at": body["at"].isoformat(),
            "pending": body["pending"],
            "replaces": body["replaces"],
        }
        return event("transaction.recorded", made["time"], made["id"], data)
    if made["kind"] == "removed":
        return event("transaction.removed", made["time"], made["id"], data | {"transaction_id": made["key"]})
    if made["kind"] == "reported":
        data |= {"current": money(body["current"]), "currency": body["currency"], "as_of": made["key"].isoformat()}
        return event("balance.reported", made["time"], made["id"], data)
    if made["kind"] == "currency":
        return event("account.changed", made["time"], made["id"], data | {"currency": body})
    return event("account.changed", made["time"], made["id"], data | {"kind": body})


def shuffled_and_split(events: list[bytes], seed: int) -> list[list[bytes]]:
    """The events in another order, some twice, in batches."""
    chance = random.Random(seed)
    left = events + [body for body in events if chance.random() < 0.3]
    chance.shuffle(left)
    batches: list[list[bytes]] = []
    while left:
        size = chance.randint(1, 8)
        batches.append(left[:size])
        left = left[size:]
    return batches


@settings(max_examples=examples(60))
@given(st.lists(facts(), min_size=1, max_size=24), st.integers(0, 2**32))
def test_worths_are_those_of_the_definition_at_every_moment(
    session_factory: Sessions, apply: Apply, made: list[dict[str, Any]], seed: int
) -> None:
    """Whatever the order, repetition and split, the worth of an account at the end of every day is the definition's."""
    accounts = [f"a{next(_names)}", f"a{next(_names)}"]
    oracles = [OracleAccount(), OracleAccount()]
    for fact in made:
        apply_fact(oracles[fact["account"]], fact)
    for batch in shuffled_and_split([as_event(fact, accounts) for fact in made], seed):
        apply(batch)
    with session_factory() as session:
        for name, oracle in zip(accounts, oracles, strict=True):
            row = Sql(
                "SELECT currency, opening_minor, worth_minor, inflow_minor FROM accounts WHERE account_id = :a"
            ).first(session, {"a": name})
            if row is None:
                assert not oracle.transactions
                assert not oracle.reports
                continue
            currency, opening, worth, inflow = row
            assert currency == oracle.currency()
            assert worth == oracle.worth(LATEST)
            assert inflow == oracle.inflow(LATEST)
            days = Sql(
                "SELECT day, moved_minor + residual_minor AS moved, inflow_minor AS inflow, "
                "moved_minor = 0 AND residual_minor = 0 AND inflow_minor = 0 AS is_empty "
                "FROM account_days WHERE account_id = :a"
            ).rows(session, {"a": name})
            assert not any(is_empty for *_, is_empty in days)
            for number in range(-1, 12):
                close = START + timedelta(days=number + 1) - timedelta(microseconds=1)
                upto = [(moved, came_in) for day, moved, came_in, _ in days if day <= close.date()]
                assert opening + sum(moved for moved, _ in upto) == oracle.worth(close)
                assert sum(came_in for _, came_in in upto) == oracle.inflow(close)


@settings(max_examples=examples(40))
@given(
    st.lists(facts(), min_size=1, max_size=20),
    st.integers(0, 2**32),
    st.permutations(["manual", "allocation", "unlinked"]),
)
def test_amounts_do_not_depend_on_when_facts_arrive_among_requests(
    session_factory: Sessions, apply: Apply, made: list[dict[str, Any]], seed: int, order: list[str]
) -> None:
    """Links, allocations and manual amounts count from their own moments, however early or late the facts arrive."""
    accounts = [f"a{next(_names)}", f"a{next(_names)}"]
    oracles = [OracleAccount(), OracleAccount()]
    for fact in made:
        apply_fact(oracles[fact["account"]], fact)
    created, dated_back = START + timedelta(hours=7), START - timedelta(days=1)
    acts_at = {name: START + timedelta(days=3 + 2 * n, hours=6) for n, name in enumerate(order)}
    with session_factory.begin() as session:
        goals = {
            tracking: create_goal(
                session,
                DEFAULT,
                GoalDraft("u", tracking, GoalType.SAVINGS, "10000", "250.01", tracking=tracking),
                START - timedelta(days=2),
            ).goal_id
            for tracking in (Tracking.CHANGE, Tracking.INFLOW, Tracking.BALANCE)
        }
        for goal_id in goals.values():
            link_account(session, DEFAULT, goal_id, LinkDraft(accounts[0], None, "33.3333", dated_back), created)
            link_account(session, DEFAULT, goal_id, LinkDraft(accounts[1], None, "50"), created + timedelta(minutes=1))
    change = goals[Tracking.CHANGE]
    batches = shuffled_and_split([as_event(fact, accounts) for fact in made], seed)
    chance = random.Random(seed)
    due = list(order)
    while batches or due:
        if due and (not batches or chance.random() < 0.3):
            _operation(session_factory, change, accounts, due.pop(0), acts_at)
        else:
            apply(batches.pop(0))
    first, second = oracles
    links = _links_of_change(first, second, created, dated_back, acts_at)
    expected = change_amount(700_00, acts_at["manual"], links, LATEST)
    plain = [OracleLink(first, 333_333, dated_back), OracleLink(second, 500_000, created + timedelta(minutes=1))]
    with session_factory() as session:
        assert get_goal(session, DEFAULT, change).amount_minor == expected
        inflow = get_goal(session, DEFAULT, goals[Tracking.INFLOW])
        assert inflow.amount_minor == inflow_amount(250_01, plain, LATEST)
        balance = get_goal(session, DEFAULT, goals[Tracking.BALANCE])
        following = [(oracle, ppm) for oracle, ppm in ((first, 333_333), (second, 500_000)) if oracle.fits()]
        shares = sum(cut_share(oracle.worth(LATEST), ppm) for oracle, ppm in following)
        has_report = any(oracle.reported() for oracle, _ in following)
        assert balance.amount_minor == (shares if has_report else 250_01)
        waiting = sorted(
            name for name, oracle in zip(accounts, oracles, strict=True) if oracle.fits() and not oracle.reported()
        )
        assert list(balance.waiting_for) == waiting
        _assert_ledgers_have_no_gap(session)


def _operation(
    session_factory: Sessions, goal_id: str, accounts: list[str], act: str, acts_at: dict[str, datetime]
) -> None:
    at = acts_at[act]
    with session_factory.begin() as session:
        # These operations come in any order here, so the row's last request must not move the moment on.
        Sql("UPDATE goals SET acted_at = created_at WHERE goal_id = :g").run(session, {"g": goal_id})
        if act == "manual":
            update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount=700), at)
        elif act == "allocation":
            change_allocation(session, DEFAULT, goal_id, accounts[0], "12.5", at)
        else:
            unlink_account(session, DEFAULT, goal_id, accounts[1], at)


def _links_of_change(
    first: OracleAccount, second: OracleAccount, created: datetime, dated_back: datetime, acts_at: dict[str, datetime]
) -> list[OracleLink]:
    return [
        OracleLink(first, 333_333, dated_back, acts_at["allocation"]),
        OracleLink(first, 125_000, acts_at["allocation"]),
        OracleLink(second, 500_000, created + timedelta(minutes=1), acts_at["unlinked"]),
    ]


def _assert_ledgers_have_no_gap(session: Session) -> None:
    rows = Sql(
        "SELECT g.amount_minor, g.entries, e.entry, e.before_minor, e.after_minor FROM goals g "
        "JOIN goal_entries e USING (tenant, goal_id) ORDER BY g.goal_id, e.entry"
    ).rows(session, {})
    previous = None
    for amount_minor, entries, entry, before_minor, after_minor in rows:
        if entry == 1:
            assert before_minor is None
        else:
            assert previous is not None
            assert (entry, before_minor) == (previous[0] + 1, previous[1])
        if entry == entries:
            assert after_minor == amount_minor
        previous = entry, after_minor


def test_applying_everything_again_changes_no_row(session_factory: Sessions, apply: Apply) -> None:
    """To apply the same events again leaves an ordered dump of the business tables as it was."""
    chance = random.Random(7)
    made = [_random_fact(chance, number) for number in range(300)]
    events = [as_event(fact, ["b0", "b1"]) for fact in made]
    apply(events)
    with session_factory() as session:
        before = rows_by_table(session)
    chance.shuffle(events)
    apply(events)
    with session_factory() as session:
        assert rows_by_table(session) == before


def _random_fact(chance: random.Random, number: int) -> dict[str, Any]:
    at = START + timedelta(minutes=chance.randrange(12_000))
    made = {"account": chance.randrange(2), "time": at, "source": "test", "id": f"n{number}"}
    if chance.random() < 0.3:
        return made | {"kind": "reported", "key": at, "body": {"current": chance.randrange(10**6), "currency": "USD"}}
    body = {
        "amount": chance.randrange(-(10**5), 10**5),
        "at": at,
        "pending": False,
        "replaces": None,
        "currency": "USD",
    }
    return made | {"kind": "recorded", "key": f"t{number}", "body": body}
