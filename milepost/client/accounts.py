"""Accounts: what is known of each, how it is divided between goals, and which one goes on as which other."""

from datetime import date, datetime

from milepost.client import arguments
from milepost.client.arguments import ACCOUNTS, moment, optional_text, segment, text
from milepost.client.errors import NotFound
from milepost.client.models import Tracking
from milepost.client.records import Exact, Record
from milepost.client.resource import Resource

RELINKS = ("relinks",)
# What the address of an account with such an id would lead to.
_BELOW = ("/allocations", "/reports")


class Report(Record):
    """A balance that was reported at `as_of`, with the `time`, `source` and `id` of the event that states it.

    `current` of a liability is positive when owed. `difference` is by how much the report puts the account's worth
    above what the report before it and the transactions between the two lead to; None for the first one.
    """

    _NEEDED = "as_of"

    as_of: datetime
    currency: str
    current: Exact
    available: Exact | None
    difference: Exact | None
    time: datetime
    source: str
    id: str


class LastFact(Record):
    """The last report or transaction that counts, as `type` says: dated at `at`, and stated by an event of `time`."""

    _NEEDED = "type"

    type: str
    at: datetime
    time: datetime


class AccountConnection(Record):
    """The account's connection at its provider; `state` is healthy or broken. What is not known is None."""

    _NEEDED = "provider"

    provider: str | None
    id: str | None
    state: str | None
    reason: str | None
    changed_at: datetime | None


class Account(Record):
    """An account. What is not known is None; amounts are, until a fact names the currency.

    `kind` is asset or liability, and `worth` is by all facts so far, below zero if it is owed. `replaced_by` is the
    account that it is said to go on as, `replaces` are those that are said to go on as this one; it counts from
    `counts_from` until `counts_until`.
    """

    _NEEDED = "account_id"

    account_id: str
    name: str | None
    user_id: str | None
    kind: str
    currency: str | None
    currency_from: str | None
    worth: Exact | None
    closed: bool
    replaced_by: str | None
    replaces: list[str]
    opened: date | None
    counts_from: datetime | None
    counts_until: datetime | None
    note: str | None
    last_report: Report | None
    last_fact: LastFact | None
    connection: AccountConnection | None


class Allocation(Record):
    """The share of an account's worth that counts for a goal; `note` says why it is 0, if it counts nothing."""

    _NEEDED = "goal_id"

    goal_id: str
    goal_name: str
    tracking: Tracking
    allocation_percent: Exact
    whole: bool
    share: Exact | None
    from_: datetime
    note: str | None


class Allocations(Record):
    """An account and how it is divided between goals. The sums, in percent, may be above 100: then `over_allocated`."""

    _NEEDED = "allocations"

    account_id: str
    name: str | None
    user_id: str | None
    kind: str
    currency: str | None
    worth: Exact | None
    closed: bool
    allocated_percent: Exact
    unallocated_percent: Exact
    unallocated: Exact | None
    over_allocated: bool
    allocations: list[Allocation]


class Relink(Record):
    """Two accounts that are probably one, whose connection is broken or which is silent (`why`).

    The balances are those of their last reports. `old_last_time` is the `time` of the last event with a fact of the old
    account, `new_first_time` that of the first event with one of the new account.
    """

    _NEEDED = "old_account_id"

    old_account_id: str
    new_account_id: str
    user_id: str
    kind: str
    currency: str
    old_balance: Exact
    old_as_of: datetime
    new_balance: Exact
    new_as_of: datetime
    old_last_time: datetime
    new_first_time: datetime
    why: str


class Accounts(Resource):
    """The accounts of one tenant. Each exists once an event, a link or a registration has named it."""

    async def list_accounts(self, user_id: str | None = None, *, has_difference: bool | None = None) -> list[Account]:
        """All accounts, or those of a user, by id.

        With `has_difference` only those that have a report whose difference was not taken back, or with False only
        those that have none.
        """
        query = arguments.query(
            user_id=optional_text("user_id", user_id),
            has_difference=None if has_difference is None else arguments.flag("has_difference", has_difference),
        )
        return Account.all_of(await self._list(ACCOUNTS, query))

    async def get_account(self, account_id: str) -> Account:
        """One account, with its latest facts; NotFound also for an id that ends in /allocations or /reports."""
        account = segment("Account", account_id)
        if account.endswith(_BELOW):
            raise NotFound.of("Account", account_id)
        return Account.of(await self._read((*ACCOUNTS, account)))

    async def list_reports(self, account_id: str) -> list[Report]:
        """The reports of an account, the newest first, each with its difference."""
        return Report.all_of(await self._list((*ACCOUNTS, segment("Account", account_id), "reports")))

    async def get_allocations(self, account_id: str) -> Allocations:
        """How an account is divided between goals, and what is left of it."""
        first, *others = await self._pages((*ACCOUNTS, segment("Account", account_id), "allocations"))
        whole = Allocations.of(first)
        for page in others:
            whole.allocations += Allocations.of(page).allocations
        return whole

    async def list_relinks(self, user_id: str | None = None) -> list[Relink]:
        """The accounts, all or those of a user, that probably go on under a new id, and are not joined with it yet."""
        query = arguments.query(user_id=optional_text("user_id", user_id))
        return Relink.all_of(await self._list(RELINKS, query))

    async def accept_relink(
        self,
        old_account_id: str,
        new_account_id: str,
        *,
        from_: date | str | None = None,
        idempotency_key: str | None = None,
    ) -> Account:
        """Let an account go on as another one, listed or not, from the other's first report or the day `from_` on.

        Returns the old account. Raises InvalidField for two that cannot be joined.
        """
        body = {
            "old_account_id": text("old_account_id", old_account_id),
            "new_account_id": text("new_account_id", new_account_id),
            "from": moment("from", from_),
        }
        return Account.of(await self._change("POST", RELINKS, body, idempotency_key))

    async def undo_relink(self, old_account_id: str, *, idempotency_key: str | None = None) -> Account:
        """Let an account go on as itself again, whoever said that another one replaces it; returns the account."""
        body = {"old_account_id": text("old_account_id", old_account_id)}
        return Account.of(await self._change("POST", (*RELINKS, "undo"), body, idempotency_key))
