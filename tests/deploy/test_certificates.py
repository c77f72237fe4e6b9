"""Certificates between our own parts: kept as long as they are good, made anew when they are not."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from deploy import certificates


def ensured(folder: Path, *names: str) -> tuple[Path, Path]:
    files = folder / "part.pem", folder / "part-key.pem"
    certificates.ensure(*files, names)
    return files


def test_it_is_made_once_for_its_names_and_only_its_owner_reads_the_key(tmp_path: Path) -> None:
    certificate, key = ensured(tmp_path, "127.0.0.1", "gateway")
    first = certificate.read_bytes()
    names = x509.load_pem_x509_certificate(first).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["127.0.0.1", "gateway"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    ensured(tmp_path, "127.0.0.1", "gateway")
    assert certificate.read_bytes() == first
    assert sorted(file.name for file in tmp_path.iterdir()) == ["part-key.pem", "part.pem"]


def test_another_name_a_lost_key_or_rubbish_is_made_anew(tmp_path: Path) -> None:
    certificate, key = ensured(tmp_path, "127.0.0.1")
    first = certificate.read_bytes()
    ensured(tmp_path, "gateway")
    second = certificate.read_bytes()
    assert second != first
    key.unlink()
    ensured(tmp_path, "gateway")
    third = certificate.read_bytes()
    assert third != second
    certificate.write_text("no certificate")
    ensured(tmp_path, "gateway")
    assert certificate.read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")


def test_one_that_ends_soon_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "LIFE", certificates.RENEWED - timedelta(days=1))
    certificate, _ = ensured(tmp_path, "127.0.0.1")
    first = certificate.read_bytes()
    ensured(tmp_path, "127.0.0.1")
    assert certificate.read_bytes() != first
