"""Certificates made here, for tests of TLS that is as it should be and of TLS that is not."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """Signs certificates of this machine."""

    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    @classmethod
    def made(cls, name: str) -> Authority:
        return cls(ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))

    def certificate(self, path: Path, *, days: float, authority: bool = False, address: str = "127.0.0.1") -> Path:
        """One for this address that ends in so many days; a file with its key."""
        now = datetime.datetime.now(tz=datetime.UTC)
        key = self.key if authority else ec.generate_private_key(ec.SECP256R1())
        subject = self.name if authority else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "venue")])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=400))
        builder = builder.not_valid_after(now + datetime.timedelta(days=days))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        made = builder.sign(self.key, hashes.SHA256())
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
        return path
