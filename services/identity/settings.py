"""What identity needs to know, from `IDENTITY_*`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Self

from pydantic import Field, SecretStr, model_validator

from shared.settings import Environment, ServiceSettings


class Settings(ServiceSettings):
    """Identity's settings."""

    prefix: ClassVar[str] = "IDENTITY_"

    demo_password: Annotated[
        SecretStr | None,
        Field(min_length=10, max_length=200, description="makes demo@youarecoder.test with it; refused in production"),
    ] = None
    refusal_time: Annotated[
        timedelta,
        Field(
            ge=timedelta(),
            le=timedelta(seconds=5),
            description="refused log-ins, and whatever may not tell whose an address is, are answered no sooner",
        ),
    ] = timedelta(milliseconds=300)

    @model_validator(mode="after")
    def _no_demo_in_production(self) -> Self:
        if self.environment is Environment.PRODUCTION and self.demo_password is not None:
            raise ValueError("IDENTITY_DEMO_PASSWORD makes a well-known staff account and is refused in production")
        return self
