"""What a check is, the pieces of SQL that checks are built from, and what a verification found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.verify.question import Question

# An amount is part of a milestone's key, but amounts must not reach a log.
_AMOUNT_IN_KEY = "amount_minor"


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong value. Amounts are minor units; None: the row does not exist (`stored`) or must not (`expected`).

    `key` names the row within the tenant, `what` the column or the rule.
    """

    tenant: str
    check: str
    key: Mapping[str, str]
    what: str
    stored: str | None
    expected: str | None

    @property
    def row(self) -> str:
        """The row's name without amounts, as in `goal_snapshots goal_id=goal_1 day=2026-03-01`."""
        parts = (f"{name}={value}" for name, value in self.key.items() if name != _AMOUNT_IN_KEY)
        return " ".join((self.check, *parts))


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: how many values it compared, how many were wrong, and the first of those."""

    check: str
    checked: int = 0
    wrong: int = 0
    first: tuple[Violation, ...] = ()

    def plus(self, other: Finding, most: int) -> Finding:
        """The sum of two findings of one check, with at most `most` violations shown."""
        first = (self.first + other.first)[:most]
        return Finding(self.check, self.checked + other.checked, self.wrong + other.wrong, first)


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of a verification: the tenants, what each check found, and how long it took."""

    tenants: tuple[str, ...]
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def is_ok(self) -> bool:
        """Whether no value is wrong."""
        return self.violations == 0

    @property
    def violations(self) -> int:
        """How many values are wrong, shown or not."""
        return sum(finding.wrong for finding in self.findings)

    @property
    def checked(self) -> dict[str, int]:
        """How many values each check compared."""
        return {finding.check: finding.checked for finding in self.findings}

    @property
    def first(self) -> tuple[Violation, ...]:
        """The violations that are shown, check by check."""
        return tuple(violation for finding in self.findings for violation in finding.first)


@dataclass(frozen=True, slots=True)
class Check:
    """A named check of rows in a range of keys.

    `statement` returns a row for every value that it compared, right or wrong: the columns of `key`, `what`, and as
    text `stored` and `expected`.
    """

    name: str
    meaning: str
    key: tuple[str, ...]
    statement: str

    @property
    def question(self) -> Question:
        """The statement that counts the compared and the wrong values, and returns the first :most wrong ones.

        Its rows are (checked, wrong, *key, what, stored, expected); one row with nulls if nothing is wrong.
        """
        key = ", ".join(f"CAST({column} AS text) AS {column}" for column in self.key)
        return Question(
            f"""WITH compared AS MATERIALIZED ({self.statement})
            SELECT totals.checked, totals.wrong, shown.* FROM (
                SELECT count(*) AS checked, count(*) FILTER (WHERE stored IS DISTINCT FROM expected) AS wrong
                FROM compared) AS totals
            LEFT JOIN LATERAL (
                SELECT {key}, what, stored, expected FROM compared WHERE stored IS DISTINCT FROM expected
                ORDER BY {", ".join(f"compared.{column}" for column in self.key)}, what LIMIT :most) AS shown ON true"""
        )


INSTANT = "interval '1 microsecond'"
# From when on an account counts that counts nothing yet.
NEVER = "timestamptz '9999-12-31 00:00:00+00'"

# The days whose first midnight comes twice because clocks go back over it (America/Havana). AT TIME ZONE takes the
# second one: `plain_at` is what AT TIME ZONE returns for midnight, `starts_at` the first instant of the day. A row may
# be dated 400 days ahead.
ODD_DAYS = """
    SELECT day, first_at AS starts_at, plain_at FROM (
        SELECT day, plain_at, (day - (early_at AT TIME ZONE :zone - early_at AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC'
            AS first_at
        FROM (SELECT day, day AT TIME ZONE :zone AS plain_at, day AT TIME ZONE :zone - interval '3 hours' AS early_at
              FROM generate_series(timestamp '1900-01-01', CAST(:now AS timestamptz) AT TIME ZONE 'UTC'
                  + interval '403 days', '1 day') AS days(day)) AS midnights
        ) AS both_midnights
    WHERE first_at < plain_at AND first_at AT TIME ZONE :zone >= day"""

# The first part of a statement's WITH: `local_day` reads it.
ODD = """odd AS MATERIALIZED (
    SELECT day, starts_at, plain_at
    FROM unnest(CAST(:odd_days AS date[]), CAST(:odd_starts AS timestamptz[]), CAST(:odd_plains AS timestamptz[]))
        AS o(day, starts_at, plain_at))"""


def within(column: str) -> str:
    """Whether a key is in the range of keys that the statement reads."""
    return f"({column} > :after AND (CAST(:upto AS text) IS NULL OR {column} <= :upto))"


def local_day(moment: str) -> str:
    """The local day of a moment."""
    return f"""coalesce((SELECT o.day FROM odd o WHERE {moment} >= o.starts_at AND {moment} < o.plain_at),
        CAST({moment} AT TIME ZONE :zone AS date))"""


def day_start(day: str) -> str:
    """The first instant of a local day."""
    return f"""coalesce((SELECT o.starts_at FROM odd o WHERE o.day = {day}),
        CAST({day} AS timestamp) AT TIME ZONE :zone)"""


def day_end(day: str) -> str:
    """The last instant of a local day."""
    return f"({day_start(f'({day} + 1)')} - {INSTANT})"


def within_day(moment: str, day: str) -> str:
    """The moment, or the instant of a local day that is nearest to it."""
    start = day_start(day)
    return f"(CASE WHEN {moment} < {start} THEN {start} ELSE least({moment}, {day_end(day)}) END)"


def share(minor: str, ppm: str) -> str:
    """A share, rounded towards zero; numeric, so that nothing overflows."""
    return f"div(CAST({minor} AS numeric) * {ppm}, 1000000)"


def sign(account: str) -> str:
    """The sign by which a report's amount becomes a worth."""
    return f"(CASE WHEN {account}.kind = 'liability' THEN -1 ELSE 1 END)"


def direction(goal: str) -> str:
    """-1 where an amount falls as money is paid in."""
    return f"(CASE WHEN {goal}.type = 'debt' THEN -1 ELSE 1 END)"


def follows(goal: str) -> str:
    """Whether a goal follows balances."""
    return f"({goal}.tracking IN ('balance', 'net_worth'))"


def counts(goal: str, account: str) -> str:
    """Whether a link of the account to the goal counts."""
    return f"""(coalesce({account}.currency = {goal}.currency, {goal}.tracking <> 'net_worth')
        AND NOT ({goal}.type = 'debt' AND {goal}.tracking = 'balance' AND {account}.kind <> 'liability'
                 AND ({account}.kind_rank IS NOT NULL OR {first_report(account)} IS NOT NULL)))"""


def counting(account: str) -> str:
    """The accounts that count where a link names this one: those that are joined with it, or it alone.

    OFFSET keeps conditions out of both branches. PostgreSQL 18.4 gives a sub-select in such a condition to both, hashes
    it for each, and makes only one of the two hash tables anew where a parameter of the sub-select changes.
    """
    columns = "{0}.account_id, {0}.kind, {0}.counts_from, {0}.counts_until, {0}.joined_as, {0}.known_by_rows_at"
    return f"""(SELECT {columns.format(account)} WHERE {account}.joined_as IS NULL
        UNION ALL
        SELECT {columns.format("m")} FROM accounts m
        WHERE m.tenant = :tenant AND m.chain_id = {account}.chain_id AND m.joined_as = {account}.joined_as
        OFFSET 0)"""


def is_repeated(goal: str, link: str, account: str) -> str:
    """Whether a link of a net worth means the same joined accounts as another one of it that comes before."""
    return f"""({goal}.tracking = 'net_worth' AND {account}.joined_as IS NOT NULL AND EXISTS (
            SELECT FROM accounts other JOIN links o ON o.tenant = other.tenant AND o.account_id = other.account_id
            WHERE other.tenant = :tenant AND other.chain_id = {account}.chain_id
              AND other.joined_as = {account}.joined_as AND o.tenant = :tenant AND o.goal_id = {goal}.goal_id
              AND o.account_id COLLATE "C" < {link}.account_id COLLATE "C"))"""


_FIRST_REPORT = """(SELECT r.as_of FROM reports r WHERE r.tenant = :tenant AND r.account_id = c.account_id
        ORDER BY r.as_of LIMIT 1)"""


def first_report(account: str) -> str:
    """The `as_of` of the first report of an account and those joined with it; null if they have none."""
    return f"(SELECT min({_FIRST_REPORT}) FROM {counting(account)} AS c)"


def known_at(account: str) -> str:
    """When the balance of an account, or of those joined with it, became known; null if it is not."""
    return f"(SELECT min(least({_FIRST_REPORT}, c.known_by_rows_at)) FROM {counting(account)} AS c)"


def is_known(goal: str, account: str) -> str:
    """Whether an account's balance is known; for a final goal, whether it was before its final moment."""
    return f"coalesce({known_at(account)} < coalesce({goal}.final_at, 'infinity'), false)"


def measure_before(measure: str, account: str, moment: str) -> str:
    """What a link to an account measures from the facts before a moment; it looks up only the facts that it needs.

    That is the worth or the inflow of all accounts that are joined with it, of each in the time in which it counts.
    """
    worth = f"""CASE WHEN c.counts_from >= least({moment}, {NEVER}) OR c.counts_until < {moment} THEN 0
        ELSE {worth_before("c", moment)} END"""
    inflow = f"""(SELECT coalesce(sum(t.amount_minor), 0) FROM transactions t
        WHERE t.tenant = :tenant AND t.account_id = c.account_id AND t.counts AND t.amount_minor > 0
          AND t.posted_at >= coalesce(c.counts_from, '-infinity') AND t.posted_at < least({moment}, c.counts_until))"""
    return f"""(SELECT coalesce(sum(CASE {measure} WHEN 'inflow' THEN {inflow} ELSE {worth} END), 0)
        FROM {counting(account)} AS c)"""


def inflow_before(account: str, moment: str) -> str:
    """The money that came into an account before a moment."""
    return f"""(SELECT coalesce(sum(t.amount_minor), 0) FROM transactions t
        WHERE t.tenant = :tenant AND t.account_id = {account}.account_id AND t.counts
          AND t.posted_at < {moment} AND t.amount_minor > 0)"""


def worth_before(account: str, moment: str) -> str:
    """An account's worth from the facts before a moment, which may be infinite.

    It starts from the last report before the moment and adds the transactions since. Without such a report it starts
    from the first later report and subtracts the transactions up to it. Without any report it adds all transactions
    before the moment. A report comes after the transactions of its own moment.
    """
    return f"""(SELECT coalesce(anchor.reported, 0) + CASE WHEN anchor.known_at <= {moment} THEN 1 ELSE -1 END * (
            SELECT coalesce(sum(t.amount_minor), 0) FROM transactions t
            WHERE t.tenant = :tenant AND t.account_id = {account}.account_id AND t.counts
              AND t.posted_at >= least(anchor.known_at, {moment})
              AND t.posted_at < greatest(anchor.known_at, {moment}))
        FROM (SELECT reported, known_at FROM (
                (SELECT r.current_minor * {sign(account)} AS reported, r.as_of + {INSTANT} AS known_at, 1 AS choice
                 FROM reports r
                 WHERE r.tenant = :tenant AND r.account_id = {account}.account_id AND r.as_of < {moment}
                 ORDER BY r.as_of DESC LIMIT 1)
                UNION ALL
                (SELECT r.current_minor * {sign(account)}, r.as_of + {INSTANT}, 2
                 FROM reports r
                 WHERE r.tenant = :tenant AND r.account_id = {account}.account_id AND r.as_of >= {moment}
                 ORDER BY r.as_of LIMIT 1)
                UNION ALL SELECT 0, timestamptz '-infinity', 3) AS choices
            ORDER BY choice LIMIT 1) AS anchor)"""


def timeline(scope: str, questions: str = "") -> str:
    """WITH parts that end in `timeline`: the worth and inflow of accounts after each of their facts, in one pass.

    `scope` is a relation with account_id and sign. `questions` is a SELECT of (account_id, at) for which the measures
    before that moment are wanted too: these are rows of turn 0, while facts have a turn above 0. Rows of one account
    are ordered by (at, turn); rows that have the same at and turn are equal.
    """
    moments = f"UNION ALL SELECT account_id, at, 0, 0, NULL FROM ({questions}) AS questions" if questions else ""
    return f"""facts AS (
        SELECT s.account_id, t.posted_at AS at, 1 AS turn, t.amount_minor AS amount, CAST(NULL AS bigint) AS reported
        FROM {scope} s CROSS JOIN LATERAL (
            SELECT posted_at, amount_minor FROM transactions
            WHERE tenant = :tenant AND account_id = s.account_id AND counts OFFSET 0) AS t
        UNION ALL
        SELECT s.account_id, r.as_of, 2, 0, r.current_minor * s.sign
        FROM {scope} s CROSS JOIN LATERAL (
            SELECT as_of, current_minor FROM reports
            WHERE tenant = :tenant AND account_id = s.account_id OFFSET 0) AS r
        {moments}),
    summed AS (
        SELECT account_id, at, turn, reported, sum(amount) OVER w AS known, sum(greatest(amount, 0)) OVER w AS inflow,
            count(reported) OVER w AS reports
        FROM facts WINDOW w AS (PARTITION BY account_id ORDER BY at, turn)),
    offsets AS (
        SELECT account_id, at, turn, known, inflow, reports,
            max(reported - known) OVER (PARTITION BY account_id, reports) AS beyond,
            max(reported - known) FILTER (WHERE reports = 1) OVER (PARTITION BY account_id) AS first_beyond
        FROM summed),
    timeline AS MATERIALIZED (
        SELECT account_id, at, turn, inflow,
            known + CASE WHEN reports = 0 THEN coalesce(first_beyond, 0) ELSE beyond END AS worth
        FROM offsets)"""
