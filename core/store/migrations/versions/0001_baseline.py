"""The baseline: the whole schema as the first release has it.

Written in SQL, not taken from core.store.tables, which goes on to change: a change of a table from here on is a
migration of its own. What each index is for is said in core.store.tables.

Revision ID: 0001_baseline
Revises:
"""

from alembic import op

# Not "0001": that was a revision of databases from before the first release, which core.store.migrate refuses.
revision = "0001_baseline"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make everything; tables before those that refer to them."""
    _tenants()
    _accounts()
    _facts()
    _goals()
    _links()
    _closed_days()
    _forecasts()
    _notifications()
    _dead_letters()
    _jobs()
    _requests()
    _providers()


def _tenants() -> None:
    op.execute(
        """CREATE TABLE tenants (
            tenant text PRIMARY KEY,
            time_zone text NOT NULL,
            created_at timestamptz NOT NULL,
            closed_through date
        )"""
    )
    op.execute(
        """CREATE TABLE api_keys (
            tenant text NOT NULL,
            key_id text NOT NULL,
            key_hash bytea NOT NULL,
            label text NOT NULL,
            scopes text[] NOT NULL,
            created_at timestamptz NOT NULL,
            revoked_at timestamptz,
            PRIMARY KEY (tenant, key_id),
            CONSTRAINT api_keys_tenants_fkey FOREIGN KEY (tenant) REFERENCES tenants (tenant)
        )"""
    )
    # Without the tenant, which is not known before the key is.
    op.execute("CREATE UNIQUE INDEX api_keys_key_hash_idx ON api_keys (key_hash)")


def _accounts() -> None:
    # fillfactor: Postgres updates a row in place only while its page has room, and batches update accounts and goals
    # all the time, milestones twice in their life.
    op.execute(
        """CREATE TABLE accounts (
            tenant text NOT NULL,
            account_id text NOT NULL,
            currency text,
            user_id text,
            user_id_rank text,
            kind text NOT NULL DEFAULT 'asset',
            kind_rank text,
            name text,
            name_rank text,
            closed boolean NOT NULL DEFAULT false,
            closed_rank text,
            replaced_by text,
            replaced_by_rank text,
            connection text,
            connection_rank text,
            connection_reason text,
            connection_reason_rank text,
            opening_minor bigint NOT NULL DEFAULT 0,
            worth_minor bigint NOT NULL DEFAULT 0,
            inflow_minor bigint NOT NULL DEFAULT 0,
            first_report_at timestamptz,
            last_report_at timestamptz,
            last_transaction_at timestamptz,
            dirty_from date,
            late_from date,
            late_through date,
            linked_xid bigint,
            PRIMARY KEY (tenant, account_id),
            CONSTRAINT accounts_kind_check CHECK (kind in ('asset', 'liability')),
            CONSTRAINT accounts_late_check CHECK ((late_from IS NULL) = (late_through IS NULL))
        ) WITH (fillfactor = 80)"""
    )
    op.execute("CREATE INDEX accounts_user_idx ON accounts (tenant, user_id)")
    # Partial: few accounts have days to be closed anew.
    op.execute("CREATE INDEX accounts_dirty_idx ON accounts (tenant, dirty_from) WHERE dirty_from IS NOT NULL")
    op.execute("CREATE INDEX accounts_late_idx ON accounts (tenant, late_from) WHERE late_from IS NOT NULL")


def _facts() -> None:
    op.execute(
        """CREATE TABLE transactions (
            tenant text NOT NULL,
            account_id text NOT NULL,
            transaction_id text NOT NULL,
            amount_minor bigint NOT NULL DEFAULT 0,
            currency text NOT NULL,
            posted_at timestamptz,
            pending boolean NOT NULL DEFAULT false,
            removed boolean NOT NULL DEFAULT false,
            counts boolean NOT NULL DEFAULT false,
            replaces text,
            category text,
            description text,
            event_time timestamptz NOT NULL,
            source text NOT NULL,
            event_id text NOT NULL,
            PRIMARY KEY (tenant, account_id, transaction_id)
        )"""
    )
    # With the amount in it, so that a sum over a time span reads no row of the table.
    op.execute(
        """CREATE INDEX transactions_counted_idx ON transactions (tenant, account_id, posted_at)
        INCLUDE (amount_minor) WHERE counts"""
    )
    # Partial: few transactions replace another.
    op.execute(
        """CREATE INDEX transactions_replaces_idx ON transactions (tenant, account_id, replaces)
        WHERE replaces IS NOT NULL"""
    )
    op.execute(
        """CREATE TABLE reports (
            tenant text NOT NULL,
            account_id text NOT NULL,
            as_of timestamptz NOT NULL,
            current_minor bigint NOT NULL DEFAULT 0,
            available_minor bigint,
            currency text NOT NULL,
            residual_minor bigint NOT NULL DEFAULT 0,
            event_time timestamptz NOT NULL,
            source text NOT NULL,
            event_id text NOT NULL,
            PRIMARY KEY (tenant, account_id, as_of)
        )"""
    )
    # What the facts of an account add up to, by local day. A view and not a table: every batch would have to add to it.
    # A fact is of the later of two days: the one its moment is in by the clock, and the one that the clock showed at
    # the last midnight by the time of three hours ago. They differ where the clock was turned back over a midnight that
    # it had shown already (St. John's, at a minute past): the new day went on then, as core.events.calendar has it.
    op.execute(
        """CREATE VIEW account_days AS
        SELECT f.tenant, f.account_id,
            greatest(
                CAST(f.at AT TIME ZONE n.time_zone AS date),
                CAST((f.at - CAST(CAST(
                    (f.at - interval '3 hours') AT TIME ZONE n.time_zone + interval '3 hours' AS time) AS interval))
                    AT TIME ZONE n.time_zone AS date)) AS day,
            sum(f.moved_minor) AS moved_minor,
            sum(f.residual_minor) AS residual_minor,
            sum(f.inflow_minor) AS inflow_minor
        FROM (
            SELECT tenant, account_id, posted_at AS at, amount_minor AS moved_minor,
                CAST(0 AS bigint) AS residual_minor, greatest(amount_minor, 0) AS inflow_minor
            FROM transactions WHERE counts
            UNION ALL
            SELECT tenant, account_id, as_of, 0, residual_minor, 0 FROM reports WHERE residual_minor <> 0) AS f
        JOIN tenants n ON n.tenant = f.tenant
        GROUP BY 1, 2, 3
        HAVING sum(f.moved_minor) <> 0 OR sum(f.residual_minor) <> 0 OR sum(f.inflow_minor) <> 0"""
    )


def _goals() -> None:
    op.execute(
        """CREATE TABLE goals (
            tenant text NOT NULL,
            goal_id text NOT NULL,
            user_id text NOT NULL,
            name text NOT NULL,
            description text,
            type text NOT NULL,
            tracking text NOT NULL,
            currency text NOT NULL,
            debt_form text,
            target_minor bigint NOT NULL DEFAULT 0,
            start_minor bigint NOT NULL DEFAULT 0,
            finish_minor bigint NOT NULL DEFAULT 0,
            manual_minor bigint NOT NULL DEFAULT 0,
            manual_at timestamptz,
            amount_minor bigint NOT NULL DEFAULT 0,
            before_minor bigint,
            sources bigint NOT NULL DEFAULT 0,
            waiting_for text[] NOT NULL DEFAULT '{}',
            next_milestone_minor bigint,
            reached_at timestamptz,
            deadline timestamptz,
            start_date date NOT NULL,
            dirty_from date,
            evaluated_from timestamptz,
            auto_complete boolean NOT NULL DEFAULT false,
            status text NOT NULL,
            final_at timestamptz,
            acted_at timestamptz NOT NULL,
            entries bigint NOT NULL DEFAULT 0,
            version bigint NOT NULL DEFAULT 1,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, goal_id),
            CONSTRAINT goals_type_check
                CHECK (type in ('savings','debt','investment','net_worth','income','custom')),
            CONSTRAINT goals_tracking_check CHECK (tracking in ('change','inflow','balance','net_worth')),
            CONSTRAINT goals_status_check CHECK (status in ('active','paused','completed','abandoned')),
            CONSTRAINT goals_debt_form_check CHECK (debt_form in ('to_target','total')),
            CONSTRAINT goals_final_check CHECK ((final_at IS NULL) = (status in ('active','paused')))
        ) WITH (fillfactor = 80)"""
    )
    op.execute("CREATE INDEX goals_user_idx ON goals (tenant, user_id, goal_id)")
    op.execute("CREATE INDEX goals_dirty_idx ON goals (tenant, dirty_from) WHERE dirty_from IS NOT NULL")
    op.execute("CREATE INDEX goals_net_worth_idx ON goals (tenant, user_id) WHERE tracking = 'net_worth'")
    op.execute(
        """CREATE TABLE milestones (
            tenant text NOT NULL,
            goal_id text NOT NULL,
            amount_minor bigint NOT NULL,
            description text,
            target_date timestamptz,
            reached_at timestamptz,
            marked_at timestamptz,
            checked_at timestamptz,
            created_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, goal_id, amount_minor),
            CONSTRAINT milestones_goals_fkey
                FOREIGN KEY (tenant, goal_id) REFERENCES goals (tenant, goal_id) ON DELETE CASCADE
        ) WITH (fillfactor = 80)"""
    )
    op.execute(
        """CREATE TABLE manual_amounts (
            tenant text NOT NULL,
            goal_id text NOT NULL,
            manual_at timestamptz NOT NULL,
            amount_minor bigint NOT NULL DEFAULT 0,
            PRIMARY KEY (tenant, goal_id, manual_at),
            CONSTRAINT manual_amounts_goals_fkey
                FOREIGN KEY (tenant, goal_id) REFERENCES goals (tenant, goal_id) ON DELETE CASCADE
        )"""
    )
    # No foreign key here and below where batches write: the locks that they hold on accounts and goals prove it.
    op.execute(
        """CREATE TABLE goal_entries (
            tenant text NOT NULL,
            goal_id text NOT NULL,
            entry bigint NOT NULL,
            recorded_at timestamptz NOT NULL,
            before_minor bigint,
            after_minor bigint NOT NULL DEFAULT 0,
            cause text NOT NULL,
            account_ids text[] NOT NULL DEFAULT '{}',
            PRIMARY KEY (tenant, goal_id, entry),
            CONSTRAINT goal_entries_cause_check
                CHECK (cause in ('created','events','typed','linked','allocation','unlinked','status'))
        )"""
    )


def _links() -> None:
    op.execute(
        """CREATE TABLE links (
            tenant text NOT NULL,
            goal_id text NOT NULL,
            account_id text NOT NULL,
            linked_at timestamptz NOT NULL,
            from_at timestamptz NOT NULL,
            until_at timestamptz,
            ppm integer NOT NULL,
            whole boolean NOT NULL DEFAULT false,
            account_name text,
            measure text NOT NULL,
            begin_at timestamptz,
            base_minor bigint NOT NULL DEFAULT 0,
            end_minor bigint,
            PRIMARY KEY (tenant, goal_id, account_id, linked_at),
            CONSTRAINT links_goals_fkey
                FOREIGN KEY (tenant, goal_id) REFERENCES goals (tenant, goal_id) ON DELETE CASCADE,
            CONSTRAINT links_ppm_check CHECK (ppm between 1 and 1000000),
            CONSTRAINT links_measure_check CHECK (measure in ('worth','inflow')),
            CONSTRAINT links_period_check CHECK (until_at >= from_at),
            CONSTRAINT links_end_check CHECK ((until_at IS NULL) = (end_minor IS NULL))
        )"""
    )
    op.execute("CREATE INDEX links_account_idx ON links (tenant, account_id)")
    # A rule, not a help to readers: at most one open link of an account to a goal.
    op.execute("CREATE UNIQUE INDEX links_open_idx ON links (tenant, goal_id, account_id) WHERE until_at IS NULL")
    # A batch takes the fast path for goals with one link, and must not count their links to know. A trigger counts, so
    # that no writer of links can forget it.
    op.execute(
        """CREATE FUNCTION count_sources() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                UPDATE goals SET sources = sources + 1 WHERE tenant = NEW.tenant AND goal_id = NEW.goal_id;
            ELSE
                UPDATE goals SET sources = sources - 1 WHERE tenant = OLD.tenant AND goal_id = OLD.goal_id;
            END IF;
            RETURN NULL;
        END $$"""
    )
    op.execute(
        """CREATE TRIGGER links_count_sources AFTER INSERT OR DELETE ON links
        FOR EACH ROW EXECUTE FUNCTION count_sources()"""
    )
    # A batch that waited for an account's lock learns here whether the links that its statement sees are still the
    # links. Whoever changes a link holds the lock of its account.
    op.execute(
        """CREATE FUNCTION note_linked_xid() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            own CONSTANT bigint := CAST(CAST(pg_current_xact_id() AS text) AS bigint);
            changed links := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
        BEGIN
            UPDATE accounts SET linked_xid = own
            WHERE tenant = changed.tenant AND account_id = changed.account_id AND linked_xid IS DISTINCT FROM own;
            RETURN NULL;
        END $$"""
    )
    op.execute(
        """CREATE TRIGGER links_note_linked_xid AFTER INSERT OR UPDATE OR DELETE ON links
        FOR EACH ROW EXECUTE FUNCTION note_linked_xid()"""
    )


def _closed_days() -> None:
    op.execute(
        """CREATE TABLE goal_snapshots (
            tenant text NOT NULL,
            goal_id text NOT NULL,
            day date NOT NULL,
            amount_minor bigint NOT NULL DEFAULT 0,
            PRIMARY KEY (tenant, goal_id, day)
        )"""
    )
    op.execute(
        """CREATE TABLE closed_days (
            tenant text NOT NULL,
            day date NOT NULL,
            closed_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, day)
        )"""
    )
    # rewritten_at before day: what is read are all days of a goal since a moment, and its last rewriting.
    op.execute(
        """CREATE TABLE close_rewrites (
            tenant text NOT NULL,
            goal_id text NOT NULL,
            rewritten_at timestamptz NOT NULL,
            day date NOT NULL,
            before_minor bigint,
            PRIMARY KEY (tenant, goal_id, rewritten_at, day)
        )"""
    )


def _forecasts() -> None:
    op.execute(
        """CREATE TABLE forecasts (
            tenant text NOT NULL,
            goal_id text NOT NULL,
            through_day date,
            goal_version bigint,
            projected_completion_at timestamptz,
            projection_note text,
            monthly_minor bigint,
            PRIMARY KEY (tenant, goal_id)
        )"""
    )


def _notifications() -> None:
    op.execute(
        """CREATE TABLE outbox (
            tenant text NOT NULL,
            message_id text NOT NULL,
            type text NOT NULL,
            goal_id text NOT NULL,
            payload text NOT NULL,
            created_at timestamptz NOT NULL,
            delivered_at timestamptz,
            PRIMARY KEY (tenant, message_id)
        )"""
    )
    op.execute("CREATE INDEX outbox_due_idx ON outbox (tenant, created_at) WHERE delivered_at IS NULL")


def _dead_letters() -> None:
    op.execute(
        """CREATE TABLE dead_letters (
            tenant text NOT NULL,
            shard integer NOT NULL,
            entry_id text NOT NULL,
            code text NOT NULL,
            reason text NOT NULL,
            event bytea NOT NULL,
            arrived_at timestamptz NOT NULL,
            recorded_at timestamptz NOT NULL,
            replayed_at timestamptz,
            discarded_at timestamptz,
            PRIMARY KEY (tenant, shard, entry_id)
        )"""
    )
    op.execute(
        """CREATE INDEX dead_letters_waiting_idx ON dead_letters (tenant, code)
        WHERE replayed_at IS NULL AND discarded_at IS NULL"""
    )
    op.execute("CREATE INDEX dead_letters_recorded_idx ON dead_letters (tenant, recorded_at)")


def _jobs() -> None:
    op.execute(
        """CREATE TABLE job_runs (
            tenant text NOT NULL,
            job text NOT NULL,
            period text NOT NULL,
            chunk integer NOT NULL,
            started_at timestamptz NOT NULL,
            finished_at timestamptz,
            result text,
            PRIMARY KEY (tenant, job, period, chunk)
        )"""
    )
    # Those runs of `verify` alone that found something, so that the metrics need not read the runs of every tenant.
    op.execute(
        """CREATE INDEX job_runs_violations_idx ON job_runs (tenant, period, chunk)
        WHERE job = 'verify' AND result NOT LIKE '%"violations": 0%'"""
    )
    op.execute(
        """CREATE TABLE audit (
            tenant text NOT NULL,
            audit_id text NOT NULL,
            at timestamptz NOT NULL,
            actor text NOT NULL,
            action text NOT NULL,
            subject text NOT NULL,
            detail text,
            PRIMARY KEY (tenant, audit_id)
        )"""
    )


def _requests() -> None:
    op.execute(
        """CREATE TABLE idempotency_keys (
            tenant text NOT NULL,
            idempotency_key text NOT NULL,
            route text NOT NULL,
            body_hash bytea NOT NULL,
            status integer NOT NULL,
            location text,
            body bytea NOT NULL,
            created_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, idempotency_key)
        )"""
    )
    # Without the tenant: those past retention are dropped for all tenants at once.
    op.execute("CREATE INDEX idempotency_keys_created_idx ON idempotency_keys (created_at)")


def _providers() -> None:
    op.execute(
        """CREATE TABLE webhook_endpoints (
            tenant text NOT NULL,
            endpoint_id text NOT NULL,
            provider text NOT NULL,
            label text NOT NULL,
            sealed_secrets bytea NOT NULL,
            secrets integer NOT NULL,
            created_at timestamptz NOT NULL,
            changed_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, endpoint_id),
            CONSTRAINT webhook_endpoints_tenants_fkey FOREIGN KEY (tenant) REFERENCES tenants (tenant)
        )"""
    )
    # Without the tenant: a delivery names its address or its provider, and no tenant.
    op.execute("CREATE UNIQUE INDEX webhook_endpoints_endpoint_idx ON webhook_endpoints (endpoint_id)")
    op.execute("CREATE INDEX webhook_endpoints_provider_idx ON webhook_endpoints (provider)")
    op.execute(
        """CREATE TABLE refresh_requests (
            tenant text NOT NULL,
            request_id text NOT NULL,
            provider text NOT NULL,
            subject text NOT NULL,
            kind text NOT NULL,
            reason text NOT NULL,
            opened_at timestamptz NOT NULL,
            requested_at timestamptz NOT NULL,
            count bigint NOT NULL,
            done_count bigint NOT NULL DEFAULT 0,
            done_at timestamptz,
            PRIMARY KEY (tenant, request_id),
            CONSTRAINT refresh_requests_done_check CHECK (done_count between 0 and count)
        )"""
    )
    op.execute(
        """CREATE INDEX refresh_requests_open_idx ON refresh_requests (tenant, opened_at, request_id)
        WHERE done_count < count"""
    )
    op.execute(
        """CREATE TABLE provider_accounts (
            tenant text NOT NULL,
            provider text NOT NULL,
            provider_account_id text NOT NULL,
            account_id text NOT NULL,
            user_id text,
            kind text,
            currency text,
            since date,
            connection text,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, provider, provider_account_id),
            CONSTRAINT provider_accounts_kind_check CHECK (kind in ('asset', 'liability'))
        )"""
    )
    op.execute(
        """CREATE INDEX provider_accounts_connection_idx ON provider_accounts (tenant, provider, connection)
        WHERE connection IS NOT NULL"""
    )
