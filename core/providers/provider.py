"""What a provider is: one record at the end of its module, which the registry lists."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.providers.contracts import Adapted, AdaptedEvent, Context
from core.providers.rows import Part
from core.providers.webhooks import Delivery

SECRETS_MOST = 5

DECOY = "no-one-knows-this-secret-since-it-is-checked-in-vain"
"""For providers whose secrets are text, out of which to make decoys."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a provider's secrets are read, deliveries verified, and what a 401 asks for.

    `read_secrets` makes secrets of what the integrator gives and raises InvalidField; `verify` raises SignatureRefused.
    `decoys` are checked in the place of the secrets of an address that does not exist or has none yet, so that it takes
    as long. They are no secrets: what is signed with one is not to be taken.

    `make_secret` is for providers that leave the choice of a secret to us; where it is None the provider gives one.
    `key_id` is for those that have several keys at a time and say themselves when one expires: a new key takes the
    place of that with its name. Without it a new secret ends the old ones after a while. An address keeps the newest
    `secrets_most`.
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
    """What a provider posts: what a body becomes, and how it is signed."""

    adapt: Callable[[object, Context], Adapted]
    scheme: Scheme


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """One provider. Its name is in paths (`POST /webhooks/{provider}`) and in the database, and is the events' source.

    `formats` are those of bodies that are pulled (`POST /events?format=`), each with what a body becomes. `parts` are
    all places of its bodies where rows are, so that a row that was not understood can be read again. `accounts_in` and
    `connections_in` find the ids of accounts, and of items, enrollments or members, in a pulled body or a webhook, and
    none in what is not of its form; without `accounts_in` the provider has no account ids of its own.
    """

    name: str
    formats: Mapping[str, Callable[[object, Context], Iterator[AdaptedEvent]]] = field(default_factory=dict)
    webhook: Webhook | None = None
    parts: tuple[Part, ...] = ()
    accounts_in: Callable[[object], Iterable[object]] | None = None
    connections_in: Callable[[object], Iterable[object]] | None = None


def one_secret(check: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """`read_secrets` of a provider whose secrets are given one at a time."""
    return lambda text: (check(text),)
