"""A private certificate authority and one server certificate, for loopback only."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=7)


@dataclass(frozen=True)
class Certificates:
    """PEM files of a private authority and of a server it vouches for.

    Attributes:
        ca_path: What clients trust.
        cert_path: The server's certificate, for ``localhost``, ``127.0.0.1`` and ``::1``.
        key_path: The server's private key, readable by its owner only.
    """

    ca_path: Path
    cert_path: Path
    key_path: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        """The folder's certificates: those there if they last another week, else new ones."""
        made = cls(folder / "ca.pem", folder / "server.pem", folder / "server-key.pem")
        if made._last():
            return made
        folder.mkdir(parents=True, exist_ok=True)
        ca_key, key = (
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP256R1()),
        )
        ca_name = _name("Ferry local authority")
        ca = _certificate(ca_name, ca_key, ca_name, ca_key)
        certificate = _certificate(_name("localhost"), key, ca_name, ca_key)
        made.key_path.touch(mode=0o600)
        made.key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        made.ca_path.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        made.cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return made

    def _last(self) -> bool:
        if not (self.ca_path.exists() and self.cert_path.exists() and self.key_path.exists()):
            return False
        certificate = x509.load_pem_x509_certificate(self.cert_path.read_bytes())
        return certificate.not_valid_after_utc > datetime.now(UTC) + _RENEW_BEFORE


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """A certificate as Python 3.13's strict check wants it; an authority where it signs itself."""
    is_ca = subject == issuer
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=is_ca,
                crl_sign=is_ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if not is_ca:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        ).add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("localhost"),
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    x509.IPAddress(ipaddress.ip_address("::1")),
                ]
            ),
            critical=False,
        )
    return builder.sign(issuer_key, hashes.SHA256())
