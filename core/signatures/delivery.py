"""A delivery as it came, and the reasons for which it is not taken."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from core.errors import MilepostError

HEADER_LONGEST = 8_192
SIGNATURES_MOST = 10
_SECONDS = re.compile(r"\d{1,11}", re.ASCII)


class SignatureRefused(MilepostError):
    """The delivery is not signed as it should be; the text says why, for our own log: its sender is told less."""


class UnknownVerificationKey(SignatureRefused):
    """A delivery names a key that we have not been given."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no verification key {key_id!r} is known")
        self.key_id = key_id


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was posted: the very bytes, the headers by their names in small letters, and when it came."""

    body: bytes = field(repr=False)
    headers: Sequence[tuple[str, str]] = field(repr=False)
    arrived_at: datetime

    def header(self, name: str) -> str:
        """The one header of this name; raises SignatureRefused if it is missing, there twice, or absurdly long."""
        found = [value for key, value in self.headers if key == name]
        if len(found) != 1:
            raise SignatureRefused(f"{name} is {'there more than once' if found else 'missing'}")
        if len(found[0]) > HEADER_LONGEST:
            raise SignatureRefused(f"{name} is longer than {HEADER_LONGEST} characters")
        return found[0].strip()

    def check_age(self, seconds: str, tolerance: timedelta) -> None:
        """Raise SignatureRefused unless a moment in Unix seconds is within `tolerance` of the arrival, both ways."""
        if not _SECONDS.fullmatch(seconds):
            raise SignatureRefused("the moment of signing is no number of seconds")
        age = self.arrived_at.astimezone(UTC).timestamp() - int(seconds)
        if abs(age) > tolerance.total_seconds():
            raise SignatureRefused(
                f"signed {abs(age):.0f} s {'ago' if age > 0 else 'ahead'}, outside the replay window"
            )


def share_one(given: Iterable[bytes], expected: Sequence[bytes]) -> bool:
    """Whether any of `given` is among `expected`, in a time that tells neither which it is nor how near one comes."""
    found = False
    for each in given:
        for other in expected:
            found |= hmac.compare_digest(each, other)
    return found


def as_bytes(header: str) -> bytes:
    """The bytes of a header's value as they came: comparing text that is not ASCII in constant time is not possible."""
    return header.encode("latin-1", "replace")
