"""An engine that behaves like one and keeps it all in memory. Its containers answer /healthz on their addresses."""

from __future__ import annotations

import http.server
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from uuid import UUID, uuid4

from services.provisioner.engine import (
    AddressInUse,
    Container,
    EngineError,
    FileSystem,
    ImageMissing,
    Limits,
    Measured,
    Meter,
    Size,
    Status,
    Unreachable,
    Volume,
    Wanted,
)


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        self.server.heard.append(dict(self.headers.items()))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the parent's name for it)
        """Says nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 50

    def __init__(self, address: tuple[str, int], heard: list[dict[str, str]]) -> None:
        super().__init__(address, _Answer)
        self.heard = heard


class RememberingEngine:
    """Keeps what it was told. `image_there`, `reachable` and `out_of_memory` are levers for tests."""

    def __init__(self, subnet: IPv4Network) -> None:
        self.subnet = subnet
        self.image_there = True
        self.reachable = True
        self.silent = False
        """Containers start and never answer."""
        self.refuses: dict[str, list[EngineError]] = {}
        """What the next calls of a method raise."""
        self.out_of_memory: set[str] = set()
        self.sizes: dict[UUID, Size] = {}
        """What each volume holds; one that is not named is empty."""
        self.unreadable: set[UUID] = set()
        """Volumes with which nothing can be measured."""
        self.disk = FileSystem(1000 * 1024**3, 500 * 1024**3)
        self.measured: list[set[UUID]] = []
        """The volumes of each answer."""
        self.measuring: list[Meter] = []
        self.made: dict[str, Container] = {}
        self.limits: dict[str, Limits] = {}
        self.kept: dict[UUID, Volume] = {}
        self.calls: list[str] = []
        self.heard: list[dict[str, str]] = []
        """The headers of each request a container got."""
        self._addresses: dict[str, IPv4Address] = {}
        self._names: dict[str, str] = {}
        self._servers: dict[str, _Server] = {}
        self._lock = threading.RLock()
        self._events: list[queue.Queue[UUID | None]] = []

    def protect(self) -> None:
        self._call("protect")

    def containers(self, workspace_id: UUID | None = None) -> list[Container]:
        with self._lock:
            self._call("containers")
            return [one for one in self.made.values() if workspace_id in (None, one.workspace_id)]

    def create(self, wanted: Wanted) -> None:
        with self._lock:
            self._call("create")
            self.kept.setdefault(wanted.workspace_id, Volume("v", wanted.workspace_id, datetime.now(UTC)))
            if not self.image_there:
                raise ImageMissing
            name = f"{wanted.host}-{wanted.generation}"
            if name in self._names.values():
                return
            id_ = uuid4().hex
            self._names[id_] = name
            self._addresses[id_] = wanted.address
            self.limits[id_] = wanted.limits
            self.made[id_] = Container(id_, wanted.workspace_id, wanted.generation, Status.CREATED)

    def start(self, container: Container) -> None:
        with self._lock:
            self._call("start")
            if container.id not in self.made:
                raise EngineError("no such container")
            if self.made[container.id].status is Status.RUNNING:
                return
            address = self._addresses[container.id]
            if any(self._addresses[other] == address for other in self._servers):
                raise AddressInUse
            if not self.silent:
                server = _Server((str(address), 8080), self.heard)
                threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
                self._servers[container.id] = server
            self._set(container.id, Status.RUNNING)

    def resume(self, container: Container) -> None:
        with self._lock:
            self._call("resume")
            self._set(container.id, Status.RUNNING)

    def limit(self, container: Container, limits: Limits) -> None:
        with self._lock:
            self._call("limit")
            self.limits[container.id] = limits

    def ran_out_of_memory(self, container: Container) -> bool:
        return container.id in self.out_of_memory

    def stop(self, container: Container, seconds: int) -> None:
        with self._lock:
            self._call("stop")
            self.remove_by_hand(container.id)

    def volumes(self) -> list[Volume]:
        with self._lock:
            self._call("volumes")
            return list(self.kept.values())

    def remove_volume(self, workspace_id: UUID) -> None:
        with self._lock:
            self._call("remove_volume")
            if any(one.workspace_id == workspace_id for one in self.made.values()):
                raise EngineError("volume is in use")
            self.kept.pop(workspace_id, None)

    def measure(
        self, workspaces: Sequence[UUID], each: int, together: int, holder: UUID, stopped: Callable[[], bool]
    ) -> Measured:
        with self._lock:
            self._call("measure")
            there = {id_ for id_ in workspaces if id_ in self.kept}
            if there & self.unreadable:
                raise EngineError("no such directory")
            self.measured.append(there)
            return Measured({id_: self.sizes.get(id_, Size(0)) for id_ in there}, self.disk)

    def meters(self) -> list[Meter]:
        with self._lock:
            self._call("meters")
            return list(self.measuring)

    def remove_meter(self, meter: Meter) -> None:
        with self._lock:
            self._call("remove_meter")
            self.measuring.remove(meter)

    def follow(self, changed: Callable[[UUID | None], None], stopped: Callable[[], bool]) -> None:
        mine: queue.Queue[UUID | None] = queue.Queue()
        self._events.append(mine)
        changed(None)
        try:
            while not stopped():
                try:
                    changed(mine.get(timeout=0.05))
                except queue.Empty:
                    if not self.reachable:
                        raise Unreachable from None
        finally:
            self._events.remove(mine)

    # by hand, behind the platform's back

    def kill_by_hand(self, id_: str) -> None:
        """The container's program ends."""
        with self._lock:
            self._close(id_)
            self._set(id_, Status.ENDED)

    def pause_by_hand(self, id_: str) -> None:
        """`docker pause`."""
        with self._lock:
            self._set(id_, Status.PAUSED)

    def remove_by_hand(self, id_: str) -> None:
        """`docker rm -f`."""
        with self._lock:
            self._close(id_)
            gone = self.made.pop(id_, None)
            self._names.pop(id_, None)
            self._addresses.pop(id_, None)
            if gone:
                self._tell(gone.workspace_id)

    def close(self) -> None:
        """Ends what still answers."""
        for id_ in list(self._servers):
            self._close(id_)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if not self.reachable:
            raise Unreachable
        if self.refuses.get(name):
            raise self.refuses[name].pop(0)

    def _set(self, id_: str, status: Status) -> None:
        self.made[id_] = replace(self.made[id_], status=status)
        self._tell(self.made[id_].workspace_id)

    def _tell(self, workspace_id: UUID | None) -> None:
        for events in list(self._events):
            events.put(workspace_id)

    def _close(self, id_: str) -> None:
        server = self._servers.pop(id_, None)
        if server is not None:
            server.shutdown()
            server.server_close()
