"""What the sandbox store is: its credentials, where its notifications go, how patient it is."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class PaytrSandboxSettings(BaseSettings):
    """One store of the sandbox. Every field is read from `SANDBOX_PAYTR_<NAME>` unless given."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_PAYTR_", extra="ignore")

    merchant_id: str = Field("100001", description="Mağaza No", pattern=r"^[0-9]{1,20}$")
    merchant_key: str = Field("sandboxKEY000001", description="Mağaza Parola: the HMAC key", min_length=1)
    merchant_salt: str = Field("sandboxSALT00001", description="Mağaza Gizli Anahtar", min_length=1)
    notification_url: str = Field(
        "http://127.0.0.1:8000/billing/callback",
        description="Bildirim URL of the store",
        pattern=r"^https?://",
    )
    notification_host: str | None = Field(
        None, description="Host header of notifications, where it differs from the URL's own"
    )
    data_dir: Path | None = Field(None, description="Folder of the journal; memory only when empty")
    store_test_mode: bool = Field(False, description="A new store is in test mode: every transaction is a test")
    refuse_local_user_ip: bool = Field(
        False, description="Refuse loopback and private user_ip, as the real one is reported to do"
    )
    retry_seconds: Annotated[tuple[float, ...], NoDecode] = Field(
        (2, 4, 8, 15, 30, 60), description="Waits between tries of a notification; the last one repeats"
    )
    max_tries: int = Field(60, description="Tries of one notification before the sandbox gives it up", ge=1, le=10_000)
    callback_timeout_seconds: float = Field(20, description="How long the merchant may take to answer", gt=0, le=120)
    return_wait_seconds: float = Field(
        3,
        description="How long the buyer's way back waits for the first notification to be answered",
        ge=0,
        le=60,
    )
    minute_seconds: float = Field(60, description="Length of a minute of timeout_limit, for tests", gt=0)
    host: str = Field("127.0.0.1", description="Address to listen on when served alone")
    port: int = Field(8071, description="Port to listen on when served alone", ge=0, le=65535)

    @field_validator("retry_seconds", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        """Let the environment say `2,4,8`."""
        return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("retry_seconds")
    @classmethod
    def _some_and_positive(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or any(wait <= 0 for wait in value):
            raise ValueError("at least one wait, each above zero seconds")
        return value
