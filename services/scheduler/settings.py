"""What the scheduler needs to know, from `SCHEDULER_*`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The scheduler's settings."""

    prefix: ClassVar[str] = "SCHEDULER_"

    job_delay: Annotated[
        timedelta, Field(ge=timedelta(), description="jobs start up to this much late, so that not all do at once")
    ] = timedelta(minutes=5)
    tick: Annotated[
        timedelta, Field(gt=timedelta(), le=timedelta(minutes=1), description="how often due timers are looked for")
    ] = timedelta(milliseconds=250)
    health_urls: Annotated[
        dict[str, str], Field(description='readiness of other processes, as JSON: {"billing": "http://…/readyz"}')
    ] = Field(default_factory=dict)
