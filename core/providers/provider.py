"""The record that describes a provider. Each provider's module ends with one, and the registry lists them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.providers.contracts import Adapted, AdaptedEvent, Context
from core.providers.rows import Part
from core.providers.webhooks import Delivery

SECRETS_MOST = 5

DECOY = "no-one-knows-this-secret-since-it-is-checked-in-vain"
"""The text from which providers whose secrets are text make their decoys."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a provider's secrets are read, how its deliveries are verified, and what a 401 asks for (`challenge`).

    `read_secrets` parses the text that the integrator gives into secrets and raises InvalidField; `verify` raises
    SignatureRefused. `decoys` are checked instead of secrets if an address does not exist or has no secret yet, so that
    its refusal takes as long as any other. They are public: a delivery that is signed with one must be refused.

    `make_secret` makes a secret where the provider lets us choose it; it is None where the provider chooses.
    `key_id` is for providers that use several keys at a time and say themselves when one expires: a new key replaces
    the one with the same id. Without `key_id`, a new secret makes the old ones expire after an overlap. An address
    keeps the newest `secrets_most`.
    """

    read_secrets: Callable[[str], tuple[str, ...]]
    verify: Callable[[Delivery, Sequence[str]], None]
    decoys: tuple[str, ...]
    challenge: str
    make_secret: Callable[[], str] | None = None
    key_id: Callable[[str], str] | None = None
    secrets_most: int = SECRETS_MOST


@dataclass(frozen=True, slots=True)
class Webhook:
    """A provider's webhook: `adapt` turns a body into events and refreshes, `scheme` verifies its signature."""

    adapt: Callable[[object, Context], Adapted]
    scheme: Scheme


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """One provider. Its name is in paths (`POST /webhooks/{provider}`) and in the database, and is the events' source.

    `formats` maps each format of a pulled body (`POST /events?format=`) to the function that adapts it. `parts` lists
    all kinds of rows in its bodies, so that a row that was not understood can be read again. `accounts_in` finds the
    ids of accounts in a pulled body or a webhook, `connections_in` the ids of items, enrollments or members. Both find
    none in a body of another form. Without `accounts_in` the provider has no account ids of its own. `has_windows`:
    whether a pull of transactions can be the whole of its days (rows.with_window); no row of it may then be older than
    the window.
    """

    name: str
    formats: Mapping[str, Callable[[object, Context], Iterator[AdaptedEvent]]] = field(default_factory=dict)
    webhook: Webhook | None = None
    parts: tuple[Part, ...] = ()
    accounts_in: Callable[[object], Iterable[object]] | None = None
    connections_in: Callable[[object], Iterable[object]] | None = None
    has_windows: bool = False


def one_secret(check: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """`read_secrets` of a provider whose secrets are given one at a time."""
    return lambda text: (check(text),)
