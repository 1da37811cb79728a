"""The checks of amounts: what links measured, where goals stand now, and what they wait for."""

from __future__ import annotations

from core.verify.check import Check
from core.verify.fragments import (
    counts,
    direction,
    follows,
    has_report,
    measure_before,
    share,
    within,
    worth_before,
)

# The typed amount that stands, and its moment; null for the one given at creation, which has none.
_TYPED = """
    SELECT typed_at, amount_minor FROM (
        (SELECT y.typed_at, y.amount_minor FROM typed_amounts y
         WHERE y.tenant = :tenant AND y.goal_id = g.goal_id AND y.typed_at <= coalesce(g.final_at, 'infinity')
         ORDER BY y.typed_at DESC LIMIT 1)
        UNION ALL
        SELECT NULL, e.after_minor FROM goal_entries e
        WHERE e.tenant = :tenant AND e.goal_id = g.goal_id AND e.entry = 1) AS choices
    ORDER BY typed_at DESC NULLS LAST LIMIT 1"""

# A link's row keeps its begin and base once it has ended; what is typed after that does not touch it.
_LINKS = f"""
    SELECT g.goal_id, l.account_id, l.linked_at, v.what, v.stored, v.expected
    FROM goals g
    CROSS JOIN LATERAL (SELECT * FROM links WHERE tenant = :tenant AND goal_id = g.goal_id OFFSET 0) AS l
    CROSS JOIN LATERAL (
        SELECT * FROM accounts WHERE tenant = :tenant AND account_id = l.account_id OFFSET 0) AS a
    CROSS JOIN LATERAL (SELECT max(typed_at) AS at FROM typed_amounts
        WHERE tenant = :tenant AND goal_id = g.goal_id) AS typed
    CROSS JOIN LATERAL (VALUES
        ('begin_at', CAST(l.begin_at AS text), CAST(CASE
            WHEN {follows("g")} THEN NULL
            WHEN l.until_at <= typed.at THEN l.begin_at
            ELSE greatest(l.from_at, typed.at) END AS text)),
        ('base_minor', CAST(l.base_minor AS text), CASE WHEN l.begin_at IS NULL THEN '0'
            ELSE CAST({measure_before("l.measure", "a", "l.begin_at")} AS text) END),
        ('end_minor', CAST(l.end_minor AS text), CASE WHEN l.until_at IS NOT NULL
            THEN CAST({measure_before("l.measure", "a", "l.until_at")} AS text) END)) AS v(what, stored, expected)
    WHERE g.tenant = :tenant AND {within("g.goal_id")}"""

# Each link that counts, with what it adds now: since its begin, or as far as it is present for a goal that follows
# balances.
_PARTS = f"""
    SELECT g.goal_id, l.account_id, {follows("g")} AS is_following, {has_report("g", "a")} AS has_report,
        CASE
        WHEN {follows("g")} THEN {share(worth_before("a", "p.final_at"), "l.ppm")}
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
    CROSS JOIN LATERAL ({_TYPED}) AS typed
    CROSS JOIN LATERAL (SELECT coalesce(g.final_at, 'infinity') AS final_at, greatest(l.from_at, typed.typed_at)
            AS begin_at, least(l.until_at, g.final_at, 'infinity') AS until_at) AS p
    WHERE g.tenant = :tenant AND {within("g.goal_id")} AND {counts("g", "a")}
      AND (NOT {follows("g")}
           OR (l.from_at < p.final_at AND coalesce(l.until_at, 'infinity') >= p.final_at))"""

_GOALS = f"""
    WITH sums AS (
        SELECT goal_id, sum(part) AS parts, bool_or(has_report) AS is_told,
            array_agg(DISTINCT account_id COLLATE "C" ORDER BY account_id COLLATE "C")
                FILTER (WHERE is_following AND NOT has_report) AS waiting_for
        FROM ({_PARTS}) AS parts GROUP BY goal_id)
    SELECT g.goal_id, v.what, v.stored, v.expected
    FROM goals g LEFT JOIN sums USING (goal_id)
    LEFT JOIN LATERAL ({_TYPED}) AS typed ON true
    CROSS JOIN LATERAL (VALUES
        ('amount_minor', CAST(g.amount_minor AS text), CAST(CASE
            WHEN NOT {follows("g")} THEN typed.amount_minor + {direction("g")} * coalesce(sums.parts, 0)
            WHEN sums.is_told THEN {direction("g")} * sums.parts
            ELSE typed.amount_minor END AS text)),
        ('waiting_for', CAST(g.waiting_for AS text), CAST(coalesce(sums.waiting_for, '{{}}') AS text)))
        AS v(what, stored, expected)
    WHERE g.tenant = :tenant AND {within("g.goal_id")}"""

AMOUNT_CHECKS = (
    Check(
        "links",
        "a link begins where it should, and its base and end are the account's measure before those moments",
        ("goal_id", "account_id", "linked_at"),
        _LINKS,
    ),
    Check(
        "goals",
        "the amount is that of the definition from all facts, and so is what the goal waits for",
        ("goal_id",),
        _GOALS,
    ),
)
