"""Certificates, and a server that wants them."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis

from tests.faults.servers import Server


class Authority:
    """Signs certificates that hold for a day."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        certificate = self._signed(self._name, self._key.public_key(), None)
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str) -> tuple[Path, Path]:
        """Write a certificate for ``name``, a host or an address, and its key; return both."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        stem = f"{self.file.stem}-{name}"
        certificate, key_file = self._folder / f"{stem}.crt", self._folder / f"{stem}.key"
        certificate.write_bytes(
            self._signed(subject, key.public_key(), name).public_bytes(serialization.Encoding.PEM)
        )
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, key_file

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, host: str | None
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        building = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
            # RFC 5280 §4.2.1 wants these; Python looks for them from 3.13 on.
            .add_extension(_usage(is_authority=host is None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if host is not None:
            alternative: x509.GeneralName = (
                x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
            )
            building = building.add_extension(
                x509.SubjectAlternativeName([alternative]), critical=False
            )
        return building.sign(self._key, hashes.SHA256())


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


class TlsServer(Server):
    """A server of Debian's package, which the embedded one is not: it knows TLS, and only TLS.

    ``options`` begin with its certificate, its key, and the authority of its clients.
    """

    def _command(self) -> list[str]:
        return [str(shutil.which("redis-server")), *self._options()]

    def _options(self) -> tuple[str, ...]:
        certificate, key, authority, *others = self.options
        return (
            *("--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1"),
            *("--tls-cert-file", certificate, "--tls-key-file", key),
            *("--tls-ca-cert-file", authority, "--tls-auth-clients", "yes"),
            *("--save", "", "--appendonly", "yes", *others),
        )

    @property
    def redis(self) -> Redis:
        certificate, key, authority, *_ = self.options
        return Redis(
            port=self.port,
            host="127.0.0.1",
            ssl=True,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            ssl_ca_certs=authority,
            decode_responses=True,
        )


def skip_without_tls() -> None:
    """Skip the test where there is no server that knows TLS."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("needs a redis-server on PATH: the embedded one knows no TLS")
    said = subprocess.run(
        [binary, "--port", "0", "--tls-port", "1"], capture_output=True, text=True, check=False
    )
    if "No tls-cert-file configured" not in said.stdout:
        pytest.skip("this redis-server knows no TLS")


def tls_lines(authority: Authority, name: str = "client") -> str:
    """Return the lines of [store] for somebody with a certificate of ``authority``."""
    certificate, key = authority.sign(name)
    return f'ca_file = "{authority.file}"\ncert_file = "{certificate}"\nkey_file = "{key}"'
