"""Signing as each provider does, for tests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm

from core.providers.registry import Provider

TELLER_SECRET = "signing_secret_of_teller_01"
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MX_SECRET = "mx:a-password-that-is-long"
PLAID_KEY = generate_private_key(SECP256R1())


def jwk(key: EllipticCurvePrivateKey = PLAID_KEY, kid: str = "kid-1", **more: Any) -> dict[str, Any]:
    """The public key as Plaid gives it."""
    return {**json.loads(ECAlgorithm.to_jwk(key.public_key())), "alg": "ES256", "use": "sig", "kid": kid, **more}


def plaid(
    body: bytes, at: datetime, key: Any = PLAID_KEY, kid: str = "kid-1", alg: str = "ES256", **claims: Any
) -> dict[str, str]:
    """The headers of Plaid's delivery."""
    all_claims = {"iat": int(at.timestamp()), "request_body_sha256": hashlib.sha256(body).hexdigest(), **claims}
    wanted = {name: value for name, value in all_claims.items() if value is not None}
    return {"Plaid-Verification": jwt.encode(wanted, key, algorithm=alg, headers={"kid": kid})}


def symmetric_plaid(body: bytes, at: datetime, key: bytes, alg: str = "HS256") -> dict[str, str]:
    """A token with an HMAC, or unsigned for an empty key; the library refuses to make one with a public key."""
    claims = {"iat": int(at.timestamp()), "request_body_sha256": hashlib.sha256(body).hexdigest()}
    parts = [json.dumps(each).encode() for each in ({"alg": alg, "typ": "JWT", "kid": "kid-1"}, claims)]
    content = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    code = hmac.new(key, content, hashlib.sha256).digest() if key else b""
    return {"Plaid-Verification": (content + b"." + base64.urlsafe_b64encode(code).rstrip(b"=")).decode()}


def public_pem(key: EllipticCurvePrivateKey = PLAID_KEY) -> bytes:
    """The public key in the form that an algorithm confusion attack uses as an HMAC key."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def teller(body: bytes, at: datetime, *secrets: str) -> dict[str, str]:
    """The headers of Teller's delivery, a signature for each secret."""
    moment = str(int(at.timestamp()))
    content = moment.encode() + b"." + body
    codes = [hmac.new(each.encode(), content, hashlib.sha256).hexdigest() for each in secrets or (TELLER_SECRET,)]
    return {"Teller-Signature": ",".join([f"t={moment}", *(f"v1={code}" for code in codes)])}


def standard(body: bytes, at: datetime, *secrets: str, name: str = "msg_1") -> dict[str, str]:
    """The headers of a delivery by Standard Webhooks."""
    moment = str(int(at.timestamp()))
    content = f"{name}.{moment}.".encode() + body
    keys = [base64.b64decode(each.removeprefix("whsec_")) for each in secrets or (STANDARD_SECRET,)]
    codes = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    signed = " ".join(f"v1,{code}" for code in codes)
    return {"webhook-id": name, "webhook-timestamp": moment, "webhook-signature": signed}


def mx(credentials: str = MX_SECRET) -> dict[str, str]:
    """The headers of MX's delivery."""
    return {"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}


Sign = Callable[[bytes, datetime], dict[str, str]]
SIGNERS: dict[Provider, Sign] = {
    Provider.PLAID: plaid,
    Provider.TELLER: teller,
    Provider.MX: lambda _body, _at: mx(),
    Provider.STANDARD: standard,
}
SECRETS = {
    Provider.PLAID: json.dumps(jwk()),
    Provider.TELLER: TELLER_SECRET,
    Provider.MX: MX_SECRET,
    Provider.STANDARD: STANDARD_SECRET,
}
