"""The checks of rows that have only a date: when they were first reported, what is lent, and where they are placed."""

from core.verify.checks import INSTANT, ODD, Check, day_end, local_day, sign, within, within_day

# Of a row that is removed or pending, the latest record that said it is booked is kept, with a rank that begins with
# its time; of one that a window does not have any more, too. A row that is booked keeps when it was first reported only
# if that is not the time of its own record.
_KEPT = f"""
    SELECT t.account_id, t.transaction_id, v.what, v.stored, v.expected
    FROM (SELECT *, NOT pending AND NOT removed AS is_booked, left(booked_rank, 26) COLLATE "C" AS booked_time,
            to_char(first_reported, 'YYYY-MM-DD"T"HH24:MI:SS.US') COLLATE "C" AS first_time,
            to_char(event_time, 'YYYY-MM-DD"T"HH24:MI:SS.US') COLLATE "C" AS own_time
        FROM transactions WHERE tenant = :tenant AND {within("account_id")}
          AND num_nonnulls(first_reported, booked_rank, booked_minor, booked_on) > 0) AS t
    CROSS JOIN LATERAL (VALUES
        ('first_reported', t.first_time, CASE
            WHEN t.is_booked OR t.missing THEN CASE WHEN t.first_time < t.own_time THEN t.first_time END
            WHEN t.booked_rank IS NULL THEN NULL
            WHEN t.first_time <= t.booked_time THEN t.first_time
            ELSE 'at most ' || t.booked_time END),
        ('booked_rank', t.booked_rank, CASE
            WHEN t.is_booked OR t.booked_minor IS NULL THEN NULL
            WHEN t.booked_time <= t.own_time THEN t.booked_rank
            ELSE 'at most ' || t.own_time END),
        ('booked_minor', CAST(t.booked_minor AS text),
            CASE WHEN NOT t.is_booked AND t.booked_rank IS NOT NULL
                THEN coalesce(CAST(t.booked_minor AS text), 'an amount') END),
        ('booked_on', CAST(t.booked_on AS text),
            CASE WHEN NOT t.is_booked AND t.booked_rank IS NOT NULL THEN CAST(t.booked_on AS text) END))
        AS v(what, stored, expected)"""

# Of the rows of one account, date and amount, the removed row number k lends to the first row that was reported later
# and has none lent. If that one, without the second condition, is number c(k), then the removed row number k lends to
# number k + the greatest c(j) - j of all j up to k: each takes the next one, or a later one.
_LENT = f"""
    WITH removed_rows AS (
        SELECT account_id, booked_on AS day, booked_minor AS minor, transaction_id,
            coalesce(first_reported, CASE WHEN missing THEN event_time END) AS at
        FROM transactions
        WHERE tenant = :tenant AND {within("account_id")} AND removed AND booked_on IS NOT NULL
          AND (first_reported IS NOT NULL OR missing)),
    standing AS (
        SELECT account_id, dated AS day, amount_minor AS minor, coalesce(first_reported, event_time) AS at,
            transaction_id
        FROM transactions
        WHERE tenant = :tenant AND {within("account_id")} AND counts AND dated IS NOT NULL
          AND (account_id, dated, amount_minor) IN (SELECT account_id, day, minor FROM removed_rows)),
    numbered AS (
        SELECT *, row_number() OVER (PARTITION BY account_id, day, minor, is_standing
                ORDER BY at, transaction_id COLLATE "C") AS number,
            count(*) FILTER (WHERE is_standing) OVER (PARTITION BY account_id, day, minor
                ORDER BY at, is_standing DESC ROWS UNBOUNDED PRECEDING) + 1 AS next_number
        FROM (SELECT *, false AS is_standing FROM removed_rows
            UNION ALL SELECT account_id, day, minor, transaction_id, at, true FROM standing) AS both_kinds),
    lending AS (
        SELECT account_id, day, minor, at, number + max(next_number - number)
            OVER (PARTITION BY account_id, day, minor ORDER BY number) AS lends_to
        FROM numbered WHERE NOT is_standing),
    lent AS (
        SELECT n.account_id, n.transaction_id, l.at
        FROM numbered n JOIN lending l ON l.account_id = n.account_id AND l.day = n.day AND l.minor = n.minor
            AND l.lends_to = n.number
        WHERE n.is_standing),
    stored AS (
        SELECT account_id, transaction_id, lent_at FROM transactions
        WHERE tenant = :tenant AND {within("account_id")} AND lent_at IS NOT NULL)
    SELECT account_id, transaction_id, 'lent_at', CAST(stored.lent_at AS text), CAST(lent.at AS text)
    FROM stored FULL JOIN lent USING (account_id, transaction_id)"""

# Of an account without such rows nothing is kept. How this is computed for all others of a range, with a few passes
# over their rows and reports in order of time, and no joins but by equal keys:
#
# 1. `balances`: the reports of an account in order. The time from report number k to the next is the interval k.
# 2. `effective`: in order of first reports, the report before each row, and the number of reports before it.
# 3. `based`: where each row is placed by that. In order of these places, the sum of each interval (`sums`).
# 4. `candidates`: rows with only a date that may be moved. The report at which interval `of_interval` begins is taken
#    to include it. In the interval `number`: `is_own_day`, `is_earlier`.
# 5. An interval depends on the one after it, if that one moved rows that were taken to be in their report. `picks` are
#    all that intervals can so move: all such rows, or one of each amount. `steps` says for each of them, and for none,
#    what the interval before then picks. So each pick is followed by another one (`follows`): that of the interval
#    before, or if it has none, the first one of an earlier interval that follows none. `picked` goes along these. It
#    looks numbers up in one array, since to join by key would read everything in each step.
# 6. `evaluated`: the gap of each interval, with all that may explain it, and `moved`.
_PLACES = f"""
    WITH RECURSIVE {ODD},
    reported AS (
        SELECT account_id, count(*) AS reports FROM reports
        WHERE tenant = :tenant AND {within("account_id")} GROUP BY account_id),
    scope AS MATERIALIZED (
        SELECT row_number() OVER () AS account, a.account_id, {sign("a")} AS sign, a.first_recorded_at,
            coalesce(r.reports, 0) AS reports
        FROM accounts a LEFT JOIN reported r USING (account_id)
        WHERE a.tenant = :tenant AND a.has_dates AND {within("a.account_id")}),
    balances AS MATERIALIZED (
        SELECT account, account_id, number, as_of AS begin_at, next_at AS end_at, next_worth - worth AS moved_minor,
            gap_minor, has_moved, {local_day("as_of")} AS day
        FROM (SELECT s.account, s.account_id, r.as_of, r.gap_minor, r.has_moved, r.current_minor * s.sign AS worth,
                row_number() OVER w AS number, lead(r.as_of) OVER w AS next_at,
                lead(r.current_minor * s.sign) OVER w AS next_worth
            FROM scope s JOIN reports r ON r.account_id = s.account_id
            WHERE r.tenant = :tenant AND {within("r.account_id")}
            WINDOW w AS (PARTITION BY s.account ORDER BY r.as_of)) AS in_order),
    effective AS (
        SELECT account, transaction_id, dated, amount_minor, reported_at, posted_at, is_of_report,
            CASE WHEN is_of_report THEN report_at ELSE reported_at END AS effective_at,
            CASE WHEN is_of_report OR reported_at = report_at THEN reports - 1 ELSE reports END AS number
        FROM (SELECT *, coalesce(dated IS NOT NULL AND reported_at - report_at <= interval '15 minutes', false)
                AS is_of_report
            FROM (SELECT *, max(as_of) OVER w AS report_at, count(as_of) OVER w AS reports
                FROM (SELECT s.account, t.transaction_id, t.dated, t.amount_minor, t.posted_at,
                        coalesce(t.lent_at, t.first_reported, t.event_time) AS reported_at,
                        CAST(NULL AS timestamptz) AS as_of, 1 AS turn
                    FROM scope s JOIN transactions t ON t.account_id = s.account_id
                    WHERE t.tenant = :tenant AND {within("t.account_id")} AND t.counts
                      AND (t.dated IS NOT NULL OR s.reports > 1)
                    UNION ALL
                    SELECT account, NULL, NULL, NULL, NULL, begin_at, begin_at, 0 FROM balances) AS both_kinds
                WINDOW w AS (PARTITION BY account ORDER BY reported_at, turn ROWS UNBOUNDED PRECEDING)) AS merged
            WHERE turn = 1) AS after_reports),
    based AS MATERIALIZED (
        SELECT *, CASE WHEN dated IS NULL THEN posted_at ELSE {within_day("effective_at", "dated")} END AS base_at
        FROM effective),
    sums AS (
        SELECT account, base_number AS number, sum(amount_minor) AS minor
        FROM (SELECT *, count(as_of) OVER (PARTITION BY account ORDER BY base_at, turn ROWS UNBOUNDED PRECEDING)
                AS base_number
            FROM (SELECT account, base_at, amount_minor, number, CAST(NULL AS timestamptz) AS as_of, 0 AS turn
                FROM based
                UNION ALL SELECT account, begin_at, NULL, NULL, begin_at, 1 FROM balances) AS both_kinds) AS merged
        WHERE turn = 0 AND number <= base_number
        GROUP BY account, base_number),
    candidates AS MATERIALIZED (
        SELECT r.account, r.transaction_id, r.amount_minor, r.reported_at, r.number,
            CASE WHEN r.is_of_report AND r.base_at = r.effective_at THEN r.number + 1 END AS of_interval,
            b.end_at IS NOT NULL AND r.dated = b.day AND r.base_at > b.begin_at AS is_own_day,
            b.end_at IS NOT NULL AND b.day - r.dated BETWEEN 1 AND 7
                AND coalesce(r.reported_at > s.first_recorded_at + interval '15 minutes', true) AS is_earlier
        FROM based r JOIN scope s ON s.account = r.account
        LEFT JOIN balances b ON b.account = r.account AND b.number = r.number
        WHERE r.dated IS NOT NULL AND s.reports > 1),
    intervals AS MATERIALIZED (
        SELECT b.account, b.number, b.begin_at, b.end_at, b.day, b.moved_minor - coalesce(sums.minor, 0) AS gap_minor,
            coalesce(own.own_day_minor, 0) AS own_day_minor, coalesce(own.earlier_minor, 0) AS earlier_minor
        FROM balances b LEFT JOIN sums ON sums.account = b.account AND sums.number = b.number
        LEFT JOIN (
            SELECT account, number, sum(amount_minor) FILTER (WHERE is_own_day) AS own_day_minor,
                sum(amount_minor) FILTER (WHERE is_earlier) AS earlier_minor
            FROM candidates WHERE is_own_day OR is_earlier GROUP BY account, number) AS own
          ON own.account = b.account AND own.number = b.number
        WHERE b.end_at IS NOT NULL),
    of_report AS MATERIALIZED (
        SELECT c.account, c.of_interval AS number, c.transaction_id, c.amount_minor,
            CASE WHEN c.is_own_day THEN c.amount_minor ELSE 0 END AS own_day_minor
        FROM candidates c
        JOIN (SELECT DISTINCT account FROM intervals WHERE gap_minor <> 0) AS with_gaps ON with_gaps.account = c.account
        WHERE c.of_interval IS NOT NULL),
    picks AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY account, number) AS pick, account, number, transaction_id, minor,
            own_day_minor
        FROM (SELECT account, number, CAST(NULL AS text) AS transaction_id, sum(amount_minor) AS minor,
                sum(own_day_minor) AS own_day_minor
            FROM of_report GROUP BY account, number
            UNION ALL
            (SELECT DISTINCT ON (account, number, amount_minor) account, number, transaction_id, amount_minor,
                own_day_minor
            FROM of_report ORDER BY account, number, amount_minor, transaction_id COLLATE "C")) AS possible
        WHERE minor <> 0),
    steps AS MATERIALIZED (
        SELECT gaps.account, gaps.number, gaps.after_pick, CASE
            WHEN whole.pick IS NOT NULL THEN whole.pick
            WHEN gaps.gap_minor = gaps.earlier_minor OR gaps.gap_minor = -gaps.own_day_minor THEN NULL
            ELSE single.pick END AS pick
        FROM (SELECT account, number, CAST(NULL AS bigint) AS after_pick, gap_minor, own_day_minor, earlier_minor
            FROM intervals
            UNION ALL
            SELECT i.account, i.number, p.pick, i.gap_minor + p.minor, i.own_day_minor - p.own_day_minor,
                i.earlier_minor
            FROM picks p JOIN intervals i ON i.account = p.account AND i.number = p.number - 1) AS gaps
        LEFT JOIN picks whole ON whole.account = gaps.account AND whole.number = gaps.number
            AND whole.minor = gaps.gap_minor AND whole.transaction_id IS NULL
        LEFT JOIN picks single ON single.account = gaps.account AND single.number = gaps.number
            AND single.minor = gaps.gap_minor AND single.transaction_id IS NOT NULL),
    firsts AS MATERIALIZED (
        SELECT account, number, pick FROM steps WHERE after_pick IS NULL AND pick IS NOT NULL),
    followed AS (
        SELECT array_agg(coalesce(step.pick, earlier.pick, 0) ORDER BY earlier.after_pick) AS picks
        FROM (SELECT after_pick, max(pick) OVER (PARTITION BY account ORDER BY number, turn ROWS UNBOUNDED PRECEDING)
                AS pick
            FROM (SELECT account, number, 0 AS turn, CAST(NULL AS bigint) AS after_pick, pick FROM firsts
                UNION ALL SELECT account, number - 2, 1, pick, NULL FROM picks) AS both_kinds) AS earlier
        LEFT JOIN steps step ON step.after_pick = earlier.after_pick
        WHERE earlier.after_pick IS NOT NULL),
    picked AS (
        SELECT max(pick) AS pick FROM firsts GROUP BY account
        UNION ALL
        SELECT (SELECT picks FROM followed)[pick] FROM picked WHERE (SELECT picks FROM followed)[pick] > 0),
    chosen AS MATERIALIZED (SELECT picks.* FROM picked JOIN picks USING (pick)),
    evaluated AS MATERIALIZED (
        SELECT account, number, begin_at, end_at, gap_minor, after_most, own_pick, next_pick, CASE
            WHEN gap_minor = 0 THEN 'none'
            WHEN own_pick IS NOT NULL THEN 'of_report'
            WHEN gap_minor = earlier_minor THEN 'earlier'
            WHEN gap_minor = -own_day_minor THEN 'own day'
            ELSE 'one' END AS moves
        FROM (SELECT i.account, i.number, i.begin_at, i.end_at, i.earlier_minor, own.pick AS own_pick,
                next.pick AS next_pick, i.gap_minor + coalesce(next.minor, 0) AS gap_minor,
                i.own_day_minor - coalesce(next.own_day_minor, 0) AS own_day_minor, {day_end("i.day")} AS after_most
            FROM intervals i
            LEFT JOIN chosen own ON own.account = i.account AND own.number = i.number
            LEFT JOIN chosen next ON next.account = i.account AND next.number = i.number + 1) AS with_picks),
    moved_from_report AS MATERIALIZED (
        SELECT c.account, c.transaction_id, c.of_interval AS number, c.reported_at
        FROM candidates c JOIN chosen p ON p.account = c.account AND p.number = c.of_interval
        WHERE p.transaction_id IS NULL OR p.transaction_id = c.transaction_id),
    explaining AS MATERIALIZED (
        SELECT c.account, c.transaction_id, c.number, c.reported_at, c.amount_minor, c.is_own_day, j.moves,
            j.gap_minor
        FROM candidates c JOIN evaluated j ON j.account = c.account AND j.number = c.number
        LEFT JOIN moved_from_report m ON m.account = c.account AND m.transaction_id = c.transaction_id
        WHERE (c.is_own_day OR c.is_earlier) AND j.moves IN ('earlier', 'own day', 'one')
          AND m.transaction_id IS NULL),
    moved AS MATERIALIZED (
        SELECT account, transaction_id, number, reported_at, false AS is_back FROM moved_from_report
        UNION ALL
        SELECT account, transaction_id, number, reported_at, is_own_day FROM explaining
        WHERE moves = CASE WHEN is_own_day THEN 'own day' ELSE 'earlier' END
        UNION ALL
        (SELECT DISTINCT ON (account, number) account, transaction_id, number, reported_at, is_own_day FROM explaining
        WHERE moves = 'one' AND amount_minor = CASE WHEN is_own_day THEN -gap_minor ELSE gap_minor END
        ORDER BY account, number, is_own_day DESC, transaction_id COLLATE "C")),
    places AS (
        SELECT m.account, m.transaction_id, CASE WHEN m.is_back THEN j.begin_at
            ELSE greatest(least(m.reported_at, j.after_most), j.begin_at + {INSTANT}) END AS at
        FROM moved m JOIN evaluated j ON j.account = m.account AND j.number = m.number),
    counted AS (
        SELECT s.account_id, r.transaction_id, CAST(r.posted_at AS text) AS stored,
            CAST(coalesce(p.at, r.base_at) AS text) AS expected
        FROM based r JOIN scope s ON s.account = r.account
        LEFT JOIN places p ON p.account = r.account AND p.transaction_id = r.transaction_id
        WHERE r.dated IS NOT NULL),
    intervals_stored AS (
        SELECT b.account_id, b.begin_at AS as_of, b.gap_minor, b.has_moved, coalesce(j.gap_minor, 0) AS expected_minor,
            m.number IS NOT NULL AS expected_moved
        FROM balances b LEFT JOIN evaluated j ON j.account = b.account AND j.number = b.number - 1
        LEFT JOIN (SELECT DISTINCT account, number FROM moved) AS m
          ON m.account = b.account AND m.number = b.number - 1)
    SELECT account_id, transaction_id, CAST(NULL AS timestamptz) AS as_of, 'posted_at' AS what, stored, expected
    FROM counted
    UNION ALL
    SELECT account_id, transaction_id, NULL, 'posted_at', CAST(posted_at AS text), CAST({
    within_day("coalesce(first_reported, event_time)", "dated")
} AS text)
    FROM transactions WHERE tenant = :tenant AND {within("account_id")} AND dated IS NOT NULL AND NOT counts
    UNION ALL
    SELECT account_id, NULL, as_of, 'gap_minor', CAST(gap_minor AS text), CAST(expected_minor AS text)
    FROM intervals_stored
    UNION ALL
    SELECT account_id, NULL, as_of, 'has_moved', CAST(has_moved AS text), CAST(expected_moved AS text)
    FROM intervals_stored
    UNION ALL
    SELECT r.account_id, NULL, r.as_of, v.what, v.stored, v.expected
    FROM reports r
    JOIN accounts a ON a.tenant = r.tenant AND a.account_id = r.account_id AND NOT a.has_dates
    CROSS JOIN LATERAL (VALUES ('gap_minor', CAST(r.gap_minor AS text), '0'),
        ('has_moved', CAST(r.has_moved AS text), 'false')) AS v(what, stored, expected)
    WHERE r.tenant = :tenant AND {within("r.account_id")} AND (r.gap_minor <> 0 OR r.has_moved)"""

PLACEMENT_CHECKS = (
    Check(
        "first_reports",
        "what is kept of records that no longer count, and the first reports that removed rows lend, fit together",
        ("account_id", "transaction_id"),
        f"{_KEPT} UNION ALL SELECT * FROM ({_LENT}) AS lent_times",
    ),
    Check(
        "places",
        "rows with only a date are placed by first reports and balances; what is kept of the time between balances",
        ("account_id", "transaction_id", "as_of"),
        _PLACES,
    ),
)
