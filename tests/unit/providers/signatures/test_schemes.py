"""A delivery that its provider signed is accepted, and nothing else is, whatever was sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidField
from core.providers import plaid as plaid_scheme
from core.providers.registry import Provider, scheme_of
from core.providers.webhooks import Delivery, SignatureRefused, UnknownVerificationKey
from tests.unit.providers.signatures import signing
from tests.unit.providers.signatures.signing import SECRETS, SIGNERS

AT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
BODY = b'{"webhook_type": "TRANSACTIONS", "item_id": "i"}'
NOT_UTF8 = b"\xff\x00"
ONE = timedelta(seconds=1)

WINDOWS = {
    Provider.PLAID: timedelta(minutes=5),
    Provider.TELLER: timedelta(minutes=3),
    Provider.STANDARD: timedelta(minutes=5),
}


def delivery(headers: Mapping[str, str], body: bytes = BODY, at: datetime = AT) -> Delivery:
    """A delivery with such headers."""
    return Delivery(body, [(name.lower(), value) for name, value in headers.items()], at)


def verify(
    provider: Provider, headers: Mapping[str, str], body: bytes = BODY, *secrets: str, at: datetime = AT
) -> None:
    """Verify with the provider's secrets, those of SECRETS unless given."""
    read = [each for text in secrets or (SECRETS[provider],) for each in scheme_of(provider).read_secrets(text)]
    scheme_of(provider).verify(delivery(headers, body, at), read)


@pytest.mark.parametrize("provider", list(Provider))
@pytest.mark.parametrize("body", [BODY, b"", NOT_UTF8])
def test_what_is_signed_is_taken(provider: Provider, body: bytes) -> None:
    """The bytes of the body may be anything."""
    verify(provider, SIGNERS[provider](body, AT), body)


@pytest.mark.parametrize("provider", WINDOWS)
def test_the_replay_window_has_both_its_ends(provider: Provider) -> None:
    """At the end of the window a delivery is taken, a second later it is not; nor is one from the future."""
    window = WINDOWS[provider]
    for signed_at in (AT - window, AT + window):
        verify(provider, SIGNERS[provider](BODY, signed_at))
    for signed_at in (AT - window - ONE, AT + window + ONE):
        with pytest.raises(SignatureRefused, match="outside the replay window"):
            verify(provider, SIGNERS[provider](BODY, signed_at))


@pytest.mark.parametrize("provider", WINDOWS)
def test_another_body_is_refused(provider: Provider) -> None:
    """One bit is enough, wherever it is; so is a byte more or less."""
    headers = SIGNERS[provider](BODY, AT)
    flipped = [BODY[:n] + bytes([BODY[n] ^ 1]) + BODY[n + 1 :] for n in range(len(BODY))]
    for body in (*flipped, BODY + b" ", BODY[:-1], b""):
        with pytest.raises(SignatureRefused):
            verify(provider, headers, body)


@pytest.mark.parametrize("provider", list(Provider))
@given(place=st.integers(0, 10_000), character=st.characters(min_codepoint=0x21, max_codepoint=0xFF))
def test_no_other_header_is_taken(provider: Provider, place: int, character: str) -> None:
    """A header with any one character changed is refused, unless it is another spelling of the same bytes."""
    headers = SIGNERS[provider](BODY, AT)
    name = list(headers)[-1]
    at = place % len(headers[name])
    changed = headers[name][:at] + character + headers[name][at + 1 :]
    if _means_the_same(provider, headers[name], changed):
        return
    with pytest.raises(SignatureRefused):
        verify(provider, {**headers, name: changed})


def _means_the_same(provider: Provider, header: str, changed: str) -> bool:
    """Whether both are the same bytes: base64's last character has unused bits, and a scheme's name any case."""
    if provider is Provider.PLAID:
        head, _, last = header.rpartition(".")
        changed_head, _, changed_last = changed.rpartition(".")
        return head == changed_head and _bytes(last) == _bytes(changed_last)
    if provider is Provider.MX:
        return header.lower() == changed.lower()[: len(header)] and header[6:] == changed[6:]
    return header == changed


def _bytes(text: str) -> bytes | None:
    try:
        return base64.urlsafe_b64decode(text.encode("latin-1") + b"==")
    except ValueError:
        return None


TEXT = st.text(st.characters(max_codepoint=0xFF), max_size=300)
TOKENS = st.builds(
    lambda header, payload, signature: b".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload, signature)
    ).decode(),
    st.one_of(
        st.binary(max_size=60),
        st.builds(
            lambda value: json.dumps(value).encode(),
            st.dictionaries(
                st.sampled_from(["alg", "kid", "crit", "b64", "jwk", "zip"]),
                st.one_of(
                    st.sampled_from(["ES256", "none", "HS256", "kid-1"]),
                    st.integers(),
                    st.none(),
                    st.lists(st.text(max_size=3), max_size=2),
                ),
            ),
        ),
        st.just(b"[" * 2_000),
        st.just(b'{"alg":' * 300),
    ),
    st.binary(max_size=60),
    st.binary(max_size=80),
)


@pytest.mark.parametrize("provider", list(Provider))
@given(data=st.data())
def test_nothing_but_a_refusal_comes_out(provider: Provider, data: st.DataObject) -> None:
    """Garbage of any kind in the headers is refused by name, and raises nothing else."""
    names = [name.lower() for name in SIGNERS[provider](BODY, AT)]
    headers = data.draw(
        st.lists(st.tuples(st.sampled_from(names), st.one_of(TEXT, TOKENS, TOKENS.map("Basic {}".format))), max_size=4)
    )
    read = scheme_of(provider).read_secrets(SECRETS[provider])
    with pytest.raises(SignatureRefused):
        scheme_of(provider).verify(Delivery(data.draw(st.binary(max_size=50)), headers, AT), read)


@pytest.mark.parametrize("provider", list(Provider))
def test_a_header_comes_once(provider: Provider) -> None:
    """A header that is missing, or there twice, is refused: nobody could say which of the two counts."""
    headers = [(name.lower(), value) for name, value in SIGNERS[provider](BODY, AT).items()]
    read = scheme_of(provider).read_secrets(SECRETS[provider])
    for n, found in enumerate(headers):
        for wrong in (headers[:n] + headers[n + 1 :], [*headers, found]):
            with pytest.raises(SignatureRefused, match=r"missing|more than once"):
                scheme_of(provider).verify(Delivery(BODY, wrong, AT), read)
    with pytest.raises(SignatureRefused, match="longer than"):
        scheme_of(provider).verify(Delivery(BODY, [*headers[:-1], (headers[-1][0], "x" * 9_000)], AT), read)


@pytest.mark.parametrize("provider", list(Provider))
def test_the_decoys_take_nothing(provider: Provider) -> None:
    """Decoys, which are checked for an address that does not exist, verify no delivery, however it is signed."""
    scheme = scheme_of(provider)
    with pytest.raises(SignatureRefused):
        scheme.verify(delivery(SIGNERS[provider](BODY, AT)), scheme.decoys)


def test_several_secrets_are_good_during_a_rotation() -> None:
    """One signature with one of our secrets is enough; a signature with any other secret does not count."""
    old, new, foreign = signing.TELLER_SECRET, "another_secret_of_teller", "nobody_knows_this_secret"
    for theirs in ((old,), (new,), (old, new), (new, old), (foreign, new)):
        verify(Provider.TELLER, signing.teller(BODY, AT, *theirs), BODY, old, new)
    with pytest.raises(SignatureRefused):
        verify(Provider.TELLER, signing.teller(BODY, AT, foreign), BODY, old, new)
    with pytest.raises(SignatureRefused, match=r"not t=\.\.\.,v1="):
        verify(Provider.TELLER, signing.teller(BODY, AT, *[old] * 11))
    other = "whsec_" + base64.b64encode(bytes(32)).decode()
    verify(Provider.STANDARD, signing.standard(BODY, AT, other, signing.STANDARD_SECRET), BODY)
    verify(Provider.STANDARD, signing.standard(BODY, AT, other), BODY, signing.STANDARD_SECRET, other)


def test_standard_webhooks_sign_as_their_own_library_does() -> None:
    """A signature that the library of the scheme made for a secret of the specification."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    verify(Provider.STANDARD, headers, b'{"test": 2432232314}', at=datetime.fromtimestamp(1614265330, UTC))


def test_a_public_key_verifies_its_own_kind_of_signature() -> None:
    """v1a is Ed25519; neither kind is accepted for the other, and signatures of unknown versions are ignored."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    secret = "whpk_" + base64.b64encode(public).decode()
    headers = signing.standard(BODY, AT)
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + BODY
    signed = base64.b64encode(key.sign(content)).decode()
    verify(Provider.STANDARD, {**headers, "webhook-signature": f"v2,x v1a,{signed}"}, BODY, secret)
    for signature in (f"v1,{signed}", headers["webhook-signature"], signed, f"v1a,{signed[:-4]}"):
        with pytest.raises(SignatureRefused):
            verify(Provider.STANDARD, {**headers, "webhook-signature": signature}, BODY, secret)


def test_only_es256_with_plaids_key_is_a_token_of_plaids() -> None:
    """No other algorithm and no other key is accepted, not even a key that is in the token itself."""
    other = generate_private_key(SECP256R1())
    keys = (b"x" * 40, signing.public_pem(), json.dumps(signing.jwk()).encode())
    symmetric = [signing.symmetric_plaid(BODY, AT, key) for key in keys]
    unsigned = [signing.symmetric_plaid(BODY, AT, b"", alg) for alg in ("none", "None", "ES256", "")]
    foreign, wider = (
        signing.plaid(BODY, AT, key=other),
        signing.plaid(BODY, AT, generate_private_key(SECP384R1()), alg="ES384"),
    )
    claims = {"iat": int(AT.timestamp()), "request_body_sha256": "x"}
    carrying = {"Plaid-Verification": jwt.encode(claims, other, "ES256", {"kid": "kid-1", "jwk": signing.jwk(other)})}
    for headers in (*symmetric, *unsigned, foreign, wider, carrying):
        with pytest.raises(SignatureRefused) as refused:
            verify(Provider.PLAID, headers)
        assert not isinstance(refused.value, UnknownVerificationKey)


@pytest.mark.parametrize(
    "claims",
    [
        {"iat": None},
        {"iat": "1773144000"},
        {"iat": True},
        {"iat": 1e300},
        {"iat": -1},
        {"request_body_sha256": None},
        {"request_body_sha256": ""},
        {"request_body_sha256": 5},
        {"request_body_sha256": "é"},
        {"request_body_sha256": "0" * 64},
    ],
)
def test_a_token_without_its_claims_is_refused(claims: dict[str, Any]) -> None:
    """It is signed with the right key, but has no valid time or not the hash of this body."""
    with pytest.raises(SignatureRefused):
        verify(Provider.PLAID, signing.plaid(BODY, AT, **claims))


def test_an_unknown_key_is_named_and_an_expired_one_is_refused() -> None:
    """The integrator is asked for the unknown key, and never for the expired one."""
    with pytest.raises(UnknownVerificationKey) as unknown:
        verify(Provider.PLAID, signing.plaid(BODY, AT, kid="kid-9"))
    assert unknown.value.key_id == "kid-9"
    second = generate_private_key(SECP256R1())
    keys = [signing.jwk(expired_at=int(AT.timestamp())), signing.jwk(second, "kid-2", expired_at=None)]
    both = json.dumps({"keys": keys})
    verify(Provider.PLAID, signing.plaid(BODY, AT, second, "kid-2"), BODY, both)
    verify(Provider.PLAID, signing.plaid(BODY, AT - 2 * ONE), BODY, both, at=AT - ONE)
    with pytest.raises(SignatureRefused, match="has expired"):
        verify(Provider.PLAID, signing.plaid(BODY, AT), BODY, both)


def test_plaids_keys_are_read_in_every_form_and_only_their_public_half_is_kept() -> None:
    """The forms: a key, the answer that has one, a list, a set."""
    private = {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(signing.PLAID_KEY)), "kid": "kid-1"}
    key = signing.jwk()
    read = scheme_of(Provider.PLAID).read_secrets
    for value in (key, {"key": key, "request_id": "r"}, [key], {"keys": [key]}, private):
        (kept,) = read(json.dumps(value))
        assert plaid_scheme.key_id(kept) == "kid-1"
        assert set(json.loads(kept)) == {"kty", "crv", "x", "y", "kid", "expired_at"}


BAD_SECRETS = {
    Provider.PLAID: [
        "",
        "{}",
        "[]",
        "null",
        "[" * 100_000,
        json.dumps({**signing.jwk(), "kid": None}),
        json.dumps({**signing.jwk(), "crv": "P-384"}),
        json.dumps({**signing.jwk(), "x": "AA"}),
        json.dumps({**signing.jwk(), "expired_at": "x"}),
        json.dumps([signing.jwk()] * 21),
    ],
    Provider.TELLER: [
        "",
        "short",
        "x" * 501,
        "two words of a secret text",
        "ééééééééééééééééé",
        "line\nbreak_in_the_middle",
    ],
    Provider.STANDARD: [
        "",
        "whsec_",
        "whsec_AAAA",
        "whsec_" + "?" * 40,
        "whpk_AAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ],
    Provider.MX: ["", "user", ":a-password-that-is-long", "user:short", "user:a-password-that\nis-long"],
}


@pytest.mark.parametrize("provider", BAD_SECRETS)
def test_what_is_no_secret_is_refused_when_it_is_set(provider: Provider) -> None:
    """The refusal names the field and does not repeat the secret."""
    for text in BAD_SECRETS[provider]:
        with pytest.raises(InvalidField) as refused:
            scheme_of(provider).read_secrets(text)
        assert refused.value.field == "secret"
        assert len(text) < 8 or text not in str(refused.value)
