"""What the gateway needs beside what every service needs. It starts only when all of it makes sense."""

from __future__ import annotations

from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.settings import Environment, ServiceSettings
from shared.tokens import Signer, private_key, public_key

URL = r"^https?://[^/\s]+$"
Address = Annotated[str | None, Field(pattern=URL)]


class Settings(ServiceSettings):
    """Settings of the gateway; each is read from GATEWAY_<NAME>."""

    prefix: ClassVar[str] = "GATEWAY_"
    plain: ClassVar[frozenset[str]] = frozenset({"paytr_url", "paytr_browser_url"})

    signing_key: Annotated[SecretStr, Field(description="Ed25519 private key, base64 of 32 bytes")]
    cookie_key: Annotated[
        SecretStr, Field(min_length=32, description="at least 32 characters; signs workspace cookies and form tokens")
    ]
    identity_url: Annotated[Address, Field(description="http://host:port of identity")] = None
    billing_url: Annotated[Address, Field(description="http://host:port of billing")] = None
    provisioner_url: Annotated[Address, Field(description="http://host:port of the provisioner")] = None
    notifier_url: Annotated[Address, Field(description="http://host:port of the notifier")] = None
    scheduler_url: Annotated[Address, Field(description="http://host:port of the scheduler")] = None
    auth_port: Annotated[
        int, Field(ge=0, le=65535, description="internal port Traefik asks who may enter a workspace; never public")
    ] = 0
    auth_certificate: Annotated[
        Path | None, Field(description="PEM file; with it that port speaks TLS and HTTP/2, else plain HTTP")
    ] = None
    auth_key: Annotated[Path | None, Field(description="PEM file of the certificate's private key")] = None
    trusted_proxies: Annotated[
        str, Field(description="addresses or networks of our own Traefik, comma-separated; only they name the client")
    ] = ""
    paytr_url: Annotated[str, Field(pattern=URL, description="PayTR")] = "https://www.paytr.com"
    paytr_browser_url: Annotated[
        str,
        Field(pattern=r"^$|^https?://\S+$", description="where the buyer's browser reaches PayTR; empty: PAYTR_URL"),
    ] = ""
    mailbox_url: Annotated[
        str,
        Field(pattern=r"^$|^https?://\S+$", description="where a test installation's mails are read"),
    ] = ""
    rate_scale: Annotated[
        float, Field(gt=0, le=1000, description="multiplies every rate limit; above 1 for load tests")
    ] = 1.0

    @field_validator("signing_key")
    @classmethod
    def _is_a_private_key(cls, value: SecretStr) -> SecretStr:
        private_key(value.get_secret_value())
        return value

    @field_validator("paytr_browser_url")
    @classmethod
    def _fits_a_header(cls, value: str) -> str:
        if any(character in value for character in ";,'\""):
            raise ValueError("an address that would end its directive in a Content-Security-Policy")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        _networks(value)
        return value

    @model_validator(mode="after")
    def _no_mailbox_in_production(self) -> Self:
        if self.environment is Environment.PRODUCTION and self.mailbox_url:
            raise ValueError("GATEWAY_MAILBOX_URL is for test installations: real mails go to people")
        return self

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.auth_certificate is None) != (self.auth_key is None):
            raise ValueError("GATEWAY_AUTH_CERTIFICATE and GATEWAY_AUTH_KEY go together")
        for file in (self.auth_certificate, self.auth_key):
            if file is not None and not file.is_file():
                raise ValueError(f"there is no file {file}")
        return self

    @model_validator(mode="after")
    def _keys_belong_together(self) -> Self:
        ours = private_key(self.signing_key.get_secret_value()).public_key().public_bytes_raw()
        if ours != public_key(self.token_public_key).public_bytes_raw():
            raise ValueError("TOKEN_PUBLIC_KEY is not the public half of GATEWAY_SIGNING_KEY")
        return self

    @cached_property
    def secure(self) -> bool:
        """Whether browsers reach us by https."""
        return self.public_url.startswith("https://")

    @cached_property
    def platform_host(self) -> str:
        """The platform's host name, without the port."""
        return urlsplit(self.public_url).hostname or ""

    @cached_property
    def workspace_origins(self) -> str:
        """Every workspace's origin, as a Content-Security-Policy source."""
        return self.workspace_url("*")

    @cached_property
    def paytr_browser_origin(self) -> str:
        """The origin of the payment form in the buyer's browser."""
        parts = urlsplit(self.paytr_browser_url or self.paytr_url)
        return f"{parts.scheme}://{parts.netloc}"

    @cached_property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Whose X-Forwarded-For we believe."""
        return _networks(self.trusted_proxies)

    @cached_property
    def signer(self) -> Signer:
        """Makes service tokens."""
        return Signer(private_key(self.signing_key.get_secret_value()))


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
