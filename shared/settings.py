"""Settings every service has. A service adds its own and starts only when all of them make sense.

Each variable carries the service's prefix (`BILLING_DATABASE_URL`). What is the same for all services (`plain`)
is also read without it, so that one `AMQP_URL` configures them all and any of them can differ. What must not stand
in an environment may be a file named like the variable, in /run/secrets.
"""

from __future__ import annotations

import contextlib
import os
import sys
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.clock import Clock, ShiftedClock, SystemClock
from shared.tokens import Verifier, public_key


class Environment(StrEnum):
    """Where we run. Production refuses every convenience that would be a hole there."""

    LOCAL = "local"
    PRODUCTION = "production"


class ServiceSettings(BaseSettings):
    """What each service needs; a service's class sets `prefix` (such as `BILLING_`) and may add to `plain`."""

    # Case-sensitive: the fields' own names would otherwise read HOST and PORT, which belong to others.
    model_config = SettingsConfigDict(
        extra="ignore", hide_input_in_errors=True, populate_by_name=True, case_sensitive=True
    )
    prefix: ClassVar[str] = ""
    plain: ClassVar[frozenset[str]] = frozenset()
    """Names of the class's own settings that are also read without the prefix."""

    environment: Annotated[Environment, Field(description="local or production")] = Environment.LOCAL
    database_url: Annotated[SecretStr, Field(description="postgresql://role:password@host:port/database")]
    amqp_url: Annotated[
        SecretStr | None, Field(description="amqp://user:password@host:port/vhost; without it: the in-process bus")
    ] = None
    token_public_key: Annotated[str, Field(description="the gateway's Ed25519 public key, base64 of 32 bytes")]
    public_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+$", description="the platform's own address")] = (
        "http://youarecoder.localhost:8080"
    )
    workspaces_domain: Annotated[
        str,
        Field(pattern=r"^[a-z0-9.-]+$", description="workspaces live at <label>.<this>; never below public_url's host"),
    ] = "workspaces.localhost"
    host: Annotated[str, Field(description="address the HTTP server binds")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port of the HTTP server")] = 0
    ops_port: Annotated[int, Field(ge=0, le=65535, description="internal port of /healthz /readyz /metrics")] = 0
    database_pool: Annotated[int, Field(ge=1, le=50, description="database connections this process may keep")] = 5
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    linger: Annotated[
        float, Field(ge=0, le=30, description="seconds a stopping HTTP server still answers on connections it has")
    ] = 0
    clock_file: Annotated[
        Path | None, Field(description="file with seconds to shift the clock by; refused in production")
    ] = None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Gives each field its names in the environment."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            _name_in_environment(cls.prefix, name, field, name in COMMON | cls.plain)
        cls.model_rebuild(force=True)

    @model_validator(mode="after")
    def _production_takes_no_shortcuts(self) -> Self:
        if self.environment is Environment.PRODUCTION:
            if self.clock_file is not None:
                raise ValueError("CLOCK_FILE shifts time and is refused in production")
            if not self.public_url.startswith("https://"):
                raise ValueError("PUBLIC_URL must be https in production")
        return self

    @model_validator(mode="after")
    def _workspaces_are_strangers_to_the_platform(self) -> Self:
        # Whole labels, and without the root's dot: `ws.example.com.` is below `example.com`.
        host = (urlsplit(self.public_url).hostname or "").rstrip(".")
        domain = self.workspaces_domain.strip(".")
        if f".{domain}".endswith(f".{host}"):
            raise ValueError("WORKSPACES_DOMAIN must not be the platform's host or below it: cookies would be shared")
        if host.endswith(f".{domain}"):
            raise ValueError("PUBLIC_URL must not lie below WORKSPACES_DOMAIN: a workspace could take its name")
        return self

    @field_validator("public_url")
    @classmethod
    def _has_a_host(cls, value: str) -> str:
        with contextlib.suppress(ValueError):  # whose words would repeat the value
            parts = urlsplit(value)
            if parts.hostname and parts.username is None and parts.port != 0:
                return value
        raise ValueError("it must be a host, with a port or without, and nothing else")

    @field_validator("token_public_key")
    @classmethod
    def _is_a_key(cls, value: str) -> str:
        public_key(value)
        return value

    def workspace_url(self, label: str) -> str:
        """The address of the workspace with this host label: the platform's scheme and port, its own host."""
        parts = urlsplit(self.public_url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{label}.{self.workspaces_domain}{port}"

    @cached_property
    def clock(self) -> Clock:
        """The clock everything in this process is given."""
        return ShiftedClock(self.clock_file) if self.clock_file else SystemClock()

    @cached_property
    def verifier(self) -> Verifier:
        """Checks the tokens callers come with."""
        return Verifier(public_key(self.token_public_key))


COMMON = frozenset(
    (
        "environment",
        "amqp_url",
        "token_public_key",
        "public_url",
        "workspaces_domain",
        "log_level",
        "linger",
        "clock_file",
    )
)


def _name_in_environment(prefix: str, name: str, field: FieldInfo, plain: bool) -> None:
    upper = name.upper()
    names = [prefix + upper, upper, name] if plain else [prefix + upper, name]
    field.validation_alias = AliasChoices(*names)


S = TypeVar("S", bound=ServiceSettings)


def secrets_directory() -> Path | None:
    """Where settings may also lie as files, one a variable and named like it: `SECRETS_DIR`, else /run/secrets."""
    directory = Path(os.environ.get("SECRETS_DIR", "/run/secrets"))
    return directory if directory.is_dir() else None


def load(kind: type[S], **given: Any) -> S:
    """Reads the settings or ends the process with one line a fault: a service does not start wrong.

    Values in `given` win over the environment, and the environment over files (`secrets_directory`). Values are never
    printed: they may be secrets.
    """
    try:
        return kind(_secrets_dir=secrets_directory(), **given)
    except ValidationError as error:
        print(f"{kind.__module__}: these settings are missing or wrong:", file=sys.stderr)
        for fault in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in fault["loc"]) or "settings"
            print(f"  {name.upper()}: {fault['msg']}", file=sys.stderr)
        raise SystemExit(2) from None
