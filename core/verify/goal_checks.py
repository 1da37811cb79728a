"""The checks of goals: what their links measure, amounts, ledgers, shares, milestones and messages, and which links."""

from core.verify.checks import (
    INSTANT,
    Check,
    counts,
    direction,
    follows,
    is_known,
    is_repeated,
    known_at,
    measure_before,
    share,
    within,
)

# The valid manual amount and its moment; the moment is null for the amount given at creation.
_MANUAL = """
    SELECT manual_at, amount_minor FROM (
        (SELECT y.manual_at, y.amount_minor FROM manual_amounts y
         WHERE y.tenant = :tenant AND y.goal_id = g.goal_id AND y.manual_at <= coalesce(g.final_at, 'infinity')
         ORDER BY y.manual_at DESC LIMIT 1)
        UNION ALL
        SELECT NULL, coalesce(CASE WHEN g.starts_at_balance THEN g.start_minor END, e.after_minor)
        FROM goal_entries e
        WHERE e.tenant = :tenant AND e.goal_id = g.goal_id AND e.entry = 1) AS choices
    ORDER BY manual_at DESC NULLS LAST LIMIT 1"""

# The row of an ended link keeps its begin and base; a later manual amount does not change them.
_LINKS = f"""
    SELECT g.goal_id, l.account_id, l.linked_at, v.what, v.stored, v.expected
    FROM goals g
    CROSS JOIN LATERAL (SELECT * FROM links WHERE tenant = :tenant AND goal_id = g.goal_id OFFSET 0) AS l
    CROSS JOIN LATERAL (
        SELECT * FROM accounts WHERE tenant = :tenant AND account_id = l.account_id OFFSET 0) AS a
    CROSS JOIN LATERAL (SELECT max(manual_at) AS at FROM manual_amounts
        WHERE tenant = :tenant AND goal_id = g.goal_id) AS manual
    CROSS JOIN LATERAL (VALUES
        ('begin_at', CAST(l.begin_at AS text), CAST(CASE
            WHEN {follows("g")} THEN NULL
            WHEN l.until_at <= manual.at THEN l.begin_at
            ELSE greatest(l.from_at, manual.at) END AS text)),
        ('base_minor', CAST(l.base_minor AS text), CASE WHEN l.begin_at IS NULL THEN '0'
            ELSE CAST({measure_before("l.measure", "a", "l.begin_at")} AS text) END),
        ('end_minor', CAST(l.end_minor AS text), CASE WHEN l.until_at IS NOT NULL
            THEN CAST({measure_before("l.measure", "a", "l.until_at")} AS text) END)) AS v(what, stored, expected)
    WHERE g.tenant = :tenant AND {within("g.goal_id")}"""

# Each link that counts, with what it adds to the goal: the change since its begin, or, for a goal that follows
# balances, the worth if the link is open or ended with the goal.
_PARTS = f"""
    SELECT g.goal_id, l.account_id, {follows("g")} AS is_following, {is_known("g", "a")} AS is_known,
        CASE WHEN g.starts_at_balance THEN {
    share(measure_before("'worth'", "a", "p.balanced_at"), "l.ppm")
} END AS start_part,
        CASE
        WHEN {follows("g")} THEN {share(measure_before("'worth'", "a", "p.final_at"), "l.ppm")}
        WHEN p.begin_at < p.until_at THEN {
    share(
        f"({measure_before('l.measure', 'a', 'p.until_at')} - {measure_before('l.measure', 'a', 'p.begin_at')})",
        "l.ppm",
    )
}
        ELSE 0 END AS part
    FROM goals g
    CROSS JOIN LATERAL (SELECT * FROM links WHERE tenant = :tenant AND goal_id = g.goal_id OFFSET 0) AS l
    CROSS JOIN LATERAL (
        SELECT * FROM accounts WHERE tenant = :tenant AND account_id = l.account_id OFFSET 0) AS a
    CROSS JOIN LATERAL ({_MANUAL}) AS manual
    CROSS JOIN LATERAL (SELECT coalesce(g.final_at, 'infinity') AS final_at, greatest(l.from_at, manual.manual_at)
            AS begin_at, least(l.until_at, g.final_at, 'infinity') AS until_at,
        greatest((SELECT min(from_at) FROM links WHERE tenant = :tenant AND goal_id = g.goal_id
            AND account_id = l.account_id), {known_at("a")} + {INSTANT}) AS balanced_at) AS p
    WHERE g.tenant = :tenant AND {within("g.goal_id")} AND {counts("g", "a")}
      AND NOT {is_repeated("g", "l", "a")}
      AND (NOT {follows("g")}
           OR (l.from_at < p.final_at AND coalesce(l.until_at, 'infinity') >= p.final_at))"""

_GOALS = f"""
    WITH sums AS (
        SELECT goal_id, sum(part) AS parts, sum(start_part) AS start_parts, bool_or(is_known) AS is_known,
            array_agg(DISTINCT account_id COLLATE "C" ORDER BY account_id COLLATE "C")
                FILTER (WHERE is_following AND NOT is_known) AS waiting_for
        FROM ({_PARTS}) AS parts GROUP BY goal_id)
    SELECT g.goal_id, v.what, v.stored, v.expected
    FROM goals g LEFT JOIN sums USING (goal_id)
    LEFT JOIN LATERAL ({_MANUAL}) AS manual ON true
    CROSS JOIN LATERAL (VALUES
        ('amount_minor', CAST(g.amount_minor AS text), CAST(CASE
            WHEN NOT {follows("g")} THEN manual.amount_minor + {direction("g")} * coalesce(sums.parts, 0)
            WHEN sums.is_known THEN {direction("g")} * sums.parts
            ELSE manual.amount_minor END AS text)),
        ('start_minor', CAST(g.start_minor AS text), CAST(CASE
            WHEN g.starts_at_balance AND sums.is_known AND sums.waiting_for IS NULL
            THEN {direction("g")} * sums.start_parts
            WHEN g.starts_at_balance AND sums.waiting_for IS NOT NULL THEN NULL
            WHEN g.starts_at_balance AND sums.goal_id IS NULL AND EXISTS (SELECT FROM links l
                WHERE l.tenant = :tenant AND l.goal_id = g.goal_id AND l.unlinked_at IS NULL) THEN NULL
            ELSE g.start_minor END AS text)),
        ('waiting_for', CAST(g.waiting_for AS text), CAST(coalesce(sums.waiting_for, '{{}}') AS text)))
        AS v(what, stored, expected)
    WHERE g.tenant = :tenant AND {within("g.goal_id")}"""

_LEDGER = f"""
    WITH lines AS (
        SELECT e.goal_id, e.entry, e.before_minor, e.after_minor, g.amount_minor,
            coalesce(lag(e.entry) OVER w, 0) + 1 AS number_due, lead(e.before_minor) OVER w AS before_of_next,
            lead(e.entry) OVER w IS NULL AS is_last
        FROM goals g JOIN goal_entries e ON e.tenant = g.tenant AND e.goal_id = g.goal_id
        WHERE g.tenant = :tenant AND e.tenant = :tenant AND {within("g.goal_id")} AND {within("e.goal_id")}
        WINDOW w AS (PARTITION BY e.goal_id ORDER BY e.entry))
    SELECT goal_id, entry, v.what, v.stored, v.expected
    FROM lines CROSS JOIN LATERAL (VALUES
        ('entry', CAST(entry AS text), CAST(number_due AS text)),
        ('before_minor', CAST(before_minor AS text), CASE WHEN number_due > 1 THEN CAST(before_minor AS text) END),
        ('after_minor', CAST(after_minor AS text), CAST(CASE WHEN is_last THEN amount_minor ELSE before_of_next END
            AS text))) AS v(what, stored, expected)
    UNION ALL
    SELECT g.goal_id, NULL, 'entries', CAST(g.entries AS text), CAST(coalesce(counted.lines, 0) AS text)
    FROM goals g LEFT JOIN (SELECT goal_id, count(*) AS lines FROM lines GROUP BY goal_id) AS counted USING (goal_id)
    WHERE g.tenant = :tenant AND {within("g.goal_id")}"""

_ALLOCATIONS = f"""
    SELECT goal_id, 'ppm of its open links' AS what, CAST(sum(ppm) AS text) AS stored,
        CAST(least(sum(ppm), 1000000) AS text) AS expected
    FROM links
    WHERE tenant = :tenant AND {within("goal_id")} AND until_at IS NULL AND NOT whole
    GROUP BY goal_id"""

_OF_GOALS = f"""
    goals g JOIN milestones m ON m.tenant = g.tenant AND m.goal_id = g.goal_id
    WHERE g.tenant = :tenant AND m.tenant = :tenant AND {within("g.goal_id")} AND {within("m.goal_id")}"""

_MARKS_REACHED = "g.status = 'active' AND g.waiting_for = '{}' AND g.start_minor IS NOT NULL"

_MILESTONES = f"""
    SELECT g.goal_id, m.amount_minor, 'reached_at' AS what, coalesce(CAST(m.reached_at AS text), 'none') AS stored,
        CASE WHEN m.reached_at IS NULL AND {_MARKS_REACHED}
                AND {direction("g")} * g.amount_minor >= {direction("g")} * m.amount_minor
            THEN 'a moment' ELSE coalesce(CAST(m.reached_at AS text), 'none') END AS expected
    FROM {_OF_GOALS}
    UNION ALL
    SELECT m.goal_id, m.amount_minor, 'checked_at', coalesce(CAST(m.checked_at AS text), 'none'),
        CASE WHEN m.reached_at IS NULL THEN 'none' ELSE coalesce(CAST(m.checked_at AS text), 'none') END
    FROM milestones m WHERE m.tenant = :tenant AND {within("m.goal_id")}
    UNION ALL
    SELECT g.goal_id, NULL, 'next_milestone_minor', CAST(g.next_milestone_minor AS text), CAST((
        SELECT {direction("g")} * min({direction("g")} * m.amount_minor) FROM milestones m
        WHERE m.tenant = :tenant AND m.goal_id = g.goal_id AND m.reached_at IS NULL) AS text)
    FROM goals g WHERE g.tenant = :tenant AND {within("g.goal_id")}
    UNION ALL
    SELECT g.goal_id, NULL, 'reached_at of the goal', coalesce(CAST(g.reached_at AS text), 'none'),
        CASE WHEN g.reached_at IS NULL AND {_MARKS_REACHED}
                AND {direction("g")} * g.amount_minor
                    >= {direction("g")} * CASE g.type WHEN 'debt' THEN g.finish_minor ELSE g.target_minor END
            THEN 'a moment' ELSE coalesce(CAST(g.reached_at AS text), 'none') END
    FROM goals g WHERE g.tenant = :tenant AND {within("g.goal_id")}"""

# A milestone at an amount at which there was another one before has the messages of that one, too.
_OUTBOX = f"""
    SELECT m.goal_id, m.amount_minor, 'message of the milestone' AS what,
        CASE WHEN o.message_id IS NULL THEN 'none' WHEN w.message_id IS NULL THEN 'one' ELSE 'withdrawn' END AS stored,
        CASE WHEN m.reached_at IS NULL THEN CASE WHEN o.message_id IS NULL THEN 'none' ELSE 'withdrawn' END
            WHEN m.marked_at < :messages_since AND o.message_id IS NULL THEN 'none' ELSE 'one' END AS expected
    FROM milestones m
    LEFT JOIN LATERAL (
        SELECT subject, times FROM message_counts
        WHERE tenant = :tenant AND goal_id = m.goal_id
          AND subject = 'milestone_reached:' || m.goal_id || ':' || m.amount_minor
        OFFSET 0) AS c ON true
    LEFT JOIN LATERAL (
        SELECT message_id FROM outbox
        WHERE tenant = :tenant AND message_id = c.subject || ':' || c.times AND created_at >= :messages_since
        OFFSET 0) AS o ON true
    LEFT JOIN LATERAL (
        SELECT message_id FROM outbox
        WHERE tenant = :tenant
          AND message_id = replace(o.message_id, 'milestone_reached', 'milestone_reached_withdrawn')
        OFFSET 0) AS w ON true
    WHERE m.tenant = :tenant AND {within("m.goal_id")}
    UNION ALL
    SELECT g.goal_id, NULL, 'message of the target', CASE WHEN c.holds THEN 'one' ELSE 'withdrawn' END,
        CASE WHEN g.reached_at IS NULL THEN 'withdrawn' ELSE 'one' END
    FROM goals g JOIN message_counts c ON c.tenant = g.tenant AND c.goal_id = g.goal_id
        AND c.subject = 'goal_reached:' || g.goal_id
    WHERE g.tenant = :tenant AND c.tenant = :tenant AND {within("g.goal_id")} AND {within("c.goal_id")}"""

# A link that began at or after the final moment counts nothing: it ended at its own begin.
_FINAL_GOALS = f"""
    SELECT g.goal_id, l.account_id, l.linked_at, 'until_at' AS what, CAST(l.until_at AS text) AS stored,
        CAST(CASE WHEN g.final_at IS NULL THEN l.unlinked_at
            ELSE least(l.unlinked_at, greatest(g.final_at, l.from_at)) END AS text) AS expected
    FROM goals g JOIN links l ON l.tenant = g.tenant AND l.goal_id = g.goal_id
    WHERE g.tenant = :tenant AND l.tenant = :tenant AND {within("g.goal_id")} AND {within("l.goal_id")}
    UNION ALL
    SELECT goal_id, NULL, NULL, 'auto_completed', CAST(auto_completed AS text),
        CAST(auto_completed AND auto_complete AND status = 'completed'
            AND (reached_at < final_at OR waiting_for <> '{{}}' OR dirty_from IS NOT NULL) IS TRUE AS text)
    FROM goals WHERE tenant = :tenant AND {within("goal_id")}"""

_NET_WORTHS = f"""
    WITH g AS MATERIALIZED (SELECT goal_id, user_id, final_at FROM goals
        WHERE tenant = :tenant AND {within("goal_id")} AND tracking = 'net_worth'),
    wanted AS (
        SELECT g.goal_id, a.account_id, 'whole, from 1900-01-02 00:00:00+00'
            || coalesce(' until ' || CAST(g.final_at AS text), '') AS link
        FROM g CROSS JOIN LATERAL (SELECT account_id FROM accounts
            WHERE tenant = :tenant AND user_id = g.user_id OFFSET 0) AS a),
    kept AS (
        SELECT g.goal_id, l.account_id, CASE WHEN l.whole AND l.ppm = 1000000 AND l.measure = 'worth'
                AND l.begin_at IS NULL AND l.base_minor = 0 THEN 'whole' ELSE 'not whole' END
            || ', from ' || CAST(l.from_at AS text) || coalesce(' until ' || CAST(l.until_at AS text), '') AS link
        FROM g CROSS JOIN LATERAL (SELECT * FROM links WHERE tenant = :tenant AND goal_id = g.goal_id OFFSET 0) AS l)
    SELECT goal_id, account_id, 'link' AS what, kept.link AS stored, wanted.link AS expected
    FROM kept FULL JOIN wanted USING (goal_id, account_id)"""

AMOUNT_CHECKS = (
    Check(
        "links",
        "a link begins where it should, and its base and end are the account's measure before those moments",
        ("goal_id", "account_id", "linked_at"),
        _LINKS,
    ),
    Check(
        "goals",
        "the amount, the start of a debt at its first balance, and the accounts that the goal waits for, follow from"
        " all facts by the definition",
        ("goal_id",),
        _GOALS,
    ),
)

GOAL_CHECKS = (
    Check(
        "goal_entries",
        "a ledger has no gap: lines count from 1, each begins where the one before ended, the last is the amount",
        ("goal_id", "entry"),
        _LEDGER,
    ),
    Check(
        "allocations",
        "the open links of a goal, except those that count an account whole, sum to at most 100%",
        ("goal_id",),
        _ALLOCATIONS,
    ),
    Check(
        "milestones",
        "an active goal has reached every milestone that its amount is at or beyond, no unreached one was returned as"
        " new, and the goal's next milestone is right",
        ("goal_id", "amount_minor"),
        _MILESTONES,
    ),
    Check(
        "outbox",
        "every milestone reached within the last 90 days has its message, and that of one which is not reached is"
        " withdrawn",
        ("goal_id", "amount_minor"),
        _OUTBOX,
    ),
    Check(
        "final_goals",
        "links end when a request ended them, those of a final goal with it at the latest; a goal that a close has"
        " completed has reached its target",
        ("goal_id", "account_id", "linked_at"),
        _FINAL_GOALS,
    ),
    Check(
        "net_worths",
        "a net worth has exactly the accounts of its user, each whole",
        ("goal_id", "account_id"),
        _NET_WORTHS,
    ),
)
