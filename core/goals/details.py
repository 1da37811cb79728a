"""What an application keeps with a goal for itself: its own id, a small JSON object, a position, and an image."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

import msgspec

from core.errors import InvalidField

METADATA_LONGEST_BYTES = 4_096
METADATA_DEEPEST = 8
IMAGE_URL_LONGEST = 2_048
POSITION_MOST = 2**31 - 1
# Of the numbers that a float can hold.
_MAGNITUDE = 308
_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class GoalDetails:
    """As stored: `metadata` is the text of a JSON object."""

    external_id: str | None = None
    metadata: str | None = None
    position: int | None = None
    image_url: str | None = None


def check_metadata(value: object) -> str:
    """A JSON object as text, with the digits of its numbers; raises InvalidField."""
    if not isinstance(value, Mapping):
        raise InvalidField("metadata", "must be a JSON object")
    _check_inside(value, 0)
    try:
        encoded = _encode(value)
    except UnicodeEncodeError:
        raise InvalidField("metadata", "must not contain broken Unicode") from None
    if len(encoded) > METADATA_LONGEST_BYTES:
        raise InvalidField("metadata", f"must have at most {METADATA_LONGEST_BYTES:,} bytes as JSON")
    return encoded.decode()


def check_position(value: int) -> int:
    """Return the position unchanged; raises InvalidField."""
    if not 0 <= value <= POSITION_MOST:
        raise InvalidField("position", f"must be from 0 to {POSITION_MOST}")
    return value


def check_image_url(value: str) -> str:
    """Return the address unchanged; raises InvalidField for what is no https URL that a browser can load."""
    try:
        parts = urlsplit(value)
        is_one = parts.scheme == "https" and bool(parts.hostname) and parts.username is None and (parts.port or 1) > 0
    except ValueError:
        is_one = False
    if not is_one or not value.isascii() or not value.isprintable() or " " in value:
        raise InvalidField("image_url", "must be an https:// URL in ASCII, without a user and a password")
    if len(value) > IMAGE_URL_LONGEST:
        raise InvalidField("image_url", f"must have at most {IMAGE_URL_LONGEST:,} characters")
    return value


def _check_inside(value: object, depth: int) -> None:
    if depth > METADATA_DEEPEST:
        raise InvalidField("metadata", f"must be nested at most {METADATA_DEEPEST} deep")
    if isinstance(value, Decimal) and not (value.is_finite() and abs(value.adjusted()) < _MAGNITUDE):
        raise InvalidField("metadata", "must not hold NaN, an infinity, or a number that is none in most languages")
    if isinstance(value, Mapping):
        for each in value.values():
            _check_inside(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            _check_inside(each, depth + 1)
