"""What the door and the adapters say to each other: formats, what the caller tells of a body, and what it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

ROWS_MOST = 10_000
"""How many rows an array of a body may have: a million tiny ones would each become an event."""


class Format(StrEnum):
    """The form of a body that was pulled from a provider: `POST /events?format=`."""

    PLAID_SYNC = "plaid-sync"
    PLAID_BALANCES = "plaid-balances"
    TELLER = "teller"
    GOCARDLESS = "gocardless"
    MX = "mx"


class Provider(StrEnum):
    """Who posts a webhook: `POST /webhooks/{provider}`. GoCardless Bank Account Data has none.

    `standard` is anyone who signs as Standard Webhooks says; its payload is our own events.
    """

    PLAID = "plaid"
    TELLER = "teller"
    MX = "mx"
    STANDARD = "standard"


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """What the integrator told of a provider's account: its own id for it, and what the provider leaves out.

    Rows of a day before `since` are left out: the account's former id has told them. `connection` is the provider's
    item, enrollment or member that the account hangs on; by it a broken login finds its accounts. `recorded_kind` is
    what Milepost knows of the account by its events: signs are read by it, but it is never stated again, or what was
    known when a body came would stand over what was told since.
    """

    account_id: str
    user_id: str | None = None
    kind: str | None = None
    currency: str | None = None
    since: date | None = None
    connection: str | None = None
    recorded_kind: str | None = None

    def is_former(self, day: date) -> bool:
        """Whether what is dated `day` was told under the account's former id."""
        return self.since is not None and day < self.since


@dataclass(frozen=True, slots=True)
class Context:
    """What the caller says of a body.

    `pulled_at` (aware UTC) is when it was pulled, or when the webhook arrived. `accounts` is by the provider's id; an
    account that is not in it goes by the provider's id. `account_id` is the provider's account for bodies that name
    none; `currency` and `kind` are those of accounts of which neither the body nor `accounts` tells them.
    """

    pulled_at: datetime | None
    source: str
    accounts: Mapping[str, KnownAccount]
    account_id: str | None = None
    user_id: str | None = None
    currency: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class AdaptedEvent:
    """An event as POST /events takes it (JSON text), and the account by which it is spread over the shards."""

    account_id: str
    event: bytes


@dataclass(frozen=True, slots=True)
class Refresh:
    """A webhook that is only a pointer: something is to be pulled.

    `subject` is the provider's item, connection, member or account, `kind` what to pull, `reason` the provider's code.
    """

    subject: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Adapted:
    """What a body becomes. A row that cannot be understood is among the events, as `milepost.provider.row`."""

    events: tuple[AdaptedEvent, ...] = ()
    refreshes: tuple[Refresh, ...] = ()
