"""The checks of snapshots: every row of the closed days, and that rewrites can be undone step by step."""

from core.verify.checks import (
    NEVER,
    ODD,
    Check,
    counting,
    counts,
    direction,
    follows,
    is_known,
    is_repeated,
    local_day,
    share,
    sign,
    timeline,
    within,
)

_SEGMENTS = """
    SELECT goal_id, manual_at, amount_minor, lead(manual_at) OVER w AS manual_next,
        amount_minor - coalesce(lag(amount_minor) OVER w, 0) AS step
    FROM (
        SELECT g.goal_id, timestamptz '-infinity' AS manual_at, coalesce(g.start_minor, e.after_minor) AS amount_minor
        FROM g CROSS JOIN LATERAL (SELECT after_minor FROM goal_entries
            WHERE tenant = :tenant AND goal_id = g.goal_id AND entry = 1 OFFSET 0) AS e
        UNION ALL
        SELECT g.goal_id, y.manual_at, y.amount_minor
        FROM g CROSS JOIN LATERAL (SELECT manual_at, amount_minor FROM manual_amounts
            WHERE tenant = :tenant AND goal_id = g.goal_id OFFSET 0) AS y
        WHERE y.manual_at <= coalesce(g.final_at, 'infinity')) AS manual
    WINDOW w AS (PARTITION BY goal_id ORDER BY manual_at)"""

# A late range that makes all later snapshots dirty too, because no report takes back inflow, or because a measure on
# one of its days may be the base or the end of what the goal counts.
_LATE_FOR_GOOD = f"""CASE WHEN a.late_from IS NULL THEN NULL
    WHEN g.tracking = 'inflow'
        OR EXISTS (SELECT FROM (VALUES (l.from_at), (l.until_at), (g.final_at)) AS turns(at)
            WHERE {local_day("turns.at")} BETWEEN a.late_from AND a.late_through + 1)
        OR EXISTS (SELECT FROM manual_amounts y WHERE y.tenant = :tenant AND y.goal_id = g.goal_id
            AND {local_day("y.manual_at")} BETWEEN a.late_from AND a.late_through + 1)
    THEN a.late_from END"""

_FUNDING = f"""
    SELECT g.goal_id, g.is_following, g.final_at, l.from_at, l.until_at, l.ppm, l.measure,
        l.account_id, a.kind, a.chain_id, a.joined_as, a.counts_from, a.counts_until, a.known_by_rows_at,
        {is_known("g", "a")} AS is_known, {counts("g", "a")} AND NOT {is_repeated("g", "l", "a")} AS counts,
        least(a.dirty_from, {_LATE_FOR_GOOD}) AS dirty_from,
        a.late_from, a.late_through
    FROM g
    CROSS JOIN LATERAL (SELECT * FROM links WHERE tenant = :tenant AND goal_id = g.goal_id OFFSET 0) AS l
    CROSS JOIN LATERAL (
        SELECT * FROM accounts WHERE tenant = :tenant AND account_id = l.account_id OFFSET 0) AS a"""

# A piece is a part of a link's time. The facts from begin_at on and before cap_at count in it, and it has a value at
# the end of the days from first_day on and before end_day.
_PIECES = f"""
    SELECT row_number() OVER () AS piece, pieces.*, {local_day("begin_at")} AS first_day,
        CASE WHEN gone_at IS NOT NULL THEN {local_day("gone_at")} END AS end_day
    FROM (
        SELECT f.goal_id, f.account_id, f.ppm, f.measure, false AS is_following, false AS is_known,
            greatest(f.from_at, s.manual_at) AS begin_at,
            least(f.until_at, f.final_at, s.manual_next, 'infinity') AS cap_at, s.manual_next AS gone_at
        FROM funding f JOIN segments s USING (goal_id) WHERE f.counts AND NOT f.is_following
        UNION ALL
        SELECT goal_id, account_id, ppm, measure, true, is_known, from_at, least(until_at, final_at, 'infinity'),
            CASE WHEN until_at >= final_at THEN NULL ELSE until_at END
        FROM funding WHERE counts AND is_following) AS pieces
    WHERE begin_at < cap_at"""

# The accounts that count where a link names `named_id`, each with the time in which it counts.
_SPANNED = f"""
    SELECT DISTINCT f.account_id AS named_id, c.account_id, {sign("c")} AS sign, c.counts_from, c.counts_until,
        c.joined_as IS NULL AND c.counts_from IS NULL AS is_alone
    FROM funding f CROSS JOIN LATERAL {counting("f")} AS c WHERE f.counts"""

# The measures are wanted where pieces begin, where accounts begin and end to count, and before all facts.
_QUESTIONS = f"""
    SELECT s.account_id, p.begin_at AS at FROM pieces p JOIN spanned s ON s.named_id = p.account_id
    UNION SELECT s.account_id, v.at FROM spanned s
        CROSS JOIN LATERAL (VALUES (s.counts_from), (s.counts_until), ('-infinity')) AS v(at)
        WHERE NOT s.is_alone AND v.at < {NEVER}"""

# Of accounts that count for a time: at their limits there is a row with turn 0, before the limit, and another with
# turn 1, after it and before all facts of that moment.
_LIMITED = """
    SELECT s.named_id, s.account_id, t.at, v.turn, t.inflow, v.counts,
        CASE WHEN v.counts THEN t.worth ELSE 0 END AS worth
    FROM spanned s JOIN timeline t USING (account_id)
    CROSS JOIN LATERAL (
        SELECT turn, CASE WHEN turn = 0
            THEN coalesce(s.counts_from < t.at, true) AND coalesce(t.at <= s.counts_until, true)
            ELSE coalesce(s.counts_from <= t.at, true) AND coalesce(t.at < s.counts_until, true) END AS counts
        FROM (SELECT 2 * t.turn AS turn UNION ALL SELECT 1 WHERE t.turn = 0 AND t.at IN (s.counts_from, s.counts_until))
            AS turns) AS v
    WHERE NOT s.is_alone"""

# What links to accounts measure after each fact of these, and of those that are joined with them.
_COUNTED = f"""
    SELECT s.named_id AS account_id, t.at, 2 * t.turn AS turn, t.worth, t.inflow
    FROM spanned s JOIN timeline t USING (account_id) WHERE s.is_alone
    UNION ALL
    SELECT named_id, at, turn, sum(worth_step) OVER w, sum(inflow_step) OVER w
    FROM (
        SELECT named_id, at, turn, worth - lag(worth, 1, CAST(0 AS numeric)) OVER v AS worth_step,
            CASE WHEN counts THEN inflow - lag(inflow, 1, CAST(0 AS numeric)) OVER v ELSE 0 END AS inflow_step
        FROM ({_LIMITED}) AS limited
        WINDOW v AS (PARTITION BY named_id, account_id ORDER BY at, turn)) AS steps
    WINDOW w AS (PARTITION BY named_id ORDER BY at, turn)"""

_VALUES = f"""
    SELECT piece, goal_id, day, at, turn, {share("measured - base", "ppm")} AS value,
        CAST(is_known AS integer) AS known
    FROM (
        SELECT p.piece, p.goal_id, p.ppm, p.is_known, t.at, t.turn, m.measured,
            CASE WHEN p.is_following THEN 0 ELSE first_value(m.measured)
                OVER (PARTITION BY p.piece ORDER BY t.at, t.turn) END AS base,
            p.end_day, {local_day("t.at")} AS day
        FROM pieces p JOIN counted t USING (account_id)
        CROSS JOIN LATERAL (SELECT CASE p.measure WHEN 'inflow' THEN t.inflow ELSE t.worth END AS measured) AS m
        WHERE t.at >= p.begin_at AND t.at < p.cap_at) AS measures
    WHERE day < coalesce(end_day, 'infinity')
    UNION ALL
    SELECT piece, goal_id, end_day, gone_at, 9, 0, 0 FROM pieces WHERE end_day > first_day"""

# The last value of each day, as a change from the day before.
_STEPS = f"""
    SELECT goal_id, day, value - lag(value, 1, CAST(0 AS numeric)) OVER w AS step,
        known - lag(known, 1, 0) OVER w AS known
    FROM (SELECT *, lead(day) OVER (PARTITION BY piece ORDER BY day, at, turn) AS next_day
          FROM ({_VALUES}) AS every_value) AS followed
    WHERE next_day IS DISTINCT FROM day
    WINDOW w AS (PARTITION BY piece ORDER BY day)"""

_EXPECTED = f"""
    SELECT goal_id, day, amount FROM (
        SELECT goal_id, day, amount, lag(amount) OVER (PARTITION BY goal_id ORDER BY day) AS amount_before
        FROM (
            SELECT goal_id, day, CASE WHEN is_following AND known > 0 THEN funded WHEN is_following THEN manual
                ELSE manual + funded END AS amount
            FROM (
                SELECT g.goal_id, g.is_following, c.day, sum(c.manual) OVER w AS manual,
                    g.direction * sum(c.step) OVER w AS funded, sum(c.known) OVER w AS known
                FROM g JOIN (
                    SELECT goal_id, greatest(day, start_date) AS day, sum(manual) AS manual, sum(step) AS step,
                        sum(known) AS known
                    FROM (
                        SELECT goal_id, CASE WHEN manual_at = '-infinity' THEN date '-infinity'
                            ELSE {local_day("manual_at")} END AS day, step AS manual, 0 AS step, 0 AS known
                        FROM segments
                        UNION ALL SELECT goal_id, day, 0, step, known FROM ({_STEPS}) AS steps) AS changes
                    JOIN g USING (goal_id) GROUP BY 1, 2) AS c USING (goal_id)
                WINDOW w AS (PARTITION BY g.goal_id ORDER BY c.day)) AS sums) AS amounts) AS closes
    WHERE amount IS DISTINCT FROM amount_before AND day <= :closed_through"""

# The expected and the stored rows, day by day, and a row for the day after each late range, which may have neither.
_DAYS = """
    SELECT goal_id, day, max(expected) AS expected, max(stored) AS stored
    FROM (
        SELECT goal_id, day, amount AS expected, CAST(NULL AS bigint) AS stored FROM expected
        UNION ALL
        SELECT goal_id, s.day, NULL, s.amount_minor FROM g CROSS JOIN LATERAL (
            SELECT day, amount_minor FROM goal_snapshots
            WHERE tenant = :tenant AND goal_id = g.goal_id AND day <= :closed_through OFFSET 0) AS s
        UNION ALL
        SELECT goal_id, late_through + 1, NULL, NULL FROM late JOIN g USING (goal_id)
        WHERE late_through < :closed_through AND late_through >= start_date) AS sides
    GROUP BY goal_id, day"""

_IS_DIRTY = "({day} >= dirty.dirty_from OR coalesce(dirty.late_days @> {day}, false))"

_SNAPSHOTS = f"""
    WITH {ODD},
    g AS MATERIALIZED (
        SELECT goal_id, type, tracking, currency, start_date, final_at, dirty_from,
            CASE WHEN starts_at_balance THEN start_minor END AS start_minor,
            {direction("goals")} AS direction, {follows("goals")} AS is_following
        FROM goals
        WHERE tenant = :tenant AND {within("goal_id")} AND start_date <= :closed_through),
    segments AS MATERIALIZED ({_SEGMENTS}),
    funding AS MATERIALIZED ({_FUNDING}),
    pieces AS MATERIALIZED ({_PIECES}),
    spanned AS MATERIALIZED ({_SPANNED}),
    scope AS (SELECT DISTINCT account_id, sign FROM spanned),
    {timeline("scope", _QUESTIONS)},
    counted AS MATERIALIZED ({_COUNTED}),
    expected AS MATERIALIZED ({_EXPECTED}),
    late AS MATERIALIZED (
        SELECT DISTINCT goal_id, late_from, late_through FROM funding WHERE late_from IS NOT NULL),
    dirty AS MATERIALIZED (
        SELECT g.goal_id, coalesce(least(g.dirty_from, min(f.dirty_from)), 'infinity') AS dirty_from,
            range_agg(daterange(f.late_from, f.late_through, '[]')) FILTER (WHERE f.late_from IS NOT NULL) AS late_days
        FROM g LEFT JOIN funding f USING (goal_id) GROUP BY g.goal_id, g.dirty_from),
    days AS (
        SELECT d.goal_id, d.day, d.stored, d.expected,
            d.day <= g.start_date OR NOT {_IS_DIRTY.format(day="(d.day - 1)")} AS is_known_before,
            {_IS_DIRTY.format(day="d.day")} AS is_dirty,
            count(d.stored) OVER w AS stored_rows, count(d.expected) OVER w AS expected_rows
        FROM ({_DAYS}) AS d JOIN g ON g.goal_id = d.goal_id JOIN dirty ON dirty.goal_id = d.goal_id
        WINDOW w AS (PARTITION BY d.goal_id ORDER BY d.day)),
    filled AS (
        SELECT *, max(stored) OVER (PARTITION BY goal_id, stored_rows) AS stored_amount,
            max(expected) OVER (PARTITION BY goal_id, expected_rows) AS expected_amount
        FROM days)
    SELECT goal_id, day, 'amount_minor' AS what,
        CAST(CASE WHEN is_known_before THEN stored ELSE stored_amount END AS text) AS stored,
        CAST(CASE WHEN is_known_before THEN expected ELSE expected_amount END AS text) AS expected
    FROM filled WHERE NOT is_dirty"""

# What a goal can reach: its milestones and its target.
_REACHABLE = """
    SELECT g.*, m.amount_minor AS milestone_minor, m.amount_minor AS threshold_minor, m.reached_at
    FROM g CROSS JOIN LATERAL (SELECT amount_minor, reached_at FROM milestones
        WHERE tenant = :tenant AND goal_id = g.goal_id OFFSET 0) AS m
    UNION ALL
    SELECT g.*, NULL, CASE g.type WHEN 'debt' THEN g.finish_minor ELSE g.target_minor END, g.target_reached_at FROM g"""

# The moments at which an amount may change: the first of a day, facts, and what was done to the goal.
_IS_MOMENT = f"""({local_day("r.reached_at")} <> {local_day("(r.reached_at - interval '1 microsecond')")}
    OR r.reached_at = r.final_at
    OR EXISTS (SELECT FROM manual_amounts y
        WHERE y.tenant = :tenant AND y.goal_id = r.goal_id AND y.manual_at = r.reached_at)
    OR EXISTS (SELECT FROM links l WHERE l.tenant = :tenant AND l.goal_id = r.goal_id
        AND (r.reached_at IN (l.from_at, l.until_at) OR EXISTS (
            SELECT FROM (SELECT * FROM accounts WHERE tenant = :tenant AND account_id = l.account_id OFFSET 0) AS a
            CROSS JOIN LATERAL {counting("a")} AS c
            WHERE r.reached_at IN (c.counts_from, c.counts_until)
                OR EXISTS (SELECT FROM transactions t WHERE t.tenant = :tenant AND t.account_id = c.account_id
                    AND t.counts AND t.posted_at = r.reached_at)
                OR EXISTS (SELECT FROM reports p WHERE p.tenant = :tenant AND p.account_id = c.account_id
                    AND p.as_of = r.reached_at)))))"""

_MARKS = f"""
    WITH {ODD}, g AS MATERIALIZED (
        SELECT goal_id, type, finish_minor, target_minor, reached_at AS target_reached_at, final_at,
            {direction("goals")} AS direction
        FROM goals
        WHERE tenant = :tenant AND {within("goal_id")} AND status IN ('active', 'completed') AND waiting_for = '{{}}'
            AND start_minor IS NOT NULL AND start_date <= :closed_through
            AND coalesce(dirty_from, 'infinity') > :closed_through
            AND NOT EXISTS (
                SELECT FROM links l JOIN accounts a ON a.tenant = l.tenant AND a.account_id = l.account_id
                WHERE l.tenant = :tenant AND l.goal_id = goals.goal_id
                  AND least(a.dirty_from, a.late_from) <= :closed_through)),
    dated AS (
        SELECT r.*, {local_day("r.reached_at")} AS reached_on, {_IS_MOMENT} AS is_moment, (
            SELECT min(s.day) FROM goal_snapshots s
            WHERE s.tenant = :tenant AND s.goal_id = r.goal_id AND s.day <= :closed_through
              AND r.direction * s.amount_minor >= r.direction * r.threshold_minor) AS first_day
        FROM ({_REACHABLE}) AS r)
    SELECT goal_id, milestone_minor AS amount_minor, 'day reached' AS what,
        coalesce(CAST(reached_on AS text), 'none') AS stored,
        CASE WHEN first_day IS NOT NULL THEN CAST(first_day AS text) WHEN reached_on > :closed_through
            THEN CAST(reached_on AS text) ELSE 'none' END AS expected
    FROM dated
    UNION ALL
    SELECT goal_id, milestone_minor, 'moment reached', CAST(reached_at AS text),
        CASE WHEN is_moment THEN CAST(reached_at AS text) ELSE 'the moment of a fact' END
    FROM dated WHERE reached_on <= :closed_through"""

SNAPSHOT_CHECKS = (
    Check(
        "goal_snapshots",
        "the rows of the closed days follow from the facts by the definition: none wrong, none missing, none too many",
        ("goal_id", "day"),
        _SNAPSHOTS,
    ),
    Check(
        "marks",
        "milestones and targets are reached on the first day whose close is there, at a moment of that day; what no"
        " close bears out is not reached",
        ("goal_id", "amount_minor"),
        _MARKS,
    ),
)


_FOLLOWED = """
    SELECT r.goal_id, r.day, r.rewritten_at, r.before_minor, r.start_date, r.is_oldest,
        CASE WHEN r.is_newest THEN s.amount_minor ELSE r.before_of_next END AS after_minor
    FROM (
        SELECT rewrites.*, g.start_date, rewritten_at = min(rewritten_at) OVER (PARTITION BY goal_id) AS is_oldest,
            lead(before_minor) OVER w AS before_of_next, lead(rewritten_at) OVER w IS NULL AS is_newest
        FROM rewrites LEFT JOIN g USING (goal_id)
        WINDOW w AS (PARTITION BY goal_id, day ORDER BY rewritten_at)) AS r
    LEFT JOIN LATERAL (SELECT amount_minor FROM goal_snapshots
        WHERE tenant = :tenant AND goal_id = r.goal_id AND day = r.day OFFSET 0) AS s ON r.is_newest"""

# Only up to the last day that the newest rewrite changed, since it is not known which later days were closed then.
_FOUND = """
    SELECT goal_id, day, rewritten_at, amount_minor, lag(amount_minor) OVER (PARTITION BY goal_id ORDER BY day)
        AS amount_before
    FROM (
        SELECT goal_id, day, rewritten_at, before_minor AS amount_minor FROM newest WHERE before_minor IS NOT NULL
        UNION ALL
        SELECT n.goal_id, s.day, n.rewritten_at, s.amount_minor
        FROM (SELECT goal_id, rewritten_at, max(day) AS last FROM newest GROUP BY goal_id, rewritten_at) AS n
        CROSS JOIN LATERAL (SELECT day, amount_minor FROM goal_snapshots
            WHERE tenant = :tenant AND goal_id = n.goal_id AND day <= n.last OFFSET 0) AS s
        LEFT JOIN newest ON newest.goal_id = n.goal_id AND newest.day = s.day
        WHERE newest.day IS NULL) AS found"""

_REWRITES = f"""
    WITH rewrites AS MATERIALIZED (
        SELECT goal_id, day, rewritten_at, before_minor FROM close_rewrites
        WHERE tenant = :tenant AND {within("goal_id")}),
    g AS MATERIALIZED (SELECT goal_id, start_date FROM goals WHERE tenant = :tenant AND {within("goal_id")}),
    newest AS MATERIALIZED (
        SELECT goal_id, day, rewritten_at, before_minor
        FROM (SELECT *, max(rewritten_at) OVER (PARTITION BY goal_id) AS last_at FROM rewrites) AS dated
        WHERE rewritten_at = last_at)
    SELECT goal_id, day, rewritten_at, v.what, v.stored, v.expected
    FROM ({_FOLLOWED}) AS followed CROSS JOIN LATERAL (VALUES
        ('day', CAST(day AS text), CASE WHEN day BETWEEN start_date AND :closed_through THEN CAST(day AS text)
            ELSE 'a closed day of a goal' END),
        ('close after it', CASE WHEN after_minor IS DISTINCT FROM before_minor THEN 'another' ELSE 'the same' END,
            'another'),
        ('what came before it', CASE WHEN day = start_date AND before_minor IS NULL AND NOT is_oldest
            THEN 'rewritten closes' ELSE 'closes' END, 'closes')) AS v(what, stored, expected)
    UNION ALL
    SELECT goal_id, day, rewritten_at, 'row before it', CAST(amount_minor AS text),
        CASE WHEN amount_minor = amount_before THEN NULL ELSE CAST(amount_minor AS text) END
    FROM ({_FOUND}) AS found"""

REWRITE_CHECKS = (
    Check(
        "close_rewrites",
        "undoing the recorded rewrites, starting from the present snapshots, leads to snapshots that are possible",
        ("goal_id", "day", "rewritten_at"),
        _REWRITES,
    ),
)
