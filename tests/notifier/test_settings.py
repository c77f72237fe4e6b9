"""The notifier refuses to start wrong."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from services.notifier.settings import Settings
from shared.settings import Environment
from tests.callers import PUBLIC_KEY


def settings(**given: object) -> Settings:
    known: dict[str, object] = {
        "database_url": "postgresql://notifier@127.0.0.1/x",
        "token_public_key": PUBLIC_KEY,
        "smtp_url": "smtp://127.0.0.1:8025",
        "mail_from": "YouAreCoder <no-reply@example.com>",
    }
    return Settings.model_validate({**known, **given})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smtp_url", "http://127.0.0.1"),
        ("smtp_url", "smtp://"),
        ("smtp_url", "smtp://127.0.0.1:port"),
        ("mail_from", ""),
        ("mail_from", "YouAreCoder"),
        ("mail_from", "Işıl <ışıl@example.com>"),
        ("mail_from", "A <a@b@c>"),
        ("mail_from", "A\r\nBcc: v@example.com <a@example.com>"),
        ("staff_email", "nobody"),
        ("smtp_timeout", "0"),
        ("smtp_timeout", "PT5M"),
        ("billing_url", "ftp://billing"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        settings(**{name: value})


@pytest.mark.parametrize("url", ["smtp://user:secret@mail.example.com"])
def test_production_sends_no_password_in_clear(url: str) -> None:
    production = {"environment": Environment.PRODUCTION, "public_url": "https://app.example.com"}
    with pytest.raises(ValidationError, match="starttls") as refused:
        settings(smtp_url=url, **production)
    assert "secret" not in str(refused.value)
    assert settings(smtp_url=f"{url}?starttls", **production).smtp.starttls
    assert settings(smtp_url=url.replace("smtp", "smtps"), **production).smtp.port == 465


def test_the_mail_servers_address_is_taken_apart() -> None:
    server = settings(smtp_url=SecretStr("smtp://a%40b:p%2Fw@mail.example.com:2525?starttls")).smtp
    assert (server.host, server.port, server.user, server.password) == ("mail.example.com", 2525, "a@b", "p/w")
    assert server.encrypted
    assert not server.tls


def test_without_an_address_staff_get_none() -> None:
    assert not settings(staff_email="").staff_email
