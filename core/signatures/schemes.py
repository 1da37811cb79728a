"""Which provider signs how."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from core.events.providers import Provider
from core.signatures import mx, plaid, standard, teller
from core.signatures.delivery import Delivery


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a provider's secrets are read, deliveries verified, and what a 401 asks for.

    `decoys` are checked in the place of the secrets of an address that does not exist or has none yet, so that it takes
    as long. They are no secrets: what is signed with one is not to be taken.
    """

    read_secrets: Callable[[str], tuple[str, ...]]
    verify: Callable[[Delivery, Sequence[str]], None]
    decoys: tuple[str, ...]
    challenge: str


def _one(check: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    return lambda text: (check(text),)


_NO_ONES = "no-one-knows-this-secret-since-it-is-checked-in-vain"
SCHEMES = MappingProxyType(
    {
        Provider.PLAID: Scheme(plaid.check_secret, plaid.verify, (json.dumps({"kid": ""}),), "Plaid-Verification"),
        Provider.TELLER: Scheme(_one(teller.check_secret), teller.verify, (_NO_ONES,), "Teller-Signature"),
        Provider.MX: Scheme(_one(mx.check_secret), mx.verify, (f"nobody:{_NO_ONES}",), 'Basic realm="milepost"'),
        Provider.STANDARD: Scheme(
            _one(standard.check_secret),
            standard.verify,
            (standard.SECRET + base64.b64encode(_NO_ONES.encode()).decode(),),
            "Webhook-Signature",
        ),
    }
)
