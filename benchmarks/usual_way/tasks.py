"""The application and its one task: an event is a message, a transaction and a commit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from celery import Celery
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, selectinload, sessionmaker

from benchmarks.usual_way.models import Account, Goal, History, Link, Message, Transaction

TASK = "usual_way.apply_transaction"
PROCESSES = 2


class Database:
    """A process's connection, made at its first use, and so after the worker has forked."""

    def __init__(self, url: str) -> None:
        self._url = url

    @cached_property
    def sessions(self) -> sessionmaker[Session]:
        """Sessions on one engine."""
        return sessionmaker(create_engine(self._url))


def make_app(database_url: str, redis_url: str) -> Celery:
    """The Celery application, for the sender and for the worker."""
    app = Celery("usual_way", broker=redis_url, set_as_current=False)
    app.conf.update(
        task_acks_late=True,
        task_ignore_result=True,
        broker_transport_options={"global_keyprefix": "usual-way:"},
        broker_connection_retry_on_startup=True,
        worker_redirect_stdouts=False,
    )
    database = Database(database_url)

    @app.task(name=TASK, shared=False)
    def apply_transaction(tenant: str, event: dict[str, Any]) -> None:
        with database.sessions.begin() as session:
            apply(session, tenant, event, datetime.now(UTC))

    return app


def apply(session: Session, tenant: str, event: Mapping[str, Any], now: datetime) -> None:
    """Add a transaction unless it is known, and change the account and its goals."""
    data = event["data"]
    account = session.get_one(Account, (tenant, data["account_id"]), with_for_update=True)
    if session.get(Transaction, (tenant, account.account_id, data["transaction_id"])) is not None:
        return
    transaction = _transaction(tenant, event)
    session.add(transaction)
    account.worth_minor += transaction.amount_minor
    account.inflow_minor += max(0, transaction.amount_minor)
    account.last_transaction_at = max(account.last_transaction_at or transaction.posted_at, transaction.posted_at)
    for goal in _goals_of(session, account):
        _move(session, goal, account, now)


def _transaction(tenant: str, event: Mapping[str, Any]) -> Transaction:
    data = event["data"]
    return Transaction(
        tenant=tenant,
        account_id=data["account_id"],
        transaction_id=data["transaction_id"],
        amount_minor=int(Decimal(str(data["amount"])).scaleb(2)),
        currency=data["currency"],
        posted_at=datetime.fromisoformat(data["posted_at"]),
        counts=not data["pending"],
        category=data["category"],
        description=data["description"],
        event_time=datetime.fromisoformat(event["time"]),
        source=event["source"],
        event_id=event["id"],
    )


def _goals_of(session: Session, account: Account) -> list[Goal]:
    linked = (
        select(Goal)
        .join(Link, (Link.tenant == Goal.tenant) & (Link.goal_id == Goal.goal_id))
        .where(Link.tenant == account.tenant, Link.account_id == account.account_id, Link.until_at.is_(None))
        .order_by(Goal.goal_id)
        .options(selectinload(Goal.links), selectinload(Goal.milestones))
        .with_for_update(of=Goal)
    )
    return list(session.scalars(linked))


def _move(session: Session, goal: Goal, account: Account, now: datetime) -> None:
    before, goal.amount_minor = goal.amount_minor, goal.amount_from(account)
    if goal.amount_minor == before:
        return
    goal.entries, goal.version, goal.updated_at = goal.entries + 1, goal.version + 1, now
    session.add(
        History(
            tenant=goal.tenant,
            goal_id=goal.goal_id,
            entry=goal.entries,
            recorded_at=now,
            before_minor=before,
            after_minor=goal.amount_minor,
            cause="events",
            account_ids=[account.account_id],
        )
    )
    _mark(session, goal, now)


def _mark(session: Session, goal: Goal, now: datetime) -> None:
    for milestone in goal.milestones:
        if milestone.reached_at is None and milestone.amount_minor <= goal.amount_minor:
            milestone.reached_at = milestone.marked_at = now
            session.add(
                Message(
                    tenant=goal.tenant,
                    message_id=f"milestone.reached:{goal.goal_id}:{milestone.amount_minor}",
                    type="milestone.reached",
                    goal_id=goal.goal_id,
                    payload=json.dumps({"goal_id": goal.goal_id, "milestone_minor": milestone.amount_minor}),
                    happened_at=now,
                    created_at=now,
                )
            )
    goal.next_milestone_minor = min((m.amount_minor for m in goal.milestones if m.reached_at is None), default=None)
