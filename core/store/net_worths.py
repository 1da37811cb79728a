"""Which accounts belong to which net worths: the links that Milepost keeps for goals that follow a user's accounts.

An account belongs to a net worth while both have the same user. Its link covers all of time, and counts nothing while
the account has another currency than the goal, or none yet.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from core.events.calendar import EARLIEST
from core.goals.links import Link
from core.goals.money import WHOLE_PPM
from core.store import driver
from core.store.accounts import AccountKey
from core.store.driver import Session, Sql
from core.store.goals import GoalKey
from core.store.links import LinkRow, insert_link
from core.store.measures import measures_before

# (tenant, account_id, goal_id)
Belonging = tuple[str, str, str]
LOCK_NAMESPACE = 0x4E57
# Users are hashed into so few buckets that a batch of any size cannot fill the server's table of locks.
BUCKETS = 64

_LOCK_SHARED = Sql(
    """SELECT count(pg_advisory_xact_lock_shared(:namespace, b))
    FROM (SELECT unnest(CAST(:buckets AS integer[])) AS b ORDER BY 1) AS buckets"""
)
_LOCK_ALONE = Sql("SELECT pg_advisory_xact_lock(:namespace, :bucket)")
_WANTED = Sql(
    f"""SELECT k.tenant, k.account_id, g.goal_id
    FROM {driver.keys("tenants", "accounts", "users")} AS k(tenant, account_id, user_id)
    JOIN goals g ON g.tenant = k.tenant AND g.user_id = k.user_id AND g.tracking = 'net_worth'"""
)
_PRESENT = Sql(
    f"""SELECT k.tenant, k.account_id, l.goal_id
    FROM {driver.keys("tenants", "accounts")} AS k(tenant, account_id)
    JOIN links l USING (tenant, account_id)
    JOIN goals g ON g.tenant = k.tenant AND g.goal_id = l.goal_id AND g.tracking = 'net_worth'"""
)
_OF_USER = Sql("SELECT account_id FROM accounts WHERE tenant = :tenant AND user_id = :user_id ORDER BY account_id")
_LEAVE = Sql("DELETE FROM links WHERE tenant = :tenant AND goal_id = :goal_id AND account_id = :account_id")


def lock_users(session: Session, users: Iterable[tuple[str, str]]) -> None:
    """Keep net worths of these (tenant, user_id) from being created until the end of the transaction.

    Whoever creates a net worth locks the user's accounts, but cannot find an account that another transaction is just
    adding to the user. So a transaction that adds an account to a user and one that creates a net worth exclude each
    other by this lock.
    """
    buckets = sorted({_bucket(user) for user in users})
    _LOCK_SHARED.run(session, {"namespace": LOCK_NAMESPACE, "buckets": buckets})


def lock_user_alone(session: Session, tenant: str, user_id: str) -> None:
    """Keep accounts from being added to this user; call it after the user's present accounts have been locked."""
    _LOCK_ALONE.run(session, {"namespace": LOCK_NAMESPACE, "bucket": _bucket((tenant, user_id))})


def accounts_of_user(session: Session, tenant: str, user_id: str) -> list[str]:
    """The ids of a user's accounts."""
    return [row[0] for row in _OF_USER.rows(session, {"tenant": tenant, "user_id": user_id})]


def wanted_belongings(session: Session, accounts: Mapping[AccountKey, str]) -> set[Belonging]:
    """The net worths to which accounts should belong; `accounts` has the user of each."""
    if not accounts:
        return set()
    keys = sorted(accounts)
    columns = driver.key_columns("accounts", keys) | {"users": driver.joined(accounts[key] for key in keys)}
    return {(row[0], row[1], row[2]) for row in _WANTED.rows(session, columns)}


def present_belongings(session: Session, keys: Iterable[AccountKey]) -> set[Belonging]:
    """The net worths to which accounts belong."""
    columns = driver.key_columns("accounts", sorted(keys))
    return {(row[0], row[1], row[2]) for row in _PRESENT.rows(session, columns)}


def join_net_worth(session: Session, key: GoalKey, account_ids: Sequence[str], final_at: datetime | None) -> None:
    """Link locked accounts to a locked net worth; if the goal is final, the links end with its final moment's worth."""
    ends: dict[str, int | None] = dict.fromkeys(account_ids)
    if final_at is not None:
        measures = measures_before(session, key[0], account_ids, final_at)
        ends = {account_id: measures[account_id].worth_minor for account_id in account_ids}
    for account_id in account_ids:
        link = Link(account_id, WHOLE_PPM, EARLIEST, final_at, None, 0, ends[account_id])
        insert_link(session, LinkRow(*key, EARLIEST, "worth", True, None, link))


def leave_net_worth(session: Session, belonging: Belonging) -> None:
    """Remove the link of a locked account to a locked net worth."""
    tenant, account_id, goal_id = belonging
    _LEAVE.run(session, {"tenant": tenant, "goal_id": goal_id, "account_id": account_id})


def _bucket(user: tuple[str, str]) -> int:
    return zlib.crc32("\x00".join(user).encode()) % BUCKETS
