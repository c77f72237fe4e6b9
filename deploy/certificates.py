"""Certificates between our own parts, which nobody outside ever sees: self-signed, each the authority for itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = timedelta(days=3650)
RENEWED = timedelta(days=90)
"""Before its end; whoever reads the files is started after this."""


def ensure(certificate: Path, key: Path, names: Sequence[str]) -> None:
    """Makes both PEM files where they are missing, about to expire, or for other names (hosts or IP addresses)."""
    wanted = [_name(name) for name in names]
    if not (certificate.exists() and key.exists() and _is_good(certificate, wanted)):
        _make(certificate, key, wanted)


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _is_good(file: Path, wanted: list[x509.GeneralName]) -> bool:
    try:
        found = x509.load_pem_x509_certificate(file.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    return list(names) == wanted and found.not_valid_after_utc - datetime.now(UTC) > RENEWED


def _make(certificate: Path, key: Path, names: list[x509.GeneralName]) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "YouAreCoder, between its own parts")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(key, plain, 0o600)
    _write(certificate, signed.public_bytes(pem), 0o644)


def _write(file: Path, content: bytes, mode: int) -> None:
    making = file.with_name(f"{file.name}.new")
    making.unlink(missing_ok=True)
    with open(making, "xb", opener=lambda path, flags: os.open(path, flags, mode)) as output:
        output.write(content)
    making.replace(file)
