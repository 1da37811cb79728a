"""The tables. The tenant is the first column of every primary key, and no statement joins across tenants."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

# Postgres updates a row in place only while its page has room; the busiest tables leave some.
ROOM_FOR_UPDATES = {"fillfactor": "80"}

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(referred_table_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)


def _tenant() -> Column[str]:
    return Column("tenant", Text, primary_key=True)


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _text(name: str, *, required: bool = False) -> Column[str]:
    return Column(name, Text, nullable=not required)


def _amount(name: str, *, required: bool = True) -> Column[int]:
    """Minor units of the row's currency."""
    zero = text("0") if required else None
    return Column(name, BigInteger, nullable=not required, server_default=zero)


def _moment(name: str, *, required: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=not required)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("false"))


def _of_goal() -> ForeignKeyConstraint:
    """Rows that a goal takes with it.

    The tables that a batch writes have no foreign keys: the locks it holds on accounts and goals prove what a check
    per row would only repeat.
    """
    return ForeignKeyConstraint(["tenant", "goal_id"], ["goals.tenant", "goals.goal_id"], ondelete="CASCADE")


tenants = Table(
    "tenants",
    metadata,
    _tenant(),
    _text("time_zone", required=True),
    _moment("created_at", required=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    _tenant(),
    _key("key_id"),
    Column("key_hash", LargeBinary, nullable=False),
    _text("label", required=True),
    Column("scopes", ARRAY(Text), nullable=False),
    _moment("created_at", required=True),
    _moment("revoked_at"),
    ForeignKeyConstraint(["tenant"], ["tenants.tenant"]),
    # Reader: authenticate, which does not know the tenant before it knows the key.
    Index("api_keys_key_hash_idx", "key_hash", unique=True),
)

ATTRIBUTES = ("user_id", "kind", "name", "closed", "replaced_by", "connection", "connection_reason")

accounts = Table(
    "accounts",
    metadata,
    _tenant(),
    _key("account_id"),
    _text("currency"),
    _text("user_id"),
    _text("user_id_rank"),
    Column("kind", Text, nullable=False, server_default=text("'asset'")),
    _text("kind_rank"),
    _text("name"),
    _text("name_rank"),
    _flag("closed"),
    _text("closed_rank"),
    _text("replaced_by"),
    _text("replaced_by_rank"),
    _text("connection"),
    _text("connection_rank"),
    _text("connection_reason"),
    _text("connection_reason_rank"),
    _amount("opening_minor"),
    _amount("worth_minor"),
    _amount("inflow_minor"),
    _moment("first_report_at"),
    _moment("last_report_at"),
    _moment("last_transaction_at"),
    Column("dirty_from", Date),
    Column("link_version", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("kind in ('asset', 'liability')", name="kind"),
    # Reader: net worth of a user, and the accounts of a user over REST.
    Index("accounts_user_idx", "tenant", "user_id"),
    # Reader: the snapshot stage, which rewrites the closes of these accounts' goals.
    Index("accounts_dirty_idx", "tenant", "dirty_from", postgresql_where=text("dirty_from IS NOT NULL")),
    postgresql_with=ROOM_FOR_UPDATES,
)

transactions = Table(
    "transactions",
    metadata,
    _tenant(),
    _key("account_id"),
    _key("transaction_id"),
    _amount("amount_minor"),
    _text("currency", required=True),
    _moment("posted_at"),
    _flag("pending"),
    _flag("removed"),
    _flag("counts"),
    _text("replaces"),
    _text("category"),
    _text("description"),
    _moment("event_time", required=True),
    _text("source", required=True),
    _text("event_id", required=True),
    # Readers: a report that comes behind later transactions, a link dated back, an amount typed.
    Index(
        "transactions_counted_idx",
        "tenant",
        "account_id",
        "posted_at",
        postgresql_include=["amount_minor"],
        postgresql_where=text("counts"),
    ),
    # Reader: the fold, which asks who replaces a transaction.
    Index(
        "transactions_replaces_idx",
        "tenant",
        "account_id",
        "replaces",
        postgresql_where=text("replaces IS NOT NULL"),
    ),
)

reports = Table(
    "reports",
    metadata,
    _tenant(),
    _key("account_id"),
    Column("as_of", DateTime(timezone=True), primary_key=True),
    _amount("current_minor"),
    _amount("available_minor", required=False),
    _text("currency", required=True),
    _amount("residual_minor"),
    _moment("event_time", required=True),
    _text("source", required=True),
    _text("event_id", required=True),
)

account_days = Table(
    "account_days",
    metadata,
    _tenant(),
    _key("account_id"),
    Column("day", Date, primary_key=True),
    _amount("moved_minor"),
    _amount("residual_minor"),
    _amount("inflow_minor"),
)

goals = Table(
    "goals",
    metadata,
    _tenant(),
    _key("goal_id"),
    _text("user_id", required=True),
    _text("name", required=True),
    _text("description"),
    _text("type", required=True),
    _text("tracking", required=True),
    _text("currency", required=True),
    _text("debt_form"),
    _amount("target_minor"),
    _amount("start_minor"),
    _amount("finish_minor"),
    _amount("typed_minor"),
    _moment("typed_at"),
    _amount("amount_minor"),
    Column("waiting_for", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    _amount("next_milestone_minor", required=False),
    _moment("reached_at"),
    _moment("deadline"),
    Column("start_date", Date, nullable=False),
    Column("closed_through", Date),
    _flag("auto_complete"),
    _text("status", required=True),
    _moment("final_at"),
    # The moment of the last request: requests of one goal have moments of their own, in order.
    _moment("acted_at", required=True),
    Column("entries", BigInteger, nullable=False, server_default=text("0")),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
    _moment("created_at", required=True),
    _moment("updated_at", required=True),
    CheckConstraint("type in ('savings','debt','investment','net_worth','income','custom')", name="type"),
    CheckConstraint("tracking in ('change','inflow','balance','net_worth')", name="tracking"),
    CheckConstraint("status in ('active','paused','completed','abandoned')", name="status"),
    CheckConstraint("debt_form in ('to_target','total')", name="debt_form"),
    CheckConstraint("(final_at IS NULL) = (status in ('active','paused'))", name="final"),
    # Readers: GET /goals of one user, and of all (by the primary key).
    Index("goals_user_idx", "tenant", "user_id", "goal_id"),
    postgresql_with=ROOM_FOR_UPDATES,
)

milestones = Table(
    "milestones",
    metadata,
    _tenant(),
    _key("goal_id"),
    Column("amount_minor", BigInteger, primary_key=True),
    _text("description"),
    _moment("target_date"),
    _moment("reached_at"),
    _moment("marked_at"),
    _moment("created_at", required=True),
    _of_goal(),
)

links = Table(
    "links",
    metadata,
    _tenant(),
    _key("goal_id"),
    _key("account_id"),
    Column("linked_at", DateTime(timezone=True), primary_key=True),
    _moment("from_at", required=True),
    _moment("until_at"),
    Column("ppm", Integer, nullable=False),
    _flag("whole"),
    _text("account_name"),
    # What the link measures: the account's worth or the money that came in.
    _text("measure", required=True),
    _moment("begin_at"),
    _amount("base_minor"),
    _amount("end_minor", required=False),
    _of_goal(),
    CheckConstraint("ppm between 1 and 1000000", name="ppm"),
    CheckConstraint("measure in ('worth','inflow')", name="measure"),
    CheckConstraint("until_at >= from_at", name="period"),
    CheckConstraint("(until_at IS NULL) = (end_minor IS NULL)", name="end"),
    # Reader: the fold, which asks for the links of the accounts that moved.
    Index("links_account_idx", "tenant", "account_id"),
    # At most one open link of an account to a goal.
    Index(
        "links_open_idx",
        "tenant",
        "goal_id",
        "account_id",
        unique=True,
        postgresql_where=text("until_at IS NULL"),
    ),
)

typed_amounts = Table(
    "typed_amounts",
    metadata,
    _tenant(),
    _key("goal_id"),
    Column("typed_at", DateTime(timezone=True), primary_key=True),
    _amount("amount_minor"),
    _of_goal(),
)

goal_entries = Table(
    "goal_entries",
    metadata,
    _tenant(),
    _key("goal_id"),
    Column("entry", BigInteger, primary_key=True),
    _moment("recorded_at", required=True),
    _amount("before_minor", required=False),
    _amount("after_minor"),
    _text("cause", required=True),
    Column("account_ids", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    CheckConstraint("cause in ('created','events','typed','linked','allocation','unlinked','status')", name="cause"),
)

goal_snapshots = Table(
    "goal_snapshots",
    metadata,
    _tenant(),
    _key("goal_id"),
    Column("day", Date, primary_key=True),
    _amount("amount_minor"),
)

forecasts = Table(
    "forecasts",
    metadata,
    _tenant(),
    _key("goal_id"),
    _moment("computed_at", required=True),
    _amount("amount_minor"),
    _moment("projected_completion_at"),
    _text("projection_note"),
    Column("p10_day", Date),
    Column("p50_day", Date),
    Column("p90_day", Date),
    Column("deadline_chance_ppm", Integer),
    _text("forecast_note"),
)

outbox = Table(
    "outbox",
    metadata,
    _tenant(),
    # A name made from what happened (goal and milestone), so that one happening can have one row only.
    _key("message_id"),
    _text("type", required=True),
    _text("goal_id", required=True),
    _text("payload", required=True),
    _moment("created_at", required=True),
    _moment("delivered_at"),
    # Reader: the deliver stage.
    Index("outbox_due_idx", "tenant", "created_at", postgresql_where=text("delivered_at IS NULL")),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    _tenant(),
    Column("shard", Integer, primary_key=True),
    _key("entry_id"),
    _text("code", required=True),
    _text("reason", required=True),
    Column("event", LargeBinary, nullable=False),
    _moment("arrived_at", required=True),
    _moment("recorded_at", required=True),
    _moment("replayed_at"),
    _moment("discarded_at"),
)

job_runs = Table(
    "job_runs",
    metadata,
    _tenant(),
    _key("job"),
    _key("period"),
    Column("chunk", Integer, primary_key=True),
    _moment("started_at", required=True),
    _moment("finished_at"),
    _text("result"),
)

audit = Table(
    "audit",
    metadata,
    _tenant(),
    _key("audit_id"),
    _moment("at", required=True),
    _text("actor", required=True),
    _text("action", required=True),
    _text("subject", required=True),
    _text("detail"),
)

BUSINESS_TABLES = (
    tenants,
    accounts,
    transactions,
    reports,
    account_days,
    goals,
    milestones,
    links,
    typed_amounts,
    goal_entries,
    goal_snapshots,
    forecasts,
    outbox,
)
