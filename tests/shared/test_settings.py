"""Settings: read under their names, refused all at once, never printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.clock import ShiftedClock, SystemClock
from shared.settings import Environment, load
from tests.callers import PUBLIC_KEY
from tests.shared.little.app import Settings

Put = Callable[..., None]


def refusal(capsys: pytest.CaptureFixture[str], **given: Any) -> str:
    """What is printed where the settings are refused."""
    with pytest.raises(SystemExit) as ended:
        load(Settings, **given)
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


def test_prefix_wins_over_the_common_name(environment: Put) -> None:
    environment(AMQP_URL="amqp://all", LOG_LEVEL="warning")
    assert load(Settings).amqp_url.get_secret_value() == "amqp://all"  # type: ignore[union-attr]
    environment(LITTLE_AMQP_URL="amqp://own")
    settings = load(Settings)
    assert settings.amqp_url is not None
    assert (settings.amqp_url.get_secret_value(), settings.log_level) == ("amqp://own", "warning")


def test_own_settings_are_read_with_the_prefix_only(environment: Put) -> None:
    environment(HOST="203.0.113.9", PORT="77", DATABASE_POOL="9", OPS_PORT="78", DATABASE_URL="postgresql://other")
    settings = load(Settings)
    assert (settings.host, settings.port, settings.ops_port, settings.database_pool) == ("127.0.0.1", 0, 0, 5)
    assert "other" not in settings.database_url.get_secret_value()
    environment(LITTLE_HOST="127.0.0.2", LITTLE_PORT="77")
    settings = load(Settings)
    assert (settings.host, settings.port) == ("127.0.0.2", 77)


def test_what_is_given_wins(environment: Put) -> None:
    environment(LITTLE_PORT="77")
    settings = load(Settings, port=78, database_url="postgresql://given")
    assert (settings.port, settings.database_url.get_secret_value()) == (78, "postgresql://given")


def test_all_faults_at_once_without_a_value(environment: Put, capsys: pytest.CaptureFixture[str]) -> None:
    environment(
        TOKEN_PUBLIC_KEY="hidden-one",
        LITTLE_PORT="hidden-two",
        PUBLIC_URL="http://hidden:three",
        LOG_LEVEL="hidden-four",
        ENVIRONMENT="hidden-five",
    )
    said = refusal(capsys)
    assert "hidden" not in said
    for name in ("TOKEN_PUBLIC_KEY", "PORT", "PUBLIC_URL", "LOG_LEVEL", "ENVIRONMENT"):
        assert name in said
    assert "LITTLE_DATABASE_URL" not in said  # it is right


def test_missing_ones_are_named_as_one_sets_them(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys)
    assert "LITTLE_DATABASE_URL: Field required" in said
    assert "LITTLE_TOKEN_PUBLIC_KEY: Field required" in said


def test_production_takes_no_shortcut(environment: Put, capsys: pytest.CaptureFixture[str]) -> None:
    environment(ENVIRONMENT="production", PUBLIC_URL="https://example.com", WORKSPACES_DOMAIN="example.dev")
    assert load(Settings).environment is Environment.PRODUCTION
    assert "CLOCK_FILE" in refusal(capsys, clock_file="/var/lib/clock")
    assert "https" in refusal(capsys, public_url="http://example.com")


def test_clock_file_shifts_a_local_platforms_clock(environment: Put) -> None:
    environment()
    assert isinstance(load(Settings).clock, SystemClock)
    environment(CLOCK_FILE="/var/lib/clock")
    settings = load(Settings)
    assert isinstance(settings.clock, ShiftedClock)
    assert settings.clock is settings.clock


@pytest.mark.parametrize(
    ("public_url", "domain"),
    [
        ("https://example.com", "example.com"),
        ("https://example.com", "ws.example.com"),
        ("https://example.com:8443", "a.b.example.com"),
        ("https://Example.COM", "ws.example.com"),
        ("https://example.com", "ws.example.com."),
        ("https://example.com.", "ws.example.com"),
        ("https://example.com", ".ws.example.com"),
        ("https://app.ws.example.com", "ws.example.com"),
    ],
)
def test_workspaces_must_be_strangers(
    environment: Put, capsys: pytest.CaptureFixture[str], public_url: str, domain: str
) -> None:
    environment(PUBLIC_URL=public_url, WORKSPACES_DOMAIN=domain)
    assert "WORKSPACES_DOMAIN" in refusal(capsys)


@pytest.mark.parametrize("domain", ["example.dev", "ws-example.com", "notexample.com", "ws.app.dev"])
def test_strangers_are_let_in(environment: Put, domain: str) -> None:
    environment(PUBLIC_URL="https://example.com:8443", WORKSPACES_DOMAIN=domain)
    assert load(Settings).workspace_url("quiet-fox") == f"https://quiet-fox.{domain}:8443"


@pytest.mark.parametrize(
    "url", ["http://", "http://:80", "http://h:99999", "http://h:0", "http://a:b@h", "ftp://h", "h"]
)
def test_public_url_is_a_host(environment: Put, capsys: pytest.CaptureFixture[str], url: str) -> None:
    environment(PUBLIC_URL=url)
    assert "PUBLIC_URL" in refusal(capsys)


def test_secrets_do_not_show(environment: Put) -> None:
    environment(LITTLE_DATABASE_URL="postgresql://u:hidden@h/d", AMQP_URL="amqp://u:hidden@h/")
    assert "hidden" not in repr(load(Settings, token_public_key=PUBLIC_KEY))


def test_a_file_says_what_must_not_stand_in_an_environment(environment: Put, tmp_path: Path) -> None:
    (tmp_path / "LITTLE_AMQP_URL").write_text("amqp://from-a-file\n")
    (tmp_path / "LITTLE_LOG_LEVEL").write_text("warning")
    (tmp_path / "HOST").write_text("203.0.113.9")
    environment(SECRETS_DIR=str(tmp_path), LITTLE_LOG_LEVEL="error")
    settings = load(Settings)
    assert settings.amqp_url is not None
    assert settings.amqp_url.get_secret_value() == "amqp://from-a-file"
    assert (settings.log_level, settings.host) == ("error", "127.0.0.1")


def test_no_folder_of_secrets_is_no_fault(environment: Put, tmp_path: Path) -> None:
    environment(SECRETS_DIR=str(tmp_path / "absent"))
    assert load(Settings).amqp_url is None
