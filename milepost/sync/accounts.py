# Generated from milepost/client by `make sync-client`; change it there.
"""Accounts: what is known of each, how it is divided between goals, and which one goes on as which other."""

from datetime import date

from milepost.client import arguments
from milepost.client.accounts import Account, Allocations, Relink, Report
from milepost.client.arguments import ACCOUNTS, moment, optional_text, segment, text
from milepost.client.errors import NotFound
from milepost.sync.resource import Resource

RELINKS = ("relinks",)
# What the address of an account with such an id would lead to.
_BELOW = ("/allocations", "/reports")


class Accounts(Resource):
    """The accounts of one tenant. Each exists once an event, a link or a registration has named it."""

    def list_accounts(self, user_id: str | None = None, *, has_difference: bool | None = None) -> list[Account]:
        """All accounts, or those of a user, by id.

        With `has_difference` only those that have a report whose difference was not taken back, or with False only
        those that have none.
        """
        query = arguments.query(
            user_id=optional_text("user_id", user_id),
            has_difference=None if has_difference is None else arguments.flag("has_difference", has_difference),
        )
        return Account.all_of(self._list(ACCOUNTS, query))

    def get_account(self, account_id: str) -> Account:
        """One account, with its latest facts; NotFound also for an id that ends in /allocations or /reports."""
        account = segment("Account", account_id)
        if account.endswith(_BELOW):
            raise NotFound.of("Account", account_id)
        return Account.of(self._read((*ACCOUNTS, account)))

    def list_reports(self, account_id: str) -> list[Report]:
        """The reports of an account, the newest first, each with its difference."""
        return Report.all_of(self._list((*ACCOUNTS, segment("Account", account_id), "reports")))

    def get_allocations(self, account_id: str) -> Allocations:
        """How an account is divided between goals, and what is left of it."""
        first, *others = self._pages((*ACCOUNTS, segment("Account", account_id), "allocations"))
        whole = Allocations.of(first)
        for page in others:
            whole.allocations += Allocations.of(page).allocations
        return whole

    def list_relinks(self, user_id: str | None = None) -> list[Relink]:
        """The accounts, all or those of a user, that probably go on under a new id, and are not joined with it yet."""
        query = arguments.query(user_id=optional_text("user_id", user_id))
        return Relink.all_of(self._list(RELINKS, query))

    def accept_relink(
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
        return Account.of(self._change("POST", RELINKS, body, idempotency_key))

    def undo_relink(self, old_account_id: str, *, idempotency_key: str | None = None) -> Account:
        """Let an account go on as itself again, whoever said that another one replaces it; returns the account."""
        body = {"old_account_id": text("old_account_id", old_account_id)}
        return Account.of(self._change("POST", (*RELINKS, "undo"), body, idempotency_key))
