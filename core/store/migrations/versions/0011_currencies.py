"""Who says in which currency an account is, and reports that are kept in another one.

Revision ID: 0011_currencies
Revises: 0010_auto_completed
"""

from alembic import op

revision = "0011_currencies"
down_revision = "0010_auto_completed"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and fill them from what is stored: all facts of an account are in its currency so far.

    Registrations become statements where they name the currency that the account has. Where they name another one, the
    account stays as it is until it is registered again: its facts would have to be judged anew. The currency of an
    account that has neither a report nor a booked row is not known any more.
    """
    op.execute(
        """ALTER TABLE accounts ADD COLUMN currency_from text, ADD COLUMN currency_time timestamptz,
            ADD COLUMN currency_source text, ADD COLUMN currency_event_id text, ADD COLUMN stated_currency text,
            ADD COLUMN stated_currency_rank text"""
    )
    op.execute("ALTER TABLE waiting_reports ALTER COLUMN due_at DROP NOT NULL, DROP CONSTRAINT waiting_reports_pkey")
    op.execute("ALTER TABLE waiting_reports ADD PRIMARY KEY (tenant, account_id, as_of, currency)")
    op.execute("DROP INDEX waiting_reports_due_idx")
    op.execute("CREATE INDEX waiting_reports_due_idx ON waiting_reports (due_at) WHERE due_at IS NOT NULL")
    # It takes as long as there are transactions: a minute for some ten million.
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute(
        """INSERT INTO accounts (tenant, account_id)
        SELECT DISTINCT tenant, account_id FROM provider_accounts WHERE currency IS NOT NULL
        ORDER BY tenant, account_id ON CONFLICT DO NOTHING"""
    )
    op.execute(
        """UPDATE accounts a SET currency = p.currency, currency_from = 'statement', stated_currency = p.currency,
            stated_currency_rank = to_char(p.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || chr(31)
                || 'provider-accounts/' || p.provider || chr(31) || p.provider_account_id
        FROM (SELECT DISTINCT ON (tenant, account_id) tenant, account_id, currency, updated_at, provider,
                provider_account_id
            FROM provider_accounts WHERE currency IS NOT NULL
            ORDER BY tenant, account_id, updated_at DESC, provider COLLATE "C" DESC,
                provider_account_id COLLATE "C" DESC) AS p
        WHERE a.tenant = p.tenant AND a.account_id = p.account_id AND coalesce(a.currency = p.currency, true)"""
    )
    for said_by, facts in (
        ("report", "SELECT {0} FROM reports UNION ALL SELECT {0} FROM waiting_reports"),
        ("transaction", "SELECT {0} FROM transactions WHERE NOT pending AND NOT removed"),
    ):
        columns = "tenant, account_id, event_time, source, event_id"
        op.execute(
            f"""UPDATE accounts a SET currency_from = '{said_by}', currency_time = f.event_time,
                currency_source = f.source, currency_event_id = f.event_id
            FROM (SELECT DISTINCT ON (tenant, account_id) {columns} FROM ({facts.format(columns)}) AS facts
                ORDER BY tenant, account_id, event_time, source COLLATE "C", event_id COLLATE "C") AS f
            WHERE a.tenant = f.tenant AND a.account_id = f.account_id AND a.currency_from IS NULL"""
        )
    op.execute("UPDATE accounts SET currency = NULL WHERE currency_from IS NULL AND currency IS NOT NULL")
    op.execute(
        """ALTER TABLE accounts ADD CONSTRAINT accounts_currency_from_check
            CHECK (currency_from in ('statement','report','transaction'))"""
    )
