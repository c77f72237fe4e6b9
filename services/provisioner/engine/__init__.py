"""What the control loop needs of a container engine, and in which words it fails. Only this package knows Docker.

Every call may be repeated: making what is there adopts it, and "already gone" is an answer, not an error.
All calls block; the control loop makes them in threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Protocol
from uuid import UUID


class EngineError(Exception):
    """The engine said no. `code` is a code of `causes`."""

    code = "engine-refused"


class Unreachable(EngineError):
    """Nobody answers at the engine's address."""

    code = "engine-unreachable"


class ImageMissing(EngineError):
    """The image is not there (yet)."""

    code = "image-preparing"


class DiskFull(EngineError):
    """No space left on the engine's disk."""

    code = "disk-full"


class OutOfMemory(EngineError):
    """The machine, not the workspace, has no memory left."""

    code = "out-of-memory"


class AddressInUse(EngineError):
    """Another container still has the address."""

    code = "address-in-use"


class NetworkDiffers(EngineError):
    """A network of our name exists and is another one."""

    code = "network-differs"


class Unprotected(EngineError):
    """The rules that keep workspaces apart could not be put in place."""

    code = "network-unprotected"


class Status(StrEnum):
    """What a container is doing."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


@dataclass(frozen=True)
class Container:
    """A container of ours, as the engine sees it."""

    id: str
    workspace_id: UUID
    generation: int
    status: Status


@dataclass(frozen=True)
class Volume:
    """A volume of ours, as the engine sees it."""

    name: str
    workspace_id: UUID
    created_at: datetime


@dataclass(frozen=True)
class Size:
    """What a volume's files take on the disk. Not `whole`: the time ran out, and they take at least so much."""

    bytes: int
    whole: bool = True


@dataclass(frozen=True)
class FileSystem:
    """How full the volumes' file system is. Files are 0 where it has no fixed number of them."""

    total_bytes: int
    free_bytes: int
    total_files: int = 0
    free_files: int = 0


@dataclass(frozen=True)
class Measured:
    """What could be measured. A volume that is not there, or was not come to, is missing."""

    sizes: Mapping[UUID, Size] = field(default_factory=dict)
    disk: FileSystem | None = None


@dataclass(frozen=True)
class Meter:
    """Something that measures; `holder` is for whom, None where nobody says so."""

    id: str
    holder: UUID | None


@dataclass(frozen=True)
class Limits:
    """What a workspace may use: thousandths of a core, bytes, processes."""

    cpu_millicores: int
    memory_bytes: int
    processes: int


@dataclass(frozen=True)
class Wanted:
    """The container to make."""

    workspace_id: UUID
    company_id: UUID
    generation: int
    host: str
    image: str | None
    address: IPv4Address
    limits: Limits


class Engine(Protocol):
    """A container engine. Each method raises EngineError."""

    def protect(self) -> None:
        """Makes the workspaces' network and puts its rules in place, where they are not."""

    def containers(self, workspace_id: UUID | None = None) -> list[Container]:
        """All containers of this installation, or those of one workspace."""

    def create(self, wanted: Wanted) -> None:
        """Makes volume and container, not yet started. Raises ImageMissing."""

    def start(self, container: Container) -> None:
        """Starts a made container. Raises AddressInUse."""

    def resume(self, container: Container) -> None:
        """Lets a paused container go on."""

    def limit(self, container: Container, limits: Limits) -> None:
        """Changes what a running container may use."""

    def ran_out_of_memory(self, container: Container) -> bool:
        """Whether an ended container was ended for using more memory than it may."""

    def stop(self, container: Container, seconds: int) -> None:
        """Asks the container to end, ends it after `seconds`, and removes it. Its volume stays."""

    def volumes(self) -> list[Volume]:
        """All volumes of this installation."""

    def remove_volume(self, workspace_id: UUID) -> None:
        """Removes a workspace's files, for good."""

    def measure(
        self, workspaces: Sequence[UUID], each: int, together: int, holder: UUID, stopped: Callable[[], bool]
    ) -> Measured:
        """How much the workspaces' volumes hold, at most `each` seconds a volume and `together` for all, and how full
        their disk is. `holder` is who measures. Gives up with what is known as soon as `stopped` says so."""

    def meters(self) -> list[Meter]:
        """What measures at present, or was left by a process that was killed while it did."""

    def remove_meter(self, meter: Meter) -> None:
        """Ends it."""

    def follow(self, changed: Callable[[UUID | None], None], stopped: Callable[[], bool]) -> None:
        """Calls `changed` with each workspace whose container changes, with None where anything may have (an image
        came, the connection was made anew). Returns when `stopped` says so. Raises Unreachable when it is cut off."""
