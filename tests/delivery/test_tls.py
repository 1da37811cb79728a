"""TLS: the certificate has to be valid, trusted, and that of the name in the URL."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from core.delivery.sender import Outcome
from tests.delivery.raw_receivers import TLS, Receiver, hanging, receiving, saying, send, sending


class Authority:
    """Issues certificates, and makes contexts for servers that have them and for clients that trust them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of the tests")])
        certificate = self._issue(self._name, self._key, None, timedelta(days=1))
        self.client = ssl.create_default_context(cadata=certificate.public_bytes(Encoding.PEM).decode())

    def server(self, *names: str, lasts: timedelta = timedelta(days=1)) -> ssl.SSLContext:
        """A server's context; it notes the names that clients ask for in `asked`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Receiver of the tests")])
        certificate = self._issue(subject, key, names, lasts)
        path = self._folder / "server.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _issue(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: tuple[str, ...] | None, lasts: timedelta
    ) -> x509.Certificate:
        """A certificate until `lasts` from now: for these names, or the authority's own."""
        now = datetime.now(UTC)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + lasts)
            .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(issuer, critical=False)
        )
        if names is not None:
            listed = [x509.IPAddress(ip_address(each)) if each[0].isdigit() else x509.DNSName(each) for each in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
        else:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        return builder.sign(self._key, hashes.SHA256())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def send_over_tls(
    server: ssl.SSLContext, client: ssl.SSLContext, host: str = "hooks.test"
) -> tuple[Outcome, Receiver, list[str | None]]:
    """One message; what came of it, what came in, and the names that were asked for."""
    asked: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def main() -> tuple[Outcome, Receiver]:
        async with (
            receiving(saying("200 OK", body=b"ok"), tls=server) as receiver,
            sending(tls=client, resolve=lambda _host, _port: ["127.0.0.1"]) as sender,
        ):
            return await send(sender, receiver.url(host=host, scheme="https")), receiver

    return *asyncio.run(main()), asked


def test_the_name_is_asked_for_and_checked(authority: Authority) -> None:
    """The connection is made to an address, and TLS to the name of the URL."""
    outcome, receiver, asked = send_over_tls(authority.server("hooks.test"), authority.client)
    assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"ok")
    assert asked == ["hooks.test"]
    assert f"\r\nHost: hooks.test:{receiver.port}\r\n" in receiver.requests[0].head


def test_an_address_is_checked_too(authority: Authority) -> None:
    """A certificate may be that of an address."""
    outcome, _, _ = send_over_tls(authority.server("127.0.0.1"), authority.client, "127.0.0.1")
    assert outcome.is_success


@pytest.mark.parametrize(
    ("names", "lasts", "host", "error"),
    [
        (["hooks.test"], -timedelta(days=1), "hooks.test", "certificate: has expired"),
        (["other.test"], timedelta(days=1), "hooks.test", "certificate: Hostname mismatch, certificate is not valid"),
        (["127.0.0.1"], timedelta(days=1), "hooks.test", "certificate: Hostname mismatch, certificate is not valid"),
        (["hooks.test"], timedelta(days=1), "127.0.0.1", "certificate: IP address mismatch, certificate is not valid"),
    ],
)
def test_bad_certificates_are_refused(
    authority: Authority, names: list[str], lasts: timedelta, host: str, error: str
) -> None:
    """Expired, or that of another name: nothing is sent."""
    outcome, receiver, _ = send_over_tls(authority.server(*names, lasts=lasts), authority.client, host)
    assert outcome.status is None
    assert outcome.error is not None
    assert outcome.error.startswith(error)
    assert receiver.requests == []


def test_the_system_has_to_trust_it(authority: Authority) -> None:
    """Without a context of the caller's, an authority that nobody knows is none."""
    outcome, receiver, _ = send_over_tls(authority.server("hooks.test"), TLS)
    assert outcome.error == "certificate: unable to get local issuer certificate"
    assert receiver.requests == []


def test_a_receiver_without_tls_gets_nothing() -> None:
    """https:// to a port that speaks HTTP fails before anything is sent."""

    async def main() -> None:
        async with receiving(hanging) as receiver, sending(timeout_s=0.5) as sender:
            receiver_url = receiver.url(scheme="https")
            assert (await send(sender, receiver_url)).error == "timed out after 0.5 s"
            assert receiver.requests == []

    asyncio.run(main())
