"""The Docker engine."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from ipaddress import IPv4Network
from typing import Any
from uuid import UUID

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import LogConfig

from services.provisioner.engine import (
    AddressInUse,
    Container,
    DiskFull,
    EngineError,
    ImageMissing,
    Limits,
    Measured,
    Meter,
    NetworkDiffers,
    OutOfMemory,
    Status,
    Unreachable,
    Volume,
    Wanted,
    measuring,
)
from services.provisioner.engine.local_socket import knock
from services.provisioner.engine.network import ROLE, IsolatedNetwork

WORKSPACE = "youarecoder.workspace"
COMPANY = "youarecoder.company"
GENERATION = "youarecoder.generation"
INSTALLATION = "youarecoder.installation"

PERIOD = 100_000
"""Microseconds of the scheduler's period, of which a container gets its share."""
EVENTS_WINDOW = 2
"""Seconds of one question for events, and so of the longest wait of a thread that is to end."""

_STATUS = {"created": Status.CREATED, "running": Status.RUNNING, "paused": Status.PAUSED}
_CHANGES = ("die", "destroy", "pause", "unpause", "oom", "start")


class DockerEngine:
    """Speaks to one engine, for one installation."""

    def __init__(
        self,
        host: str,
        *,
        installation: str,
        image: str,
        firewall_image: str,
        network: str,
        bridge: str,
        subnet: IPv4Network,
    ) -> None:
        self._host = host
        self._installation = installation
        self._image = image
        self._network_name = network
        self._measuring_image = firewall_image  # the smallest of ours, and there wherever anything may start
        self._mine = {"label": f"{INSTALLATION}={installation}"}
        self._network = IsolatedNetwork(network, bridge, subnet, firewall_image, {INSTALLATION: installation})
        self._connected: docker.APIClient | None = None
        self._connecting = threading.Lock()

    def protect(self) -> None:
        """Makes the workspaces' network and puts its rules in place, where they are not."""
        with _in_our_words():
            self._network.ensure(self._client())

    def containers(self, workspace_id: UUID | None = None) -> list[Container]:
        """All containers of this installation, or those of one workspace."""
        wanted = [f"{INSTALLATION}={self._installation}"]
        wanted.append(WORKSPACE if workspace_id is None else f"{WORKSPACE}={workspace_id}")
        with _in_our_words():
            found = self._client().containers(all=True, filters={"label": wanted})
        return [_container(one) for one in found]

    def create(self, wanted: Wanted) -> None:
        """Makes volume and container, not yet started. Raises ImageMissing."""
        labels = {
            INSTALLATION: self._installation,
            WORKSPACE: str(wanted.workspace_id),
            COMPANY: str(wanted.company_id),
        }
        with _in_our_words():
            client = self._client()
            volume = self._volume(wanted.workspace_id)
            client.create_volume(volume, labels=labels)  # a volume of this name that is there stays as it is
            configuration = client.create_container_config(
                wanted.image or self._image,
                [],  # the image's own entry
                hostname=wanted.host,
                user="1000:1000",
                labels={**labels, GENERATION: str(wanted.generation)},
                host_config=self._host_config(client, volume, wanted.limits),
                networking_config=client.create_networking_config(
                    {self._network_name: client.create_endpoint_config(ipv4_address=str(wanted.address))}  # type: ignore[arg-type]  # a mapping, says its source
                ),
            )
            # Never the host label: Docker's DNS tells a container the names of all others on the network.
            name = f"{volume}-{wanted.generation}"
            try:
                client.create_container_from_config(configuration, name)  # type: ignore[no-untyped-call]
            except APIError as error:
                # Made before by a try whose answer was lost; the next look finds and adopts it.
                if error.status_code != 409 or not self._is_mine(client, name, wanted):
                    raise

    def start(self, container: Container) -> None:
        """Starts a made container. Raises AddressInUse."""
        with _in_our_words():
            self._client().start(container.id)

    def resume(self, container: Container) -> None:
        """Lets a paused container go on."""
        with _in_our_words():
            try:
                self._client().unpause(container.id)
            except APIError as error:
                if "is not paused" not in _words(error):
                    raise

    def limit(self, container: Container, limits: Limits) -> None:
        """Changes what a running container may use."""
        with _in_our_words():
            client = self._client()
            # The library's own call does not know PidsLimit.
            answer = client.post(
                f"{client.base_url}/v{client.api_version}/containers/{container.id}/update",
                json={
                    "CpuPeriod": PERIOD,
                    "CpuQuota": limits.cpu_millicores * PERIOD // 1000,
                    "Memory": limits.memory_bytes,
                    "MemorySwap": limits.memory_bytes,
                    "PidsLimit": limits.processes,
                },
                timeout=client.timeout,
            )
            try:
                answer.raise_for_status()
            except requests.HTTPError as error:
                raise EngineError(answer.text[:500]) from error

    def ran_out_of_memory(self, container: Container) -> bool:
        """Whether an ended container was ended for using more memory than it may."""
        with _in_our_words(), contextlib.suppress(NotFound):
            return bool(self._client().inspect_container(container.id)["State"].get("OOMKilled"))
        return False

    def stop(self, container: Container, seconds: int) -> None:
        """Asks the container to end, ends it after `seconds`, and removes it. Its volume stays."""
        with _in_our_words(), contextlib.suppress(NotFound):
            client = self._client()
            if container.status is Status.PAUSED:
                with contextlib.suppress(APIError):
                    client.unpause(container.id)  # it could not hear the signal
            if container.status in (Status.RUNNING, Status.PAUSED):
                client.stop(container.id, timeout=seconds)
            try:
                client.remove_container(container.id, force=True)
            except APIError as error:
                if "already in progress" not in _words(error):
                    raise

    def volumes(self) -> list[Volume]:
        """All volumes of this installation."""
        with _in_our_words():
            found = self._client().volumes(filters=self._mine)["Volumes"] or []
        return [_volume(one) for one in found if WORKSPACE in (one["Labels"] or {})]

    def remove_volume(self, workspace_id: UUID) -> None:
        """Removes a workspace's files, for good."""
        with _in_our_words(), contextlib.suppress(NotFound):
            self._client().remove_volume(self._volume(workspace_id))

    def measure(
        self, workspaces: Sequence[UUID], each: int, together: int, holder: UUID, stopped: Callable[[], bool]
    ) -> Measured:
        """How much the workspaces' volumes hold, and how full their disk is. Gives up when `stopped` says so."""
        mine = {INSTALLATION: self._installation}
        with _in_our_words():
            client = self._client()
            there = {one["Name"]: one["Labels"] for one in client.volumes(filters=self._mine)["Volumes"] or []}
            names = {id_: self._volume(id_) for id_ in workspaces}
            volumes = {id_: (name, there[name]) for id_, name in names.items() if name in there}
            own = f"yac-{self._installation}-disk", {**mine, ROLE: "disk"}
            labels = measuring.labels_of(mine, holder)
            return measuring.measure(client, self._measuring_image, labels, volumes, own, (each, together), stopped)

    def meters(self) -> list[Meter]:
        """What measures at present, or was left by a process that was killed while it did."""
        with _in_our_words():
            return measuring.meters(self._client(), {INSTALLATION: self._installation})

    def remove_meter(self, meter: Meter) -> None:
        """Ends it."""
        with _in_our_words(), contextlib.suppress(NotFound):
            self._client().remove_container(meter.id, force=True)

    def follow(self, changed: Callable[[UUID | None], None], stopped: Callable[[], bool]) -> None:
        """Calls `changed` with what changes until `stopped` says so. Raises Unreachable when it is cut off."""
        with _in_our_words():
            client = self._client()
            # Windows of the engine's own time: a thread that only waits for events could not be ended.
            ahead = datetime.fromisoformat(client.info()["SystemTime"]).timestamp() - time.time()
            since = int(time.time() + ahead)
            changed(None)
            while not stopped():
                until = max(int(time.time() + ahead), since) + EVENTS_WINDOW
                filters = {"type": ["container", "image"]}
                for event in client.events(since=since, until=until, filters=filters, decode=True):
                    self._tell(event, changed)
                since = until  # its first second may come twice, which does no harm

    def _tell(self, event: dict[str, Any], changed: Callable[[UUID | None], None]) -> None:
        facts = event.get("Actor", {}).get("Attributes", {})
        if event.get("Type") == "image":
            if event.get("Action") in ("tag", "load", "pull", "import"):
                changed(None)
        elif facts.get(INSTALLATION) == self._installation and event.get("Action") in _CHANGES:
            with contextlib.suppress(KeyError, ValueError):
                changed(UUID(facts[WORKSPACE]))

    def _host_config(self, client: docker.APIClient, volume: str, limits: Limits) -> Any:
        return client.create_host_config(
            network_mode=self._network_name,
            binds={volume: {"bind": "/home/coder", "mode": "rw"}},
            read_only=True,
            # Programs are built and run in /tmp by many tools. What lies in it counts as the workspace's memory.
            tmpfs={"/tmp": "rw,exec,nosuid,nodev,mode=1777", "/run": "rw,nosuid,nodev,mode=1777,size=16m"},  # noqa: S108
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],  # and the engine's own seccomp profile, which is its default
            init=True,
            cpu_period=PERIOD,
            cpu_quota=limits.cpu_millicores * PERIOD // 1000,
            mem_limit=limits.memory_bytes,
            memswap_limit=limits.memory_bytes,
            pids_limit=limits.processes,
            log_config=LogConfig(type="json-file", config={"max-size": "1m", "max-file": "2"}),
            restart_policy={"Name": "no"},
        )

    def _volume(self, workspace_id: UUID) -> str:
        return f"yac-{self._installation}-{workspace_id.hex}"

    def _is_mine(self, client: docker.APIClient, name: str, wanted: Wanted) -> bool:
        try:
            labels = client.inspect_container(name)["Config"]["Labels"] or {}
        except NotFound:
            return False
        return bool(
            labels.get(WORKSPACE) == str(wanted.workspace_id) and labels.get(GENERATION) == str(wanted.generation)
        )

    def _client(self) -> docker.APIClient:
        """The connection, made when it is first needed: without an engine the service runs all the same."""
        with self._connecting:
            if self._connected is None:
                knock(self._host)
                self._connected = docker.APIClient(self._host, version="auto", timeout=60, max_pool_size=50)
            return self._connected

    def close(self) -> None:
        """Closes the connections."""
        if self._connected is not None:
            self._connected.close()


def _container(found: dict[str, Any]) -> Container:
    labels = found["Labels"]
    return Container(
        id=found["Id"],
        workspace_id=UUID(labels[WORKSPACE]),
        generation=int(labels.get(GENERATION, 0)),
        status=_STATUS.get(found["State"], Status.ENDED),
    )


def _volume(found: dict[str, Any]) -> Volume:
    made = datetime.fromisoformat(found["CreatedAt"])
    return Volume(found["Name"], UUID(found["Labels"][WORKSPACE]), made)


def _words(error: APIError) -> str:
    return str(error.explanation or error).lower()


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    """Turns Docker's errors into ours. NotFound passes to whoever expects it, inside."""
    try:
        yield
    except ImageNotFound as error:
        raise ImageMissing(_words(error)) from error
    except APIError as error:
        raise _kind(_words(error))(_words(error)[:500]) from error
    except (requests.RequestException, DockerException, OSError) as error:
        raise Unreachable(type(error).__name__) from error


def _kind(words: str) -> type[EngineError]:
    if "no such image" in words:
        return ImageMissing
    if "no space left" in words or "disk quota exceeded" in words:
        return DiskFull
    if "address already in use" in words:
        return AddressInUse
    if "cannot allocate memory" in words:
        return OutOfMemory
    if "pool overlaps" in words:
        return NetworkDiffers
    return EngineError
