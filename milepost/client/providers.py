"""Providers: what is registered for their accounts, and what their webhooks ask to pull."""

from datetime import date, datetime
from typing import Any

from milepost.client import arguments
from milepost.client.arguments import moment, optional_text, segment
from milepost.client.records import Record
from milepost.client.resource import Resource

PROVIDER_ACCOUNTS = ("provider-accounts",)
REFRESH_REQUESTS = ("refresh-requests",)


class ProviderAccount(Record):
    """What was registered for an account of a provider, None where nothing was; `account_id` is your own id for it."""

    _NEEDED = "provider_account_id"

    provider: str
    provider_account_id: str
    account_id: str
    user_id: str | None
    kind: str | None
    currency: str | None
    since: date | None
    connection: str | None
    sign: str | None
    updated_at: datetime


class RefreshRequest(Record):
    """Something to be pulled: `kind` (transactions, balances, accounts, ...) of `subject`, an id of the provider's.

    `count` is how often it was asked for; give it back when it is done.
    """

    _NEEDED = "subject"

    id: str
    provider: str
    subject: str
    kind: str
    reason: str
    opened_at: datetime
    requested_at: datetime
    count: int
    open: bool


class Providers(Resource):
    """The provider accounts and the refresh requests of one tenant: docs/webhooks.md."""

    async def list_provider_accounts(self, provider: str | None = None) -> list[ProviderAccount]:
        """All registered accounts, or those of a provider, by provider and its id."""
        query = arguments.query(provider=optional_text("provider", provider))
        return ProviderAccount.all_of(await self._list(PROVIDER_ACCOUNTS, query))

    async def get_provider_account(self, provider: str, provider_account_id: str) -> ProviderAccount:
        """What was registered for an account."""
        return ProviderAccount.of(await self._read(_path(provider, provider_account_id)))

    async def register_provider_account(
        self,
        provider: str,
        provider_account_id: str,
        *,
        account_id: str | None = None,
        user_id: str | None = None,
        kind: str | None = None,
        currency: str | None = None,
        since: date | str | None = None,
        connection: str | None = None,
        sign: str | None = None,
    ) -> ProviderAccount:
        """Register your own id for an account and what the provider leaves out, in place of an earlier registration.

        Records of days before `since` are left out, `connection` is its item, enrollment or member, and `sign` is
        as_given, reversed, reversed_amounts or reversed_balances. To register it again changes nothing.
        """
        body = {
            "account_id": optional_text("account_id", account_id),
            "user_id": optional_text("user_id", user_id),
            "kind": optional_text("kind", kind),
            "currency": optional_text("currency", currency),
            "since": moment("since", since),
            "connection": optional_text("connection", connection),
            "sign": optional_text("sign", sign),
        }
        return ProviderAccount.of(await self._change("PUT", _path(provider, provider_account_id), body, None))

    async def remove_provider_account(
        self, provider: str, provider_account_id: str, *, idempotency_key: str | None = None
    ) -> None:
        """Forget what was registered for an account; events that came in under your own id stay."""
        await self._change("DELETE", _path(provider, provider_account_id), None, idempotency_key)

    async def list_refresh_requests(self, provider: str | None = None, kind: str | None = None) -> list[RefreshRequest]:
        """What webhooks ask to be pulled, all or of a provider, of a kind; the longest waiting first."""
        query = arguments.query(provider=optional_text("provider", provider), kind=optional_text("kind", kind))
        return RefreshRequest.all_of(await self._list(REFRESH_REQUESTS, query))

    async def finish_refresh_request(
        self, request_id: str, count: int, *, idempotency_key: str | None = None
    ) -> RefreshRequest:
        """Say that it was pulled, with the `count` read before; it stays open if it was asked for again since."""
        path = (*REFRESH_REQUESTS, segment("Refresh request", request_id, slashes=False), "done")
        body = {"count": arguments.whole_number("count", count)}
        return RefreshRequest.of(await self._change("POST", path, body, idempotency_key))


def _path(provider: Any, provider_account_id: Any) -> tuple[str, ...]:
    """The path of a provider account; raises NotFound for what can be none."""
    known = segment("Provider", provider, slashes=False)
    return *PROVIDER_ACCOUNTS, known, segment("Provider account", provider_account_id)
