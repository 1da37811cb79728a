"""Plaid: `Plaid-Verification`, a JWT signed with ES256 whose claims hold the SHA-256 of the body.

Source: Plaid's documentation of webhook verification. The keys are Plaid's and the same for all its customers, so a
good signature tells that Plaid sent it, and only the address tells for whom.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import jwt

from core.errors import InvalidField
from core.signatures.delivery import Delivery, SignatureRefused, UnknownVerificationKey, as_bytes, share_one

HEADER = "plaid-verification"
ALGORITHM = "ES256"
TOLERANCE = timedelta(minutes=5)
KEYS_MOST = 20
TOKEN_LONGEST = 4_096
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
# Moments are held against the arrival of the delivery, not against the library's clock.
_OPTIONS: Any = {"verify_iat": False, "verify_exp": False, "verify_nbf": False, "verify_aud": False, "require": ["iat"]}


def check_secret(text: str) -> tuple[str, ...]:
    """Keys out of JSON, each as JSON of its own: a JWK, Plaid's answer that holds one, a list or a set of them.

    Raises InvalidField.
    """
    try:
        keys = tuple(_key_text(each) for each in _keys(json.loads(text)))
    except (ValueError, RecursionError, jwt.PyJWTError) as error:
        raise InvalidField("secret", f"must be JSON with JWKs of kty EC, crv P-256 and a kid ({error})") from None
    if not 1 <= len(keys) <= KEYS_MOST:
        raise InvalidField("secret", f"must have 1 to {KEYS_MOST} keys")
    return keys


def key_id(key: str) -> str:
    """The `kid` of a key that was checked."""
    return str(json.loads(key)["kid"])


def verify(delivery: Delivery, secrets: Sequence[str]) -> None:
    """Raise SignatureRefused unless the token is Plaid's, fresh, and of this body; UnknownVerificationKey."""
    token = delivery.header(HEADER)
    if len(token) > TOKEN_LONGEST:
        raise SignatureRefused(f"{HEADER} is longer than {TOKEN_LONGEST} characters")
    try:
        claims = _claims(token, secrets, delivery)
    # The library parses what anybody sent before it looks at the signature; what it lets through is a refusal too.
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise SignatureRefused(f"{HEADER} is no token as it should be: {type(error).__name__}") from None
    signed_at = claims["iat"]
    if isinstance(signed_at, bool) or not isinstance(signed_at, int | float) or not abs(signed_at) < 1e11:
        raise SignatureRefused("iat is no moment")
    delivery.check_age(str(int(signed_at)), TOLERANCE)
    stated = claims.get("request_body_sha256")
    digest = hashlib.sha256(delivery.body).hexdigest().encode()
    if not isinstance(stated, str) or not share_one([as_bytes(stated)], [digest]):
        raise SignatureRefused("request_body_sha256 is not that of the body")


def _claims(token: str, secrets: Sequence[str], delivery: Delivery) -> dict[str, Any]:
    header = jwt.get_unverified_header(token)
    wanted = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(wanted, str) or not _KEY_ID.fullmatch(wanted):
        raise SignatureRefused(f"the token is not signed with {ALGORITHM}, or names no key")
    key = next((found for each in secrets if (found := json.loads(each))["kid"] == wanted), None)
    if key is None:
        raise UnknownVerificationKey(wanted)
    expired_at = key.get("expired_at")
    if expired_at is not None and expired_at <= delivery.arrived_at.timestamp():
        raise SignatureRefused(f"the verification key {wanted} has expired")
    claims: dict[str, Any] = jwt.decode(
        token, jwt.PyJWK(_public(key), algorithm=ALGORITHM), algorithms=[ALGORITHM], options=_OPTIONS
    )
    return claims


def _keys(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for each in value:
            yield from _keys(each)
    elif isinstance(value, dict) and ("keys" in value or "key" in value):
        yield from _keys(value.get("keys", value.get("key")))
    elif isinstance(value, dict):
        yield value
    else:
        raise ValueError("a key is an object")


def _key_text(key: dict[str, Any]) -> str:
    """What is kept of a key, once it is known to be one that can verify."""
    if key.get("kty") != "EC" or key.get("crv") != "P-256" or key.get("alg", ALGORITHM) != ALGORITHM:
        raise ValueError("not an ES256 key")
    if not isinstance(key.get("kid"), str) or not _KEY_ID.fullmatch(key["kid"]):
        raise ValueError("kid is missing")
    expired_at = key.get("expired_at")
    if expired_at is not None and (isinstance(expired_at, bool) or not isinstance(expired_at, int)):
        raise ValueError("expired_at is no number of seconds")
    jwt.PyJWK(_public(key), algorithm=ALGORITHM)
    return json.dumps({**_public(key), "kid": key["kid"], "expired_at": expired_at})


def _public(key: dict[str, Any]) -> dict[str, Any]:
    """The public half alone, whatever else was in the file."""
    return {name: key.get(name) for name in ("kty", "crv", "x", "y")}
