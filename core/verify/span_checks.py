"""The check of when accounts count: which of them statements join, and from when to when each of these counts."""

from core.verify.checks import NEVER, ODD, Check, day_start, within

# Statements that join: both accounts are of one kind, in one currency, and not of two different users.
_FITTING = f"""
    SELECT s.account_id AS old_id, n.account_id AS new_id,
        ARRAY[s.replaced_by_rank COLLATE "C", s.account_id COLLATE "C"] AS rank,
        coalesce(CASE WHEN s.replaced_from IS NOT NULL THEN {day_start("s.replaced_from")} END,
            (SELECT min(as_of) FROM reports WHERE tenant = :tenant AND account_id = n.account_id), {NEVER}) AS at
    FROM stated s JOIN accounts n ON n.tenant = :tenant AND n.account_id = s.replaced_by
    WHERE s.currency = n.currency AND s.kind = n.kind AND coalesce(s.user_id = n.user_id, true)"""

_SPANS = f"""
    WITH RECURSIVE {ODD},
    stated AS MATERIALIZED (
        SELECT * FROM accounts WHERE tenant = :tenant AND chain_id IS NOT NULL AND replaced_by IS NOT NULL),
    fitting AS MATERIALIZED ({_FITTING}),
    walked AS (
        SELECT old_id AS first_id, new_id AS at_id, rank AS greatest, ARRAY[old_id] AS path FROM fitting
        UNION ALL
        SELECT w.first_id, f.new_id, greatest(w.greatest, f.rank), w.path || f.old_id
        FROM walked w JOIN fitting f ON f.old_id = w.at_id WHERE f.old_id <> ALL (w.path)),
    joins AS MATERIALIZED (
        SELECT * FROM fitting f WHERE NOT EXISTS (
            SELECT FROM walked w WHERE w.first_id = f.old_id AND w.at_id = f.old_id AND w.greatest = f.rank)),
    ends AS (
        SELECT old_id, new_id AS last_id, at FROM joins
        UNION ALL
        SELECT e.old_id, j.new_id, least(e.at, j.at) FROM ends e JOIN joins j ON j.old_id = e.last_id),
    connected AS (
        SELECT account_id, account_id AS other_id FROM accounts
        WHERE tenant = :tenant AND chain_id IS NOT NULL AND {within("account_id")}
        UNION
        SELECT c.account_id, pair.two FROM connected c
        JOIN (SELECT account_id AS one, replaced_by AS two FROM stated
              UNION ALL SELECT replaced_by, account_id FROM stated) AS pair ON pair.one = c.other_id),
    chains AS (
        SELECT account_id, min(other_id COLLATE "C") AS chain_id FROM connected GROUP BY account_id
        HAVING count(*) > 1),
    last_ends AS (
        SELECT DISTINCT ON (old_id) old_id, last_id, min(at) OVER (PARTITION BY old_id) AS at FROM ends e
        WHERE NOT EXISTS (SELECT FROM joins j WHERE j.old_id = e.last_id)),
    begins AS (SELECT new_id, min(at) AS at FROM joins GROUP BY new_id)
    SELECT a.account_id, v.what, v.stored, v.expected
    FROM accounts a LEFT JOIN chains c ON c.account_id = a.account_id
    LEFT JOIN last_ends e ON e.old_id = a.account_id
    LEFT JOIN begins b ON b.new_id = a.account_id
    CROSS JOIN LATERAL (VALUES
        ('chain_id', a.chain_id, c.chain_id),
        ('joined_as', a.joined_as, coalesce(e.last_id, CASE WHEN b.new_id IS NOT NULL THEN a.account_id END)),
        ('counts_from', CAST(a.counts_from AS text), CAST(greatest(b.at,
            CASE WHEN a.opened IS NOT NULL THEN {day_start("a.opened")} END) AS text)),
        ('counts_until', CAST(a.counts_until AS text), CAST(nullif(e.at, {NEVER}) AS text)))
        AS v(what, stored, expected)
    WHERE a.tenant = :tenant AND {within("a.account_id")}
    UNION ALL
    SELECT a.account_id, 'chain_id', a.chain_id, 'a chain' FROM accounts a
    WHERE a.tenant = :tenant AND {within("a.account_id")} AND a.replaced_by IS NOT NULL AND a.chain_id IS NULL"""

SPAN_CHECKS = (
    Check(
        "spans",
        "which accounts are joined, and from when to when each counts, follow from what is stated of them",
        ("account_id",),
        _SPANS,
    ),
)
