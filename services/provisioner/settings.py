"""The provisioner's settings, `PROVISIONER_…` in the environment."""

from __future__ import annotations

import os
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, SecretStr, model_validator

from shared.settings import ServiceSettings

FIRST_SLOT = 16
"""Addresses below it are the network's own: its gateway, and what an operator may want to put there."""


class Settings(ServiceSettings):
    """What the provisioner needs to know beside what every service does."""

    prefix: ClassVar[str] = "PROVISIONER_"

    docker_host: Annotated[str, Field(description="the engine's address")] = "unix:///var/run/docker.sock"
    image: Annotated[str, Field(description="the workspaces' image")] = "youarecoder/workspace"
    firewall_image: Annotated[str, Field(description="the image that sets the network's rules")] = (
        "youarecoder/firewall"
    )
    network: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$", description="the workspaces' network")] = (
        "youarecoder"
    )
    bridge: Annotated[
        str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}$", description="its bridge's name on the host")
    ] = "youarecoder0"
    subnet: Annotated[IPv4Network, Field(description="its addresses; one for each workspace that exists")] = (
        IPv4Network("10.213.0.0/16")
    )
    installation: Annotated[
        str, Field(pattern=r"^([a-z0-9-]{1,20})?$", description="marks what is ours in the engine; empty: made once")
    ] = ""
    routes_directory: Annotated[
        Path | None, Field(description="Traefik's watched directory; empty: no routes are written")
    ] = None
    traefik_url: Annotated[
        str, Field(pattern=r"^(https?://[^/\s]+)?$", description="where Traefik answers; empty: not waited for")
    ] = ""
    probe_secret: Annotated[
        SecretStr, Field(description="opens the readiness route; empty: made once, kept in the database")
    ] = SecretStr("")
    parallel_starts: Annotated[int, Field(ge=0, le=200, description="starts at once; 0: two a core")] = 0
    look_seconds: Annotated[float, Field(gt=0, le=300, description="pause between two full looks at the engine")] = 5
    lease_seconds: Annotated[float, Field(ge=1, le=300, description="how long a dead replica's work waits")] = 15
    start_seconds: Annotated[
        float, Field(gt=0, le=3600, description="without progress for so long, a start is given up and tried anew")
    ] = 60
    stop_seconds: Annotated[int, Field(ge=0, le=300, description="what a workspace may take to end by itself")] = 10
    restarts: Annotated[int, Field(ge=1, le=100, description="starts anew by itself within ten minutes")] = 5
    restart_pause_seconds: Annotated[
        float, Field(ge=0, le=300, description="pause before the second start anew; doubles with each further one")
    ] = 1
    orphan_volume_minutes: Annotated[
        int, Field(ge=1, description="a volume of ours that no workspace knows is removed when it is so old")
    ] = 60
    restore_days: Annotated[
        int, Field(ge=1, le=365, description="for so many days a deleted workspace can be brought back")
    ] = 7
    firewall_seconds: Annotated[float, Field(gt=0, description="pause between two checks of the network's rules")] = 60
    measure_seconds: Annotated[float, Field(gt=0, le=3600, description="pause between two measures of files")] = 60
    measure_volume_seconds: Annotated[
        int, Field(ge=1, le=600, description="what one volume may take to be measured; ten times that when it is large")
    ] = 20
    storage_grace_minutes: Annotated[
        float, Field(ge=0, le=1440, description="how long a workspace runs over the storage limit, to clean up")
    ] = 10
    host_reserve_bytes: Annotated[
        int | None,
        Field(ge=0, description="nothing is started while less is free on the disk; without it 5 %, at most 10 GiB"),
    ] = None
    streams_per_user: Annotated[int, Field(ge=1, le=100, description="event streams one person may hold open")] = 10

    @model_validator(mode="after")
    def _subnet_has_room(self) -> Self:
        if self.capacity < 1:
            raise ValueError("SUBNET has no room for a workspace: a /26 holds 47 of them")
        return self

    @property
    def capacity(self) -> int:
        """How many workspaces have an address."""
        return self.subnet.num_addresses - FIRST_SLOT - 1

    def address(self, slot: int) -> IPv4Address:
        """The address of a slot."""
        return self.subnet.network_address + FIRST_SLOT + slot

    @cached_property
    def starts_at_once(self) -> int:
        """Starts are bound by the processor: more at once makes each slower and all of them no faster."""
        return self.parallel_starts or 2 * (os.cpu_count() or 1)
