"""Certificates of one cluster: made for it, good for a week, thrown away with it.

It trusts nothing outside its folder and leaves no key readable by others.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = datetime.timedelta(days=7)
SKEW = datetime.timedelta(minutes=5)
SERVER_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
SERVER_ADDRESSES = ("127.0.0.1", "10.96.0.1")


class Authority:
    """A certificate authority whose files lie in one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("cluster authority")
        made = self._builder(self._name, self._key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
        self._write("ca", made.sign(self._key, hashes.SHA256()), self._key)

    def server(self, name: str, address: str) -> None:
        """A certificate for the API server at this address and on the loopback."""
        names: list[x509.GeneralName] = [x509.DNSName(host) for host in SERVER_NAMES]
        names += [x509.IPAddress(ipaddress.ip_address(each)) for each in sorted({*SERVER_ADDRESSES, address})]
        self._issue(name, _name(name), ExtendedKeyUsageOID.SERVER_AUTH, x509.SubjectAlternativeName(names))

    def client(self, name: str, user: str, group: str) -> None:
        """A certificate that says who asks."""
        self._issue(name, _name(user, group), ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def service_account_pair(self) -> None:
        """The pair that signs tokens: `service-account.key` and `.pub`."""
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        _write_private(self.folder / "service-account.pub", public)
        _write_private(self.folder / "service-account.key", _pem(key))

    def kubeconfig(self, path: Path, server: str, client: str) -> None:
        """A kubeconfig that holds everything, so that it can be copied."""

        def data(name: str) -> str:
            return base64.b64encode((self.folder / name).read_bytes()).decode()

        user = {"client-certificate-data": data(f"{client}.crt"), "client-key-data": data(f"{client}.key")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tradingsystem", "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}],
            "users": [{"name": client, "user": user}],
            "contexts": [{"name": "tradingsystem", "context": {"cluster": "tradingsystem", "user": client}}],
            "current-context": "tradingsystem",
        }
        _write_private(path, json.dumps(config, indent=1).encode())

    def _issue(self, name: str, subject: x509.Name, usage: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(subject, key.public_key()).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names is not None:
            made = made.add_extension(names, critical=False)
        self._write(name, made.sign(self._key, hashes.SHA256()), key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - SKEW,
            not_valid_after=now + VALID,
        )

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        _write_private(self.folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))
        _write_private(self.folder / f"{name}.key", _pem(key))


def _name(common: str, group: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    # kube-apiserver reads the traditional form for every kind of key.
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
