"""What the webhooks of all providers share: deliveries, refusals, and states of connections."""

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from core.errors import EventRejected, MilepostError, ProviderBodyRefused
from core.events.envelope import ID_LONGEST, identifier
from core.providers.contracts import Adapted, Context, Refresh
from core.providers.fields import first_text
from core.providers.rows import Reading, connection_statements, event_of

HEADER_LONGEST = 8_192
SIGNATURES_MOST = 10
CODE_LONGEST = 100
_SECONDS = re.compile(r"\d{1,11}", re.ASCII)


class SignatureRefused(MilepostError):
    """The delivery is not signed correctly. The text says why, for our own log only: its sender gets no reason."""


class UnknownVerificationKey(SignatureRefused):
    """A delivery names a key that this address does not have."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no verification key {key_id!r} is known")
        self.key_id = key_id


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was posted: the bytes of the body unchanged, the headers with lower-case names, and when it arrived."""

    body: bytes = field(repr=False)
    headers: Sequence[tuple[str, str]] = field(repr=False)
    arrived_at: datetime

    def header(self, name: str) -> str:
        """The header of this name; raises SignatureRefused if it is missing, there more than once, or too long."""
        found = [value for key, value in self.headers if key == name]
        if len(found) != 1:
            raise SignatureRefused(f"{name} is {'there more than once' if found else 'missing'}")
        if len(found[0]) > HEADER_LONGEST:
            raise SignatureRefused(f"{name} is longer than {HEADER_LONGEST} characters")
        return found[0].strip()

    def check_age(self, seconds: str, tolerance: timedelta) -> None:
        """Raise SignatureRefused unless a time in Unix seconds is at most `tolerance` before or after the arrival."""
        if not _SECONDS.fullmatch(seconds):
            raise SignatureRefused("the time of signing is not a number of seconds")
        age = self.arrived_at.astimezone(UTC).timestamp() - int(seconds)
        if abs(age) > tolerance.total_seconds():
            raise SignatureRefused(
                f"signed {abs(age):.0f} s {'ago' if age > 0 else 'in the future'}, outside the replay window"
            )


def share_one(given: Iterable[bytes], expected: Sequence[bytes]) -> bool:
    """Whether any of `given` is in `expected`, in a time that shows neither which one it is nor how close one came."""
    found = False
    for each in given:
        for other in expected:
            found |= hmac.compare_digest(each, other)
    return found


def as_bytes(header: str) -> bytes:
    """The bytes of a header's value. Text that is not ASCII cannot be compared in constant time, bytes can."""
    return header.encode("latin-1", "replace")


def webhook_object(body: object) -> Mapping[str, Any]:
    """The body, which must be an object in every webhook."""
    if not isinstance(body, dict):
        raise ProviderBodyRefused("not_this_form", "a webhook is an object")
    return body


def code_of(body: Mapping[str, Any], field: str) -> str:
    """The provider's code in `field`, which must be there."""
    try:
        return identifier(body.get(field), field, CODE_LONGEST)
    except EventRejected as error:
        raise ProviderBodyRefused("not_this_form", error.message, field) from None


def refresh(candidates: Iterable[object], kind: str, reason: str) -> Adapted:
    """A request to pull `kind`, for the first of the candidates that can be an id."""
    for subject in candidates:
        try:
            return Adapted(
                refreshes=(Refresh(identifier(subject, "subject", ID_LONGEST), _storable(kind), _storable(reason)),)
            )
        except EventRejected:
            continue
    raise ProviderBodyRefused("not_this_form", "the webhook names nothing that it is about")


def connection_state(
    subject: object, named: Iterable[object], state: str, reason: str, known_at: datetime | None, context: Context
) -> Adapted:
    """The state of the known accounts of connection `subject` and of those `named`; a refresh if none is known."""
    names = {name for name in named if isinstance(name, str)}
    affected = [
        known.account_id
        for name, known in context.accounts.items()
        if name in names or (known.connection is not None and known.connection == subject)
    ]
    if not affected:
        return refresh([subject, *sorted(names)], "connection", reason)
    statements = connection_statements(affected, Reading(context).time(known_at), state, first_text(reason))
    return Adapted(events=tuple(event_of(statement, context.source, "") for statement in statements))


def _storable(code: str) -> str:
    """A provider's code as a database takes it."""
    return "".join(letter for letter in code if letter.isprintable())[:CODE_LONGEST] or "unsaid"
