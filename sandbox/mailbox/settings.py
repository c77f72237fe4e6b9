"""Where the mailbox listens and how much it keeps."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class MailboxSettings(BaseSettings):
    """Every field is read from `SANDBOX_MAILBOX_<NAME>` unless given."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_MAILBOX_", extra="ignore")

    smtp_host: str = Field("127.0.0.1", description="Address of the SMTP receiver")
    smtp_port: int = Field(8025, description="Port of the SMTP receiver; 0 takes a free one", ge=0, le=65535)
    host: str = Field("127.0.0.1", description="Address of the page when served alone")
    port: int = Field(8072, description="Port of the page when served alone", ge=0, le=65535)
    data_dir: Path | None = Field(None, description="Folder of the mails; memory only when empty")
    keep: int = Field(1_000, description="Mails kept; the oldest go first", ge=1, le=10_000)
    keep_bytes: int = Field(512 * 1024**2, description="Bytes kept altogether", ge=1024)
    largest_mail: int = Field(10 * 1024**2, description="Bytes of the largest mail taken", ge=1024)
