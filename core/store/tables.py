"""The tables of Milepost: their columns, keys, checks and indexes, and functions that make the usual columns."""

from enum import StrEnum

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

from core.events.currency import SaidBy
from core.goals.goal import DebtForm, GoalStatus, GoalType, Tracking
from core.providers.contracts import Sign
from core.store.deliveries import DeliveryStatus
from core.store.due import IS_REPORT_AWAITED
from core.store.endpoints import DisabledReason


def tenant_column() -> Column[str]:
    """The first column of every primary key."""
    return Column("tenant", Text, primary_key=True)


def key_column(name: str) -> Column[str]:
    """Text that is part of the primary key."""
    return Column(name, Text, primary_key=True)


def text_column(name: str, *, required: bool = False) -> Column[str]:
    """Text; a required one has no default."""
    return Column(name, Text, nullable=not required)


def amount_column(name: str, *, required: bool = True) -> Column[int]:
    """Minor units of the row's currency."""
    zero = text("0") if required else None
    return Column(name, BigInteger, nullable=not required, server_default=zero)


def moment_column(name: str, *, required: bool = False) -> Column[object]:
    """An instant, stored as UTC."""
    return Column(name, DateTime(timezone=True), nullable=not required)


def flag_column(name: str) -> Column[bool]:
    """A boolean, false by default."""
    return Column(name, Boolean, nullable=False, server_default=text("false"))


def is_one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """The check that a column, which it is called after, has a member of an enumeration."""
    listed = ",".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} in ({listed})", name=column)


# Postgres updates a row in place only while its page has room, so these tables leave some. The migrations set this in
# SQL: as an option of Table it needs SQLAlchemy 2.1, and an application that installs Milepost may be pinned to 2.0.
ROOM_FOR_UPDATES = {"storage": ("fillfactor=80",)}

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(referred_table_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)


def _of_goal() -> ForeignKeyConstraint:
    """A foreign key by which a row is deleted together with its goal.

    The tables that a batch writes have no foreign keys: a batch has locked the accounts and goals of its rows, so a
    check for each row would prove nothing new.
    """
    return ForeignKeyConstraint(["tenant", "goal_id"], ["goals.tenant", "goals.goal_id"], ondelete="CASCADE")


tenants = Table(
    "tenants",
    metadata,
    tenant_column(),
    text_column("time_zone", required=True),
    moment_column("created_at", required=True),
    # The last local day that is closed for all of the tenant's goals, except those that are dirty.
    Column("closed_through", Date),
    # Messages about what happened longer ago are historical; what was reached is announced after a wait, or at a close.
    Column("announce_within_s", Integer, nullable=False, server_default=text("604800")),
    Column("announce_after_s", Integer, nullable=False, server_default=text("0")),
    flag_column("announce_at_close"),
    # All messages after this position of the feed are still there.
    Column("messages_from", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("announce_within_s >= 0 AND announce_after_s >= 0", name="announce"),
)

api_keys = Table(
    "api_keys",
    metadata,
    tenant_column(),
    key_column("key_id"),
    Column("key_hash", LargeBinary, nullable=False),
    text_column("label", required=True),
    Column("scopes", ARRAY(Text), nullable=False),
    moment_column("created_at", required=True),
    moment_column("revoked_at"),
    ForeignKeyConstraint(["tenant"], ["tenants.tenant"]),
    # Reader: authenticate, which learns the tenant from the key.
    Index("api_keys_key_hash_idx", "key_hash", unique=True),
)

accounts = Table(
    "accounts",
    metadata,
    tenant_column(),
    key_column("account_id"),
    # The currency, and the fact that decides it: `stated_currency` if there is one, else the event of the first report
    # or row.
    text_column("currency"),
    text_column("currency_from"),
    moment_column("currency_time"),
    text_column("currency_source"),
    text_column("currency_event_id"),
    text_column("stated_currency"),
    text_column("stated_currency_rank"),
    text_column("user_id"),
    text_column("user_id_rank"),
    Column("kind", Text, nullable=False, server_default=text("'asset'")),
    text_column("kind_rank"),
    text_column("name"),
    text_column("name_rank"),
    flag_column("closed"),
    text_column("closed_rank"),
    text_column("replaced_by"),
    text_column("replaced_by_rank"),
    Column("replaced_from", Date),
    text_column("replaced_from_rank"),
    Column("opened", Date),
    text_column("opened_rank"),
    text_column("connection"),
    text_column("connection_rank"),
    text_column("connection_reason"),
    text_column("connection_reason_rank"),
    amount_column("opening_minor"),
    amount_column("worth_minor"),
    amount_column("inflow_minor"),
    moment_column("first_report_at"),
    moment_column("last_report_at"),
    moment_column("last_transaction_at"),
    # When the first of its rows was first reported; none was after `last_recorded_at`.
    moment_column("first_recorded_at"),
    moment_column("last_recorded_at"),
    # From when on its rows alone say what it is worth, if no report came before. The job due sets it at that time, and
    # a batch that has a later report or an earlier row.
    moment_column("known_by_rows_at"),
    # Whether any of its rows was removed that was booked with a date only.
    flag_column("lends"),
    # Whether anything was ever stated of a row that has only a date. Until then no row of the account has to be placed,
    # and nothing is kept for that: the gaps of its reports are 0.
    flag_column("has_dates"),
    # The time of its last window. Batches look for windows only after rows that were reported before it.
    moment_column("last_window_at"),
    # Whether any transaction of the account replaces another one. Batches look for these only where it is true.
    flag_column("replaces"),
    # When it counts, and with which accounts it is joined, see core.events.spans.
    text_column("chain_id"),
    text_column("joined_as"),
    moment_column("counts_from"),
    moment_column("counts_until"),
    # The dirty range: the snapshots of the goals of this account have to be written, or written again, from
    # `dirty_from` on, and for the days from `late_from` to `late_through`, both included.
    Column("dirty_from", Date),
    Column("late_from", Date),
    Column("late_through", Date),
    CheckConstraint("kind in ('asset', 'liability')", name="kind"),
    # Reader: net worth of a user, and the accounts of a user over REST.
    Index("accounts_user_idx", "tenant", "user_id"),
    # Reader: the snapshot job, which writes the snapshots of these accounts' goals again.
    Index("accounts_dirty_idx", "tenant", "dirty_from", postgresql_where=text("dirty_from IS NOT NULL")),
    Index("accounts_late_idx", "tenant", "late_from", postgresql_where=text("late_from IS NOT NULL")),
    CheckConstraint("(late_from IS NULL) = (late_through IS NULL)", name="late"),
    is_one_of("currency_from", SaidBy),
    # Readers: whoever locks one account of a chain, and so all of them, and whoever reads what joined accounts measure.
    Index("accounts_chain_idx", "tenant", "chain_id", postgresql_where=text("chain_id IS NOT NULL")),
    # Reader: the job due, which looks for accounts whose first report is overdue. It has no column that a first row
    # writes: the write of an account's first row would then cost an entry in each index.
    Index("accounts_awaited_idx", "tenant", "account_id", postgresql_where=text(IS_REPORT_AWAITED)),
    info=ROOM_FOR_UPDATES,
)

transactions = Table(
    "transactions",
    metadata,
    tenant_column(),
    key_column("account_id"),
    key_column("transaction_id"),
    amount_column("amount_minor"),
    text_column("currency", required=True),
    # Where it is placed: its instant, or for one that has only a date see core.events.placement.
    moment_column("posted_at"),
    Column("dated", Date),
    flag_column("pending"),
    flag_column("removed"),
    flag_column("counts"),
    text_column("replaces"),
    text_column("category"),
    text_column("description"),
    moment_column("event_time", required=True),
    text_column("source", required=True),
    text_column("event_id", required=True),
    # From when on it counts, while it is dated too far ahead to count; null for all others.
    moment_column("due_at"),
    # The least time of its statements that say it is booked, if that is not `event_time`; and the latest of these, if
    # another statement won.
    moment_column("first_reported"),
    text_column("booked_rank"),
    amount_column("booked_minor", required=False),
    Column("booked_on", Date),
    # The first report of the removed row of which this one is the new id.
    moment_column("lent_at"),
    # True: it is booked, but a later window of its source does not have it, so it counts as removed. Null for all
    # others, since a null takes no room.
    Column("missing", Boolean),
    # Reader: the fold, which looks up the removed rows that have the date of a new one.
    Index(
        "transactions_removed_idx",
        "tenant",
        "account_id",
        "booked_on",
        postgresql_where=text("removed AND booked_on IS NOT NULL"),
    ),
    # Readers: a report that is dated before stored transactions, a link that is dated back, a manual amount.
    Index(
        "transactions_counted_idx",
        "tenant",
        "account_id",
        "posted_at",
        postgresql_include=["amount_minor"],
        postgresql_where=text("counts"),
    ),
    # Reader: the fold, which looks up the rows that a window does not have: these, and those that count.
    Index(
        "transactions_uncounted_idx",
        "tenant",
        "account_id",
        "posted_at",
        postgresql_where=text("NOT counts AND NOT pending AND NOT removed"),
    ),
    # Reader: the fold, which looks up the transactions that replace a transaction.
    Index(
        "transactions_replaces_idx", "tenant", "account_id", "replaces", postgresql_where=text("replaces IS NOT NULL")
    ),
    # Reader: the job due, which looks for the rows of all tenants whose time has come.
    Index("transactions_due_idx", "due_at", postgresql_where=text("due_at IS NOT NULL")),
)

# The view account_days is made of transactions and of the residuals of reports: how far an account's worth moved on
# each local day. Its SQL is in migrations/versions/0001_baseline.py alone.

reports = Table(
    "reports",
    metadata,
    tenant_column(),
    key_column("account_id"),
    Column("as_of", DateTime(timezone=True), primary_key=True),
    amount_column("current_minor"),
    amount_column("available_minor", required=False),
    text_column("currency", required=True),
    amount_column("residual_minor"),
    amount_column("gap_minor"),
    flag_column("has_moved"),
    moment_column("event_time", required=True),
    text_column("source", required=True),
    text_column("event_id", required=True),
)

# Days of which a pull had all booked rows of an account, see core.events.facts.Window. The time comes before the days
# in the key, since the fold looks for the latest window over a day that is later than a row.
windows = Table(
    "windows",
    metadata,
    tenant_column(),
    key_column("account_id"),
    key_column("source"),
    Column("event_time", DateTime(timezone=True), primary_key=True),
    Column("from_day", Date, primary_key=True),
    Column("through_day", Date, primary_key=True),
    CheckConstraint("from_day <= through_day", name="days"),
)

# Reports that do not count: those that are dated too far ahead, until they are due, and those in another currency than
# the account's, until it is in theirs. Then they are moved to `reports`: all who read that table take its rows as
# reports that count.
waiting_reports = Table(
    "waiting_reports",
    metadata,
    tenant_column(),
    key_column("account_id"),
    Column("as_of", DateTime(timezone=True), primary_key=True),
    amount_column("current_minor"),
    amount_column("available_minor", required=False),
    key_column("currency"),
    moment_column("event_time", required=True),
    text_column("source", required=True),
    text_column("event_id", required=True),
    # Null for one that is due, and waits for its currency alone.
    moment_column("due_at"),
    # Reader: the job due.
    Index("waiting_reports_due_idx", "due_at", postgresql_where=text("due_at IS NOT NULL")),
)

goals = Table(
    "goals",
    metadata,
    tenant_column(),
    key_column("goal_id"),
    text_column("user_id", required=True),
    text_column("name", required=True),
    text_column("description"),
    text_column("type", required=True),
    text_column("tracking", required=True),
    # Nobody asked for the tracking: it is the one that goals of the type have by default.
    flag_column("tracking_by_default"),
    text_column("currency", required=True),
    text_column("debt_form"),
    amount_column("target_minor"),
    # Null while a debt that starts at its first balance has none. Until it was set by hand, `manual_minor` is the same.
    amount_column("start_minor", required=False),
    flag_column("starts_at_balance"),
    amount_column("finish_minor"),
    amount_column("manual_minor"),
    moment_column("manual_at"),
    amount_column("amount_minor"),
    Column("waiting_for", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    amount_column("next_milestone_minor", required=False),
    moment_column("reached_at"),
    # A deadline is a moment, or the whole of a local day.
    moment_column("deadline_at"),
    Column("deadline_day", Date),
    Column("start_date", Date, nullable=False),
    # The snapshots from this day on have to be written, or written again, because of a request.
    Column("dirty_from", Date),
    # Snapshots of days before this moment are not compared with the target: at this moment the target was changed, a
    # manual amount was set, or a pause ended.
    moment_column("evaluated_from"),
    flag_column("auto_complete"),
    flag_column("auto_completed"),
    text_column("status", required=True),
    moment_column("final_at"),
    # The moment of the last request: each request that changes a goal has a later moment than the one before.
    moment_column("acted_at", required=True),
    Column("entries", BigInteger, nullable=False, server_default=text("0")),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
    moment_column("created_at", required=True),
    moment_column("updated_at", required=True),
    # What an application keeps with a goal for itself; `metadata` is the text of a JSON object.
    text_column("external_id"),
    text_column("metadata"),
    Column("position", BigInteger),
    text_column("image_url"),
    is_one_of("type", GoalType),
    is_one_of("tracking", Tracking),
    is_one_of("status", GoalStatus),
    is_one_of("debt_form", DebtForm),
    CheckConstraint("(final_at IS NULL) = (status in ('active','paused'))", name="final"),
    CheckConstraint("deadline_at IS NULL OR deadline_day IS NULL", name="deadline"),
    CheckConstraint("start_minor IS NOT NULL OR starts_at_balance", name="start"),
    # Readers: GET /goals of one user, and of all (by the primary key).
    Index("goals_user_idx", "tenant", "user_id", "goal_id"),
    Index(
        "goals_external_id_idx",
        "tenant",
        "user_id",
        "external_id",
        unique=True,
        postgresql_where=text("external_id IS NOT NULL"),
    ),
    # Reader: the snapshot job.
    Index("goals_dirty_idx", "tenant", "dirty_from", postgresql_where=text("dirty_from IS NOT NULL")),
    # Reader: the fold, when an account joins or leaves a user.
    Index("goals_net_worth_idx", "tenant", "user_id", postgresql_where=text("tracking = 'net_worth'")),
    info=ROOM_FOR_UPDATES,
)

milestones = Table(
    "milestones",
    metadata,
    tenant_column(),
    key_column("goal_id"),
    Column("amount_minor", BigInteger, primary_key=True),
    text_column("milestone_id", required=True),
    text_column("description"),
    moment_column("target_at"),
    Column("target_day", Date),
    moment_column("reached_at"),
    moment_column("marked_at"),
    # When a check for new milestones returned it.
    moment_column("checked_at"),
    moment_column("created_at", required=True),
    _of_goal(),
    CheckConstraint("target_at IS NULL OR target_day IS NULL", name="target"),
    info=ROOM_FOR_UPDATES,
)

links = Table(
    "links",
    metadata,
    tenant_column(),
    key_column("goal_id"),
    key_column("account_id"),
    Column("linked_at", DateTime(timezone=True), primary_key=True),
    moment_column("from_at", required=True),
    moment_column("until_at"),
    # When a request ended the link. A completed or abandoned goal may end it earlier, for as long as it is final.
    moment_column("unlinked_at"),
    Column("ppm", Integer, nullable=False),
    flag_column("whole"),
    text_column("account_name"),
    # What the link measures: the account's worth or the money that came in.
    text_column("measure", required=True),
    moment_column("begin_at"),
    amount_column("base_minor"),
    amount_column("end_minor", required=False),
    _of_goal(),
    CheckConstraint("ppm between 1 and 1000000", name="ppm"),
    CheckConstraint("measure in ('worth','inflow')", name="measure"),
    CheckConstraint("until_at >= from_at", name="period"),
    CheckConstraint("(until_at IS NULL) = (end_minor IS NULL)", name="end"),
    # Readers: the fold, which reads the links of the accounts that moved, and GET /accounts/{id}/allocations.
    Index("links_account_idx", "tenant", "account_id"),
    # At most one open link of an account to a goal.
    Index("links_open_idx", "tenant", "goal_id", "account_id", unique=True, postgresql_where=text("until_at IS NULL")),
)

manual_amounts = Table(
    "manual_amounts",
    metadata,
    tenant_column(),
    key_column("goal_id"),
    Column("manual_at", DateTime(timezone=True), primary_key=True),
    amount_column("amount_minor"),
    _of_goal(),
)

goal_entries = Table(
    "goal_entries",
    metadata,
    tenant_column(),
    key_column("goal_id"),
    Column("entry", BigInteger, primary_key=True),
    moment_column("recorded_at", required=True),
    amount_column("before_minor", required=False),
    amount_column("after_minor"),
    text_column("cause", required=True),
    Column("account_ids", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    CheckConstraint("cause in ('created','events','typed','linked','allocation','unlinked','status')", name="cause"),
)

goal_snapshots = Table(
    "goal_snapshots",
    metadata,
    tenant_column(),
    key_column("goal_id"),
    Column("day", Date, primary_key=True),
    amount_column("amount_minor"),
)

closed_days = Table(
    "closed_days",
    metadata,
    tenant_column(),
    # The day through which all of the tenant's goals were closed at `closed_at`. Days closed together have one row.
    Column("day", Date, primary_key=True),
    moment_column("closed_at", required=True),
)

close_rewrites = Table(
    "close_rewrites",
    metadata,
    tenant_column(),
    key_column("goal_id"),
    # Before the day in the key, since readers want all days of a goal since a moment, and its last rewrite.
    Column("rewritten_at", DateTime(timezone=True), primary_key=True),
    Column("day", Date, primary_key=True),
    # The goal's snapshot of that day before the rewrite; null if it had no row because it equalled the day before.
    amount_column("before_minor", required=False),
)

forecasts = Table(
    "forecasts",
    metadata,
    tenant_column(),
    key_column("goal_id"),
    # What the closes up to this day say: by how much the amount moved towards the finish in the last whole month, how
    # many days that had, and what was contributed in up to three months.
    Column("through_day", Date, nullable=False),
    amount_column("trend_minor", required=False),
    Column("trend_days", Integer),
    amount_column("contributed_minor"),
    Column("contribution_months", Integer, nullable=False),
    moment_column("projected_at", required=True),
    CheckConstraint("(trend_minor IS NULL) = (trend_days IS NULL)", name="trend"),
    CheckConstraint("contribution_months between 0 and 3", name="months"),
)

outbox = Table(
    "outbox",
    metadata,
    tenant_column(),
    # What happened, to what, and the how manieth time: so that one happening has only one row.
    key_column("message_id"),
    text_column("type", required=True),
    text_column("goal_id"),
    text_column("user_id"),
    # The body as receivers get it, a JSON object, which never changes.
    text_column("payload", required=True),
    moment_column("happened_at", required=True),
    moment_column("created_at", required=True),
    # It is listed, and nobody is notified.
    flag_column("historical"),
    # The amount that a goal has to be at or beyond for the message to be true; null where it says no such thing.
    amount_column("threshold_minor", required=False),
    # Its place in the feed. Null until it is announced.
    Column("position", BigInteger),
    # Reader: the feed.
    Index("outbox_position_idx", "tenant", "position", unique=True, postgresql_where=text("position IS NOT NULL")),
    # Reader: the relay, which gives positions.
    Index("outbox_waiting_idx", "tenant", "created_at", postgresql_where=text("position IS NULL")),
)

message_counts = Table(
    "message_counts",
    metadata,
    tenant_column(),
    # '' for messages that are about no goal.
    key_column("goal_id"),
    # What happens, and to what; how often it has, and whether the last time was not withdrawn.
    key_column("subject"),
    Column("times", BigInteger, nullable=False),
    Column("holds", Boolean, nullable=False),
)

endpoints = Table(
    "endpoints",
    metadata,
    tenant_column(),
    key_column("endpoint_id"),
    text_column("url", required=True),
    text_column("description"),
    # Which types of messages it takes; null: all.
    Column("types", ARRAY(Text)),
    # At most so many attempts a second; null: any number.
    Column("rate", Integer),
    Column("enabled", Boolean, nullable=False),
    # Why and when it was disabled, if it is.
    text_column("disabled_reason"),
    moment_column("disabled_at"),
    # The first attempt since the last one that succeeded; null if the last one did.
    moment_column("failing_since"),
    # Until when nothing is sent to it: its rate, or it asked for a pause.
    moment_column("held_until"),
    # All secrets of the endpoint in one sealed text, and how many they are.
    Column("sealed_secrets", LargeBinary, nullable=False),
    Column("secrets", Integer, nullable=False),
    moment_column("created_at", required=True),
    moment_column("changed_at", required=True),
    ForeignKeyConstraint(["tenant"], ["tenants.tenant"]),
    is_one_of("disabled_reason", DisabledReason),
    CheckConstraint("enabled = (disabled_reason IS NULL) and enabled = (disabled_at IS NULL)", name="disabled"),
    CheckConstraint("rate > 0", name="rate"),
)

deliveries = Table(
    "deliveries",
    metadata,
    tenant_column(),
    key_column("endpoint_id"),
    key_column("message_id"),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    # When the next attempt is due; while one is in progress, when it counts as lost. Null unless it is pending.
    moment_column("due_at"),
    # Until when the attempt in progress has its answer, or another may begin.
    moment_column("leased_until"),
    # How many attempts were begun, and how many have failed since it was last due anew.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    ForeignKeyConstraint(["tenant", "endpoint_id"], ["endpoints.tenant", "endpoints.endpoint_id"], ondelete="CASCADE"),
    is_one_of("status", DeliveryStatus),
    CheckConstraint("(status = 'pending') = (due_at IS NOT NULL)", name="due"),
    # Reader: the job deliver, which goes from one endpoint with pending rows to the next.
    Index("deliveries_due_idx", "tenant", "endpoint_id", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    # Reader: the same, which counts what is in progress.
    Index("deliveries_leased_idx", "tenant", "endpoint_id", postgresql_where=text("leased_until IS NOT NULL")),
    info=ROOM_FOR_UPDATES,
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    tenant_column(),
    key_column("endpoint_id"),
    key_column("message_id"),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    moment_column("at", required=True),
    # The status of the answer, or why there is none.
    Column("status", Integer),
    text_column("error"),
    Column("latency_ms", Integer, nullable=False),
    # The first bytes of the answer, as text.
    text_column("answer", required=True),
    ForeignKeyConstraint(
        ["tenant", "endpoint_id", "message_id"],
        ["deliveries.tenant", "deliveries.endpoint_id", "deliveries.message_id"],
        ondelete="CASCADE",
    ),
    # Reader: the list of an endpoint's attempts, newest first.
    Index("delivery_attempts_at_idx", "tenant", "endpoint_id", "at", "message_id", "attempt"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    tenant_column(),
    Column("shard", Integer, primary_key=True),
    key_column("entry_id"),
    text_column("code", required=True),
    text_column("reason", required=True),
    Column("event", LargeBinary, nullable=False),
    moment_column("arrived_at", required=True),
    moment_column("recorded_at", required=True),
    moment_column("replayed_at"),
    moment_column("discarded_at"),
    # Reader: the metrics, which count by code the dead letters that wait for a decision.
    Index(
        "dead_letters_waiting_idx",
        "tenant",
        "code",
        postgresql_where=text("replayed_at IS NULL AND discarded_at IS NULL"),
    ),
    # Reader: the lists, newest first.
    Index("dead_letters_recorded_idx", "tenant", "recorded_at"),
)

job_runs = Table(
    "job_runs",
    metadata,
    tenant_column(),
    key_column("job"),
    key_column("period"),
    Column("chunk", Integer, primary_key=True),
    moment_column("started_at", required=True),
    moment_column("finished_at"),
    text_column("result"),
    # Reader: the metrics, which look for verifications with violations, of all tenants.
    Index(
        "job_runs_violations_idx",
        "tenant",
        "period",
        "chunk",
        postgresql_where=text("job = 'verify' AND result NOT LIKE '%\"violations\": 0%'"),
    ),
)

audit = Table(
    "audit",
    metadata,
    tenant_column(),
    key_column("audit_id"),
    moment_column("at", required=True),
    text_column("actor", required=True),
    text_column("action", required=True),
    text_column("subject", required=True),
    text_column("detail"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    tenant_column(),
    key_column("idempotency_key"),
    text_column("route", required=True),
    Column("body_hash", LargeBinary, nullable=False),
    Column("status", Integer, nullable=False),
    text_column("location"),
    Column("body", LargeBinary, nullable=False),
    moment_column("created_at", required=True),
    # Reader: the retain job.
    Index("idempotency_keys_created_idx", "created_at"),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    tenant_column(),
    key_column("endpoint_id"),
    text_column("provider", required=True),
    text_column("label", required=True),
    # All secrets of the endpoint in one sealed text, and how many they are.
    Column("sealed_secrets", LargeBinary, nullable=False),
    Column("secrets", Integer, nullable=False),
    moment_column("created_at", required=True),
    moment_column("changed_at", required=True),
    ForeignKeyConstraint(["tenant"], ["tenants.tenant"]),
    # Reader: a delivery, which names its endpoint and no tenant.
    Index("webhook_endpoints_endpoint_idx", "endpoint_id", unique=True),
    # Reader: a delivery that names only its provider, and is accepted if that provider has exactly one endpoint.
    Index("webhook_endpoints_provider_idx", "provider"),
)

refresh_requests = Table(
    "refresh_requests",
    metadata,
    tenant_column(),
    # Derived from provider, kind and subject, so that repeated pointers are one request.
    key_column("request_id"),
    text_column("provider", required=True),
    text_column("subject", required=True),
    text_column("kind", required=True),
    text_column("reason", required=True),
    # Since when it has been open, and when it was last asked for.
    moment_column("opened_at", required=True),
    moment_column("requested_at", required=True),
    # How often it was asked for, and how many of these times are done: it is open while the two differ.
    Column("count", BigInteger, nullable=False),
    Column("done_count", BigInteger, nullable=False, server_default=text("0")),
    moment_column("done_at"),
    CheckConstraint("done_count between 0 and count", name="done"),
    # Reader: the list of open requests, the longest waiting first.
    Index(
        "refresh_requests_open_idx", "tenant", "opened_at", "request_id", postgresql_where=text("done_count < count")
    ),
)

provider_accounts = Table(
    "provider_accounts",
    metadata,
    tenant_column(),
    key_column("provider"),
    key_column("provider_account_id"),
    text_column("account_id", required=True),
    text_column("user_id"),
    text_column("kind"),
    text_column("currency"),
    Column("since", Date),
    text_column("connection"),
    text_column("sign"),
    moment_column("updated_at", required=True),
    CheckConstraint("kind in ('asset', 'liability')", name="kind"),
    is_one_of("sign", Sign),
    # Reader: a webhook that names only the connection.
    Index(
        "provider_accounts_connection_idx",
        "tenant",
        "provider",
        "connection",
        postgresql_where=text("connection IS NOT NULL"),
    ),
    # Reader: GET /accounts, which shows what was registered for an account.
    Index("provider_accounts_account_idx", "tenant", "account_id"),
)

stream_positions = Table(
    "stream_positions",
    metadata,
    # A shard has entries of all tenants; its row is of the tenant `default`.
    tenant_column(),
    Column("shard", Integer, primary_key=True, autoincrement=False),
    text_column("entry_id", required=True),
    Column("passed", BigInteger, nullable=False),
    text_column("server", required=True),
    Column("tries", Integer, nullable=False),
    Column("in_doubt", Integer, nullable=False),
    text_column("reread_to", required=True),
    moment_column("begun_at"),
)

BUSINESS_TABLES = (
    tenants,
    accounts,
    transactions,
    reports,
    waiting_reports,
    windows,
    goals,
    milestones,
    links,
    manual_amounts,
    goal_entries,
    goal_snapshots,
    closed_days,
    close_rewrites,
    forecasts,
    outbox,
)
