"""The checks of goals: their ledgers, shares, milestones and messages, and the links they may and must have."""

from core.verify.checks import Check, direction, within

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

_OUTBOX = f"""
    SELECT m.goal_id, m.amount_minor, 'message of the milestone' AS what,
        CASE WHEN o.message_id IS NULL THEN 'none' ELSE 'one' END AS stored,
        CASE WHEN m.reached_at IS NULL THEN 'none' WHEN m.marked_at < :messages_since AND o.message_id IS NULL
            THEN 'none' ELSE 'one' END AS expected
    FROM milestones m LEFT JOIN LATERAL (
        SELECT message_id FROM outbox
        WHERE tenant = :tenant AND message_id = 'milestone.reached:' || m.goal_id || ':' || m.amount_minor
        OFFSET 0) AS o ON true
    WHERE m.tenant = :tenant AND {within("m.goal_id")}"""

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
        "every milestone reached within the last 90 days has its message, and none that is not reached has one",
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
