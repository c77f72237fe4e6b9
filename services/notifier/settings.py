"""What the notifier needs to know, from `NOTIFIER_*`, `SMTP_URL`, `MAIL_FROM` and `STAFF_EMAIL`."""

from __future__ import annotations

from datetime import timedelta
from email.errors import HeaderParseError, MessageDefect
from email.headerregistry import Address
from email.utils import parseaddr
from typing import Annotated, ClassVar, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from shared.settings import Environment, ServiceSettings


class Settings(ServiceSettings):
    """The notifier's settings."""

    prefix: ClassVar[str] = "NOTIFIER_"
    plain: ClassVar[frozenset[str]] = frozenset(("smtp_url", "mail_from", "staff_email"))

    smtp_url: Annotated[
        SecretStr, Field(description="smtp://user:password@host:port; smtps:// for TLS from the first byte")
    ]
    mail_from: Annotated[str, Field(description="sender, as `Name <address>`")]
    staff_email: Annotated[str | None, Field(description="where alerts for the platform's staff go")] = None
    billing_url: Annotated[str | None, Field(pattern=r"^https?://", description="billing, for invoices")] = None
    smtp_timeout: Annotated[
        timedelta,
        Field(gt=timedelta(), le=timedelta(seconds=50), description="longest wait for each answer of the mail server"),
    ] = timedelta(seconds=20)
    at_once: Annotated[int, Field(ge=1, le=20, description="mails sent at the same time")] = 4

    @field_validator("smtp_url")
    @classmethod
    def _is_smtp(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        try:
            good = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # the port is no number
            good = False
        if not good:
            raise ValueError("must be smtp://host:port or smtps://host:port")
        return value

    @field_validator("mail_from", "staff_email")
    @classmethod
    def _is_an_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value or info.field_name == "mail_from":
            try:
                # As the message will be made: every mail would be parked for a sender that is none.
                name, address = parseaddr(value or "")
                if not Address(name, addr_spec=address).domain or not str(value).isprintable():
                    raise ValueError
            except (HeaderParseError, MessageDefect, ValueError, IndexError):
                raise ValueError("must be an address, such as `YouAreCoder <no-reply@example.com>`") from None
        return value

    @model_validator(mode="after")
    def _production_encrypts_passwords(self) -> Self:
        smtp = self.smtp
        if self.environment is Environment.PRODUCTION and smtp.user and not smtp.encrypted:
            raise ValueError("SMTP_URL has a password: use smtps:// or add ?starttls")
        return self

    @property
    def smtp(self) -> Smtp:
        """The mail server's address, taken apart."""
        parts = urlsplit(self.smtp_url.get_secret_value())
        tls = parts.scheme == "smtps"
        return Smtp(
            host=str(parts.hostname),
            port=parts.port or (465 if tls else 587),
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            tls=tls,
            starttls="starttls" in parts.query,
        )


class Smtp:
    """A mail server: where it is, how to log in, how it encrypts (RFC 3207, RFC 8314)."""

    def __init__(self, *, host: str, port: int, user: str, password: str, tls: bool, starttls: bool) -> None:
        self.host, self.port, self.user, self.password = host, port, user, password
        self.tls, self.starttls = tls, starttls

    @property
    def encrypted(self) -> bool:
        """Whether nothing secret crosses the line in clear."""
        return self.tls or self.starttls
