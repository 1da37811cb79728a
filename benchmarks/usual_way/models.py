"""The ORM's mapping: those columns of Milepost's tables that a task reads or writes."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import ARRAY, BigInteger, DateTime, ForeignKeyConstraint, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, relationship

PPM = 1_000_000


class Base(DeclarativeBase):
    """The types of the columns."""

    type_annotation_map: ClassVar = {
        str: Text,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        list[str]: ARRAY(Text),
    }


class Account(Base):
    """A bank account and what it is worth."""

    __tablename__ = "accounts"
    tenant: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(primary_key=True)
    currency: Mapped[str | None]
    worth_minor: Mapped[int]
    inflow_minor: Mapped[int]
    last_transaction_at: Mapped[datetime | None]


class Transaction(Base):
    """A transaction, known by its id."""

    __tablename__ = "transactions"
    tenant: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(primary_key=True)
    transaction_id: Mapped[str] = mapped_column(primary_key=True)
    amount_minor: Mapped[int]
    currency: Mapped[str]
    posted_at: Mapped[datetime]
    counts: Mapped[bool]
    category: Mapped[str | None]
    description: Mapped[str | None]
    event_time: Mapped[datetime]
    source: Mapped[str]
    event_id: Mapped[str]


class OfGoal(Base):
    """A row that belongs to a goal."""

    __abstract__ = True
    tenant: Mapped[str] = mapped_column(primary_key=True)
    goal_id: Mapped[str] = mapped_column(primary_key=True)

    @declared_attr.directive
    def __table_args__(cls) -> tuple[ForeignKeyConstraint, ...]:
        return (ForeignKeyConstraint(["tenant", "goal_id"], ["goals.tenant", "goals.goal_id"]),)


class Link(OfGoal):
    """The share of an account that counts for a goal."""

    __tablename__ = "links"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    linked_at: Mapped[datetime] = mapped_column(primary_key=True)
    until_at: Mapped[datetime | None]
    ppm: Mapped[int]
    base_minor: Mapped[int]


class Milestone(OfGoal):
    """An amount to reach before the target."""

    __tablename__ = "milestones"
    amount_minor: Mapped[int] = mapped_column(primary_key=True)
    reached_at: Mapped[datetime | None]
    marked_at: Mapped[datetime | None]


class Goal(Base):
    """A goal, with its links and milestones."""

    __tablename__ = "goals"
    tenant: Mapped[str] = mapped_column(primary_key=True)
    goal_id: Mapped[str] = mapped_column(primary_key=True)
    tracking: Mapped[str]
    manual_minor: Mapped[int]
    amount_minor: Mapped[int]
    next_milestone_minor: Mapped[int | None]
    entries: Mapped[int]
    version: Mapped[int]
    updated_at: Mapped[datetime]
    links: Mapped[list[Link]] = relationship(order_by=Link.linked_at)
    milestones: Mapped[list[Milestone]] = relationship(order_by=Milestone.amount_minor)

    def amount_from(self, account: Account) -> int:
        """The goal's amount by its one open link and the account's worth, in minor units, rounded towards zero."""
        (link,) = (link for link in self.links if link.until_at is None)
        moved = account.worth_minor - (link.base_minor if self.tracking == "change" else 0)
        share = abs(moved) * link.ppm // PPM * (1 if moved >= 0 else -1)
        return share + (self.manual_minor if self.tracking == "change" else 0)


class History(OfGoal):
    """One change of a goal's amount."""

    __tablename__ = "goal_entries"
    entry: Mapped[int] = mapped_column(primary_key=True)
    recorded_at: Mapped[datetime]
    before_minor: Mapped[int | None]
    after_minor: Mapped[int]
    cause: Mapped[str]
    account_ids: Mapped[list[str]]


class Message(Base):
    """A message for other systems."""

    __tablename__ = "outbox"
    tenant: Mapped[str] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    goal_id: Mapped[str]
    payload: Mapped[str]
    happened_at: Mapped[datetime]
    created_at: Mapped[datetime]
