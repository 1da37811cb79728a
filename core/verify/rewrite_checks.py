"""The check of rewritten closes: that what is kept of a goal's past can be undone, step by step.

Each row tells what stood there before a run wrote another close. So it differs from what the next rewriting of that day
found, or, where there is none, from what stands there now; and the rows of a goal as its newest rewriting found them
are the sparse form of its closes, as those of today are.
"""

from __future__ import annotations

from core.verify.check import Check
from core.verify.fragments import within

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

# Up to the last day that the newest rewriting changed: which later ones were closed then is not asked.
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
        "what is kept of rewritten closes leads back, from what stands there now, to closes as they can have been",
        ("goal_id", "day", "rewritten_at"),
        _REWRITES,
    ),
)
