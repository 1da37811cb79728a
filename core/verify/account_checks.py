"""The checks of accounts: their currencies, which transactions count, what accounts are worth, what is shared of it."""

from core.verify.checks import (
    ODD,
    Check,
    counts,
    day_start,
    follows,
    inflow_before,
    local_day,
    measure_before,
    share,
    sign,
    timeline,
    within,
    worth_before,
)

_TRANSACTIONS = f"""
    SELECT t.account_id, t.transaction_id, 'counts' AS what, CAST(t.counts AS text) AS stored,
        CAST(NOT t.pending AND NOT t.removed AND t.due_at IS NULL AND r.replaces IS NULL
            AND coalesce(t.currency = a.currency, false) AS text) AS expected
    FROM transactions t
    LEFT JOIN (SELECT account_id, currency FROM accounts
        WHERE tenant = :tenant AND {within("account_id")}) AS a ON a.account_id = t.account_id
    LEFT JOIN (
        SELECT DISTINCT account_id, replaces FROM transactions
        WHERE tenant = :tenant AND {within("account_id")} AND replaces IS NOT NULL AND NOT pending AND NOT removed
          AND due_at IS NULL) AS r
      ON r.account_id = t.account_id AND r.replaces = t.transaction_id
    WHERE t.tenant = :tenant AND {within("t.account_id")}"""

_IN_ORDER = 'event_time, source COLLATE "C", event_id COLLATE "C", currency COLLATE "C"'

# What is stated decides, else the first report, waiting or not, else the first row that stands as booked. Of rows only
# those with the least time of their account are put in order.
_CURRENCIES = f"""
    WITH stated_reports AS (
        SELECT DISTINCT ON (account_id) account_id, currency, event_time, source, event_id
        FROM (SELECT account_id, currency, event_time, source, event_id FROM reports
            WHERE tenant = :tenant AND {within("account_id")}
            UNION ALL
            SELECT account_id, currency, event_time, source, event_id FROM waiting_reports
            WHERE tenant = :tenant AND {within("account_id")}) AS all_reports
        ORDER BY account_id, {_IN_ORDER}),
    first_times AS (
        SELECT account_id, min(event_time) AS event_time FROM transactions
        WHERE tenant = :tenant AND {within("account_id")} AND NOT pending AND NOT removed GROUP BY account_id),
    first_rows AS (
        SELECT DISTINCT ON (account_id) account_id, currency, event_time, source, event_id
        FROM transactions JOIN first_times USING (account_id, event_time)
        WHERE tenant = :tenant AND {within("account_id")} AND NOT pending AND NOT removed
        ORDER BY account_id, {_IN_ORDER}),
    deciding AS (
        SELECT account_id, CASE WHEN a.stated_currency IS NOT NULL THEN 'statement'
                WHEN r.currency IS NOT NULL THEN 'report' WHEN t.currency IS NOT NULL THEN 'transaction' END AS said_by,
            coalesce(a.stated_currency, r.currency, t.currency) AS currency,
            coalesce(r.event_time, t.event_time) AS event_time, coalesce(r.source, t.source) AS source,
            coalesce(r.event_id, t.event_id) AS event_id
        FROM accounts a LEFT JOIN stated_reports r USING (account_id) LEFT JOIN first_rows t USING (account_id)
        WHERE a.tenant = :tenant AND {within("account_id")})
    SELECT a.account_id, v.what, v.stored, v.expected
    FROM accounts a JOIN deciding d USING (account_id)
    CROSS JOIN LATERAL (VALUES
        ('currency', a.currency, d.currency),
        ('currency_from', a.currency_from, d.said_by),
        ('currency_time', CAST(a.currency_time AS text),
            CASE WHEN d.said_by <> 'statement' THEN CAST(d.event_time AS text) END),
        ('currency_source', a.currency_source, CASE WHEN d.said_by <> 'statement' THEN d.source END),
        ('currency_event_id', a.currency_event_id, CASE WHEN d.said_by <> 'statement' THEN d.event_id END))
        AS v(what, stored, expected)
    WHERE a.tenant = :tenant AND {within("a.account_id")}"""

# A date is due when its day begins, an instant a day before. A date may be stored as the instant at which its day
# begins, as all were before rows with only a date were placed.
_WAITING = f"""
    WITH {ODD}
    SELECT account_id, 'transaction ' || transaction_id AS fact, 'due_at' AS what, CAST(due_at AS text) AS stored,
        CASE WHEN NOT pending AND (NOT removed OR missing) AND (due_at = {day_start("dated")}
                OR (dated IS NULL AND due_at IN (posted_at, posted_at - interval '1 day')))
            THEN CAST(due_at AS text) END AS expected
    FROM transactions WHERE tenant = :tenant AND {within("account_id")} AND due_at IS NOT NULL
    UNION ALL
    SELECT w.account_id, 'report ' || w.as_of || ' ' || w.currency, 'due_at', CAST(w.due_at AS text),
        CASE WHEN w.due_at IS NOT NULL THEN CAST(w.as_of - interval '1 day' AS text)
            WHEN w.currency = a.currency THEN 'none: it is due, and in the currency of its account' END
    FROM waiting_reports w LEFT JOIN (SELECT account_id, currency FROM accounts
        WHERE tenant = :tenant AND {within("account_id")}) AS a ON a.account_id = w.account_id
    WHERE w.tenant = :tenant AND {within("w.account_id")}"""

# A row that waits until it is due is booked, a pending one is not. `last_recorded_at` may be later than any first
# report, since a row's first report becomes earlier when an earlier record of it comes; `lends` and `has_dates` stay
# true.
_RECORDED = f"""
    SELECT account_id, min(at) AS first_at, max(at) AS last_at, bool_or(removed AND booked_on IS NOT NULL) AS lends,
        bool_or(num_nonnulls(dated, booked_on) > 0) AS has_dates
    FROM (SELECT account_id, removed, booked_on, dated,
            coalesce(first_reported, CASE WHEN NOT pending AND (NOT removed OR missing) THEN event_time END) AS at
        FROM transactions WHERE tenant = :tenant AND {within("account_id")}) AS booked
    GROUP BY account_id"""

# Of the rows that a window may say something about: does a later one of their source hold their day? Daily windows
# slide along, so of most rows the bounds of all later windows together show that none does. Only for the others the
# windows are looked up.
_MISSING = f"""
    WITH {ODD},
    facts AS (
        SELECT account_id, source, event_time, NULL AS transaction_id, from_day, through_day, CAST(NULL AS date) AS day,
            false AS removed, false AS missing, false AS is_booked
        FROM windows WHERE tenant = :tenant AND {within("account_id")}
        UNION ALL
        SELECT t.account_id, t.source, t.event_time, t.transaction_id, NULL, NULL,
            coalesce(t.dated, {local_day("t.posted_at")}), t.removed, t.missing IS TRUE,
            NOT t.pending AND (NOT t.removed OR t.missing IS TRUE)
        FROM transactions t
        WHERE t.tenant = :tenant AND {within("t.account_id")}
          AND (t.missing OR (t.account_id, t.source) IN (
            SELECT account_id, source FROM windows WHERE tenant = :tenant AND {within("account_id")}))),
    bounded AS (
        SELECT *, is_booked AND day BETWEEN min(from_day) OVER w AND max(through_day) OVER w AS may_be_missing
        FROM facts
        WINDOW w AS (PARTITION BY account_id, source ORDER BY event_time DESC, transaction_id IS NULL)),
    compared_rows AS (
        SELECT b.account_id, b.transaction_id, b.removed, b.missing, CASE WHEN b.may_be_missing THEN EXISTS (
                SELECT FROM windows w WHERE w.tenant = :tenant AND w.account_id = b.account_id AND w.source = b.source
                  AND w.event_time > b.event_time AND b.day BETWEEN w.from_day AND w.through_day)
            ELSE false END AS is_missing
        FROM bounded b WHERE b.transaction_id IS NOT NULL)
    SELECT r.account_id, r.transaction_id, v.what, CAST(v.stored AS text) AS stored,
        CAST(v.expected AS text) AS expected
    FROM compared_rows r CROSS JOIN LATERAL (VALUES
        ('missing', r.missing, r.is_missing),
        ('removed', r.removed, r.removed OR r.is_missing)) AS v(what, stored, expected)"""

_ACCOUNTS = f"""
    SELECT a.account_id, v.what, v.stored, v.expected
    FROM accounts a LEFT JOIN ({_RECORDED}) AS recorded ON recorded.account_id = a.account_id
    CROSS JOIN LATERAL (SELECT min(as_of) AS first, max(as_of) AS last FROM reports
        WHERE tenant = :tenant AND account_id = a.account_id) AS reported
    CROSS JOIN LATERAL (VALUES
        ('worth_minor', CAST(a.worth_minor AS text), CAST({worth_before("a", "timestamptz 'infinity'")} AS text)),
        ('opening_minor', CAST(a.opening_minor AS text),
            CAST({worth_before("a", "timestamptz '-infinity'")} AS text)),
        ('inflow_minor', CAST(a.inflow_minor AS text), CAST({inflow_before("a", "timestamptz 'infinity'")} AS text)),
        ('first_report_at', CAST(a.first_report_at AS text), CAST(reported.first AS text)),
        ('last_report_at', CAST(a.last_report_at AS text), CAST(reported.last AS text)),
        ('first_recorded_at', CAST(a.first_recorded_at AS text), CAST(recorded.first_at AS text)),
        ('last_recorded_at', CAST(a.last_recorded_at AS text), CAST(CASE WHEN recorded.last_at IS NOT NULL
            THEN greatest(a.last_recorded_at, recorded.last_at) END AS text)),
        ('known_by_rows_at', CAST(a.known_by_rows_at AS text),
            CASE WHEN a.known_by_rows_at IS NOT NULL
                    OR reported.first > recorded.first_at + interval '7 days'
                THEN CAST(recorded.first_at + interval '7 days' AS text) END),
        ('lends', CAST(a.lends AS text), CAST(a.lends OR coalesce(recorded.lends, false) AS text)),
        ('has_dates', CAST(a.has_dates AS text), CAST(a.has_dates OR coalesce(recorded.has_dates, false) AS text)),
        ('last_window_at', CAST(a.last_window_at AS text), CAST((SELECT max(event_time) FROM windows
            WHERE tenant = :tenant AND account_id = a.account_id) AS text))) AS v(what, stored, expected)
    WHERE a.tenant = :tenant AND {within("a.account_id")}"""

# A residual is the difference between a report and what the report before it and the transactions since lead to. The
# first report has none before it, so its residual is 0.
_RESIDUALS = f"""
    SELECT reported.account_id, reported.as_of, reported.residual_minor,
        coalesce(reported.worth - reported.worth_before - (
        SELECT coalesce(sum(t.amount_minor), 0) FROM transactions t
        WHERE t.tenant = :tenant AND t.account_id = reported.account_id AND t.counts
          AND t.posted_at > reported.as_of_before AND t.posted_at <= reported.as_of), 0) AS expected_minor
    FROM (SELECT r.account_id, r.as_of, r.residual_minor, r.current_minor * {sign("a")} AS worth,
            lag(r.current_minor * {sign("a")}) OVER w AS worth_before, lag(r.as_of) OVER w AS as_of_before
        FROM accounts a JOIN reports r ON r.tenant = a.tenant AND r.account_id = a.account_id
        WHERE a.tenant = :tenant AND r.tenant = :tenant AND {within("a.account_id")} AND {within("r.account_id")}
        WINDOW w AS (PARTITION BY r.account_id ORDER BY r.as_of)) AS reported"""

_REPORTS = f"""
    SELECT account_id, as_of, 'residual_minor' AS what, CAST(residual_minor AS text) AS stored,
        CAST(expected_minor AS text) AS expected
    FROM ({_RESIDUALS}) AS residuals
    UNION ALL
    SELECT r.account_id, r.as_of, 'currency', r.currency, a.currency
    FROM reports r JOIN accounts a ON a.account_id = r.account_id
    WHERE r.tenant = :tenant AND a.tenant = :tenant AND {within("r.account_id")} AND {within("a.account_id")}"""

# Once an end-of-day worth is wrong, all later ones are wrong too, so only the first wrong day of an account is
# reported.
_ACCOUNT_CLOSES = f"""
    WITH {ODD},
    scope AS (SELECT account_id, {sign("a")} AS sign FROM accounts a
        WHERE tenant = :tenant AND {within("account_id")}),
    {timeline("scope")},
    closes AS (
        SELECT account_id, day, worth FROM (
            SELECT account_id, day, worth, lead(day) OVER (PARTITION BY account_id ORDER BY at, turn) AS next_day
            FROM (SELECT *, {local_day("at")} AS day FROM timeline) AS dated) AS followed
        WHERE next_day IS DISTINCT FROM day),
    running AS (
        SELECT a.account_id, d.day, a.opening_minor + sum(d.moved_minor + d.residual_minor)
            OVER (PARTITION BY a.account_id ORDER BY d.day) AS worth
        FROM accounts a JOIN account_days d ON d.tenant = a.tenant AND d.account_id = a.account_id
        WHERE a.tenant = :tenant AND d.tenant = :tenant AND {within("a.account_id")} AND {within("d.account_id")}),
    compared_days AS (
        SELECT account_id, day, running.worth AS stored, closes.worth AS expected,
            min(day) FILTER (WHERE running.worth <> closes.worth) OVER (PARTITION BY account_id) AS first_wrong
        FROM running JOIN closes USING (account_id, day))
    SELECT account_id, day, 'worth at the close' AS what, CAST(stored AS text) AS stored,
        CAST(CASE WHEN day = first_wrong THEN expected ELSE stored END AS text) AS expected
    FROM compared_days"""

# Open links that share an account, grouped by the amount that they are shares of: the worth, or the change since the
# same base. Links that count an account whole are left out.
_SHARES = f"""
    SELECT a.account_id, {follows("g")} AS is_following, l.measure, l.base_minor, l.begin_at, l.ppm, v.whole,
        {share("v.whole", "l.ppm")} AS part
    FROM accounts a
    JOIN links l ON l.tenant = a.tenant AND l.account_id = a.account_id
    CROSS JOIN LATERAL (
        SELECT type, tracking, currency FROM goals WHERE tenant = :tenant AND goal_id = l.goal_id OFFSET 0) AS g
    CROSS JOIN LATERAL (SELECT
        CAST(CASE WHEN a.joined_as IS NOT NULL OR a.counts_from IS NOT NULL
            THEN {measure_before("l.measure", "a", "timestamptz 'infinity'")}
            WHEN l.measure = 'inflow' THEN a.inflow_minor ELSE a.worth_minor END AS numeric) - l.base_minor
            AS whole) AS v
    WHERE a.tenant = :tenant AND l.tenant = :tenant AND {within("a.account_id")} AND {within("l.account_id")}
      AND l.until_at IS NULL AND NOT l.whole AND {counts("g", "a")}"""

_CONSERVATION = f"""
    SELECT account_id, CASE WHEN is_following THEN 'shares of its worth' ELSE 'shares of its ' || measure || ' since '
            || coalesce(CAST(begin_at AS text), '-') END AS what,
        CAST(sum(part) AS text) AS stored,
        CASE WHEN sum(ppm) > 1000000 OR (abs(sum(part)) <= abs(max(whole)) AND bool_and(part * whole >= 0))
            THEN CAST(sum(part) AS text) ELSE 'within ' || max(whole) END AS expected
    FROM ({_SHARES}) AS shares GROUP BY account_id, is_following, measure, begin_at, base_minor"""

COUNTED_CHECKS = (
    Check(
        "currencies",
        "an account is in the currency that is stated for it, else in that of its first report or booked row",
        ("account_id",),
        _CURRENCIES,
    ),
    Check(
        "transactions",
        "a transaction counts while it is posted, due and in the account's currency, and none that is posted and due"
        " replaces it",
        ("account_id", "transaction_id"),
        _TRANSACTIONS,
    ),
)

ACCOUNT_CHECKS = (
    Check(
        "windows",
        "a booked row counts as removed while a later window of its source holds its day",
        ("account_id", "transaction_id"),
        _MISSING,
    ),
    Check(
        "accounts",
        "worth, opening, inflow, when the account and its rows were first and last reported, and its last window,"
        " follow from the facts",
        ("account_id",),
        _ACCOUNTS,
    ),
    Check(
        "reports",
        "a residual is what a report adds to the report before it and the transactions since; reports that count are in"
        " the account's currency",
        ("account_id", "as_of"),
        _REPORTS,
    ),
    Check(
        "waiting",
        "what is dated too far ahead to count is due on its day, or a day before its moment; a report that is due waits"
        " only for its currency",
        ("account_id", "fact"),
        _WAITING,
    ),
    Check(
        "account_closes",
        "the opening plus the moves of all days is the end-of-day worth of each day; the first that differs is shown",
        ("account_id", "day"),
        _ACCOUNT_CLOSES,
    ),
    Check(
        "conservation",
        "shares of one worth that sum to at most 100% are together never more than it and never have the other sign",
        ("account_id",),
        _CONSERVATION,
    ),
)
