"""Rows of links: when each counts, what it measures and, with what is known of its account, what it adds to a goal."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from core.events.spans import NEVER
from core.goals.amounts import FundedLink
from core.goals.goal import GoalType, Tracking
from core.goals.links import Link, measured, why_not
from core.goals.money import share
from core.store import driver
from core.store.accounts import AccountKey
from core.store.driver import Row, Session, Sql, int8s, moments
from core.store.goals import GoalKey, GoalRow
from core.store.measures import read_measures
from core.store.spans import CountedAccount, counted_accounts

_LINK = ("tenant", "goal_id", "linked_at", "measure", "whole", "account_name", *Link._fields, "unlinked_at")


class LinkPeriod(NamedTuple):
    """When a link counts, and what it measures. A plain tuple, since a batch reads thousands and seldom needs more."""

    tenant: str
    goal_id: str
    account_id: str
    linked_at: datetime
    measure: str
    begin_at: datetime | None
    until_at: datetime | None

    @property
    def goal_key(self) -> GoalKey:
        """(tenant, goal_id)."""
        return self.tenant, self.goal_id

    @property
    def account_key(self) -> AccountKey:
        """(tenant, account_id)."""
        return self.tenant, self.account_id


class LinkRow(NamedTuple):
    """A link as stored. `measure` is worth or inflow; links of one account to one goal differ in `linked_at`.

    `unlinked_at` is when a request ended it. It may end before that, or without that, together with its goal.
    """

    tenant: str
    goal_id: str
    linked_at: datetime
    measure: str
    whole: bool
    account_name: str | None
    link: Link
    unlinked_at: datetime | None = None

    @property
    def goal_key(self) -> GoalKey:
        """(tenant, goal_id)."""
        return self.tenant, self.goal_id

    @property
    def account_key(self) -> AccountKey:
        """(tenant, account_id)."""
        return self.tenant, self.link.account_id


class FundedGoal(Protocol):
    """What decides whether a link counts for a goal."""

    currency: str
    type: GoalType
    tracking: Tracking


class FundingRow(NamedTuple):
    """A link, with what is known of its account.

    Its balance is known from its first report on. If none has come until `known_by_rows_at`, its rows alone say what
    it is worth from then on.

    A link to one of joined accounts means all of them: then `counting` are these, each with the time in which it
    counts, and worth, inflow, first report and `known_by_rows_at` are those of all. An account that counts only from
    the day on which it was opened is alone there; for all others it is empty. `is_repeated`: the goal has another link
    to joined accounts that comes before this one.
    """

    row: LinkRow
    currency: str | None
    kind: str
    is_kind_known: bool
    worth_minor: int
    inflow_minor: int
    first_report_at: datetime | None
    known_by_rows_at: datetime | None
    known_name: str | None
    joined_as: str | None = None
    has_span: bool = False
    counting: tuple[CountedAccount, ...] = ()
    is_repeated: bool = False

    @property
    def known_at(self) -> datetime | None:
        """When the balance became known; None if it is not."""
        return min(filter(None, (self.first_report_at, self.known_by_rows_at)), default=None)

    @property
    def measure_minor(self) -> int:
        """What the link measures of its account, at present."""
        return self.inflow_minor if self.row.measure == "inflow" else self.worth_minor

    def funded(self, goal: GoalRow) -> FundedLink:
        """The link as an input of the arithmetic of its goal's present amount."""
        link = self.ever_funded(goal)
        return link._replace(counts=False) if link.counts and self._ended_before_manual_amount(goal) else link

    def ever_funded(self, goal: GoalRow) -> FundedLink:
        """The link as an input of the arithmetic of its goal's past, where a later manual amount does not matter."""
        return FundedLink(self.row.link, self.measure_minor, self.counts(goal), self.known_at)

    def _ended_before_manual_amount(self, goal: GoalRow) -> bool:
        """Whether the link ended before the manual amount was set, which then includes all that the link counted."""
        until_at = self.row.link.until_at
        return until_at is not None and goal.manual_at is not None and until_at < goal.manual_at

    def counted(self, goal: GoalRow) -> int:
        """What the link adds to its goal's amount, in minor units."""
        funded = self.funded(goal)
        if not funded.counts:
            return 0
        return goal.direction * share(measured(funded.link, funded.measure_minor), funded.link.ppm)

    def counts(self, goal: FundedGoal) -> bool:
        """Whether the link counts. Of a net worth's links to joined accounts only one does."""
        return self.why_not(goal) is None and not (self.is_repeated and goal.tracking is Tracking.NET_WORTH)

    def why_not(self, goal: FundedGoal) -> str | None:
        """Why the link does not count; None if it counts."""
        is_known_asset = self.kind != "liability" and (self.is_kind_known or self.first_report_at is not None)
        return why_not(self.currency, is_known_asset, goal.currency, goal.type, goal.tracking)


FUNDING = f"""{", ".join(f"l.{column}" for column in _LINK)},
    own.currency, own.kind, own.kind_rank IS NOT NULL, own.worth_minor, own.inflow_minor,
    own.first_report_at, own.known_by_rows_at, own.name, own.joined_as,
    coalesce(own.joined_as, CAST(own.counts_from AS text)) IS NOT NULL"""
"""SQL for what `funding_row` reads, of a link `l` and its account `own`."""

_PERIOD_LIST = ", ".join(f"l.{column}" for column in LinkPeriod._fields)
_OF_ACCOUNTS = Sql(
    f"""SELECT {_PERIOD_LIST}
    FROM {driver.keys("tenants", "accounts")} AS k(tenant, account_id)
    JOIN links l USING (tenant, account_id)"""
)
_OF_GOALS = Sql(
    f"""SELECT {FUNDING}
    FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN links l USING (tenant, goal_id)
    JOIN accounts own ON own.tenant = k.tenant AND own.account_id = l.account_id"""
)
_OF_ACCOUNT_TO_GOALS = Sql(
    f"""SELECT {FUNDING}
    FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN links l USING (tenant, goal_id)
    JOIN accounts own ON own.tenant = k.tenant AND own.account_id = l.account_id
    WHERE l.account_id = :account_id"""
)
_ACCOUNTS = Sql(
    """SELECT account_id FROM links
    WHERE tenant = :tenant AND goal_id = :goal_id AND (until_at IS NULL OR :with_ended)"""
)
_INSERT = Sql(f"INSERT INTO links ({', '.join(_LINK)}) VALUES ({', '.join(':' + column for column in _LINK)})")
_WHICH = "tenant = :tenant AND goal_id = :goal_id AND account_id = :account_id AND linked_at = :linked_at"
_END = Sql(f"UPDATE links SET until_at = :until_at, end_minor = :end_minor, unlinked_at = :unlinked_at WHERE {_WHICH}")
_DELETE_ONE = Sql(f"DELETE FROM links WHERE {_WHICH}")
_REBASE = Sql(f"UPDATE links SET begin_at = :begin_at, base_minor = :base_minor WHERE {_WHICH}")
_DELETE = Sql("DELETE FROM links WHERE tenant = :tenant AND goal_id = :goal_id")
_MOVE = Sql(
    f"""UPDATE links l SET base_minor = l.base_minor + s.base_delta, end_minor = l.end_minor + s.end_delta
    FROM unnest({driver.split("tenants")}, {driver.split("goals")}, {driver.split("accounts")}, :linked, :bases, :ends)
        AS s(tenant, goal_id, account_id, linked_at, base_delta, end_delta)
    WHERE (l.tenant, l.goal_id, l.account_id, l.linked_at) = (s.tenant, s.goal_id, s.account_id, s.linked_at)"""
)
_SET_MEASURES = Sql(
    f"""UPDATE links l SET base_minor = s.base_minor, end_minor = s.end_minor
    FROM unnest({driver.split("tenants")}, {driver.split("goals")}, {driver.split("accounts")}, :linked, :bases, :ends)
        AS s(tenant, goal_id, account_id, linked_at, base_minor, end_minor)
    WHERE (l.tenant, l.goal_id, l.account_id, l.linked_at) = (s.tenant, s.goal_id, s.account_id, s.linked_at)
      AND (l.base_minor, l.end_minor) IS DISTINCT FROM (s.base_minor, s.end_minor)"""
)


def accounts_of_goal(session: Session, key: GoalKey, *, with_ended: bool) -> set[AccountKey]:
    """The accounts of a goal's open links, and with `with_ended` those of all its links."""
    names = _ACCOUNTS.values(session, {"tenant": key[0], "goal_id": key[1], "with_ended": with_ended})
    return {(key[0], name) for name in names}


def links_of_accounts(session: Session, keys: Iterable[AccountKey]) -> list[LinkPeriod]:
    """The periods of all links of accounts, which must be locked, so that nobody begins or ends a link meanwhile."""
    wanted = list(keys)
    rows = _OF_ACCOUNTS.rows(session, driver.key_columns("accounts", wanted)) if wanted else []
    return [LinkPeriod(*row) for row in rows]


def funding_of_goals(session: Session, keys: Iterable[GoalKey]) -> dict[GoalKey, list[FundingRow]]:
    """All links of goals, with their accounts. Call it after the goals are locked; it does not lock the accounts."""
    return _funding(session, _OF_GOALS, keys)


def funding_by_account(
    session: Session, account: AccountKey, keys: Iterable[GoalKey]
) -> dict[GoalKey, list[FundingRow]]:
    """The links, open and ended, of one account to goals of its tenant."""
    return _funding(session, _OF_ACCOUNT_TO_GOALS, keys, account_id=account[1])


def move_links(session: Session, deltas: Sequence[tuple[LinkPeriod, int, int]]) -> None:
    """Add the (base, end) deltas, in minor units, to links whose accounts are locked."""
    if not deltas:
        return
    _MOVE.run(session, _bases_and_ends(deltas))


def set_measures(session: Session, measures: Sequence[tuple[LinkPeriod, int, int | None]]) -> None:
    """Write the bases and ends, in minor units, of links whose accounts are locked; None for an open link's end."""
    if not measures:
        return
    _SET_MEASURES.run(session, _bases_and_ends(measures))


def _bases_and_ends(values: Sequence[tuple[LinkPeriod, int, int | None]]) -> dict[str, object]:
    periods = [period for period, _, _ in values]
    return {
        **driver.key_columns("goals", [period.goal_key for period in periods]),
        "accounts": driver.joined([period.account_id for period in periods]),
        "linked": moments([period.linked_at for period in periods]),
        "bases": int8s([base for _, base, _ in values]),
        "ends": int8s([end for _, _, end in values]),
    }


def insert_link(session: Session, row: LinkRow) -> None:
    """Begin a link; the caller has locked the account and the goal."""
    link = row.link
    values = (link.account_id, link.ppm, link.from_at, link.until_at, link.begin_at, link.base_minor, link.end_minor)
    head = (row.tenant, row.goal_id, row.linked_at, row.measure, row.whole, row.account_name)
    _INSERT.run(session, dict(zip(_LINK, (*head, *values, row.unlinked_at), strict=True)))


def write_end(
    session: Session, row: LinkRow, until_at: datetime | None, end_minor: int | None, unlinked_at: datetime | None
) -> None:
    """Write when a link ends, and the measure there, or that it is open; account and goal are locked."""
    end = {"until_at": until_at, "end_minor": end_minor, "unlinked_at": unlinked_at}
    _END.run(session, _which(row) | end)


def rebase_link(session: Session, row: LinkRow, begin_at: datetime, base_minor: int) -> LinkRow:
    """Let a link count only from `begin_at` on, because a manual amount was set at that moment; returns it."""
    _REBASE.run(session, _which(row) | {"begin_at": begin_at, "base_minor": base_minor})
    return row._replace(link=row.link._replace(begin_at=begin_at, base_minor=base_minor))


def delete_link(session: Session, row: LinkRow) -> None:
    """Remove a link of a locked goal to a locked account."""
    _DELETE_ONE.run(session, _which(row))


def delete_links(session: Session, key: GoalKey) -> None:
    """Remove all links of a locked goal, whose accounts are locked too: it is then as if it had had none."""
    _DELETE.run(session, {"tenant": key[0], "goal_id": key[1]})


def funding_row(row: Row) -> FundingRow:
    """The link and its account in a row of FUNDING. `count_in_spans` makes it whole."""
    link = LinkRow(row[0], row[1], row[2], row[3], row[4], row[5], Link(*row[6:13]), row[13])
    return FundingRow(link, *row[len(_LINK) :])


def count_in_spans(session: Session, funding: Iterable[list[FundingRow]]) -> None:
    """Let the rows of accounts that count for a time have what all accounts that are joined with them measure.

    Each list has all links of one goal. Nothing is asked if there is no such account.
    """
    spanned = [sources for sources in funding if any(source.has_span for source in sources)]
    if not spanned:
        return
    keys = {source.row.account_key for sources in spanned for source in sources if source.has_span}
    counting = counted_accounts(session, sorted(keys))
    measures = read_measures(session, [(*key, NEVER) for key in keys])
    for sources in spanned:
        first_of: dict[str, str] = {}
        for source in sources:
            if source.joined_as is not None:
                name = source.row.link.account_id
                first_of[source.joined_as] = min(name, first_of.get(source.joined_as, name))
        for n, source in enumerate(sources):
            if source.has_span:
                key = source.row.account_key
                own, measured_now = counting[key], measures[*key, NEVER]
                sources[n] = source._replace(
                    worth_minor=measured_now.worth_minor,
                    inflow_minor=measured_now.inflow_minor,
                    first_report_at=min(filter(None, (each.first_report_at for each in own)), default=None),
                    known_by_rows_at=min(filter(None, (each.known_by_rows_at for each in own)), default=None),
                    counting=own,
                    is_repeated=source.joined_as is not None and first_of[source.joined_as] != key[1],
                )


def _funding(session: Session, statement: Sql, keys: Iterable[GoalKey], **more: str) -> dict[GoalKey, list[FundingRow]]:
    funding: dict[GoalKey, list[FundingRow]] = {key: [] for key in keys}
    if funding:
        for row in statement.rows(session, driver.key_columns("goals", list(funding)) | more):
            funding[row[0], row[1]].append(funding_row(row))
    count_in_spans(session, funding.values())
    return funding


def _which(row: LinkRow) -> dict[str, object]:
    return {"tenant": row.tenant, "goal_id": row.goal_id, "account_id": row.link.account_id, "linked_at": row.linked_at}
