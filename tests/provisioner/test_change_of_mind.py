"""A start that is taken back or begun anew, at each stage it can be in."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from services.provisioner.engine import EngineError, Status
from tests.provisioner.remembering_engine import RememberingEngine
from tests.provisioner.world import World, until

STAGES = [
    "queued",
    "no image",
    "being created",
    "created",
    "being started",
    "editor silent",
    "address silent",
    "paused",
]


class HoldingEngine:
    """Passes everything on; calls of the method `held` wait, before they take effect or after, until let go."""

    def __init__(self, engine: RememberingEngine) -> None:
        self._engine = engine
        self.held = ""
        self.after = False
        self.waiting = threading.Event()
        self.let_go = threading.Event()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._engine, name)
        if name != self.held:
            return real

        def call(*arguments: Any) -> Any:
            answer = real(*arguments) if self.after else None
            self.waiting.set()
            assert self.let_go.wait(60)
            return answer if self.after else real(*arguments)

        return call


class Start:
    """A start that has come to one stage and stays there until `go_on`."""

    def __init__(self, world: World, engine: HoldingEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.engine = engine
        self._monkeypatch = monkeypatch

    def bring(self, stage: str) -> UUID:
        """A workspace whose start stands at this stage."""
        memory: RememberingEngine = self.world.engine
        first = self._first_in_the_queue() if stage == "queued" else None
        if stage == "no image":
            memory.image_there = False
        elif stage in ("being created", "created", "being started"):
            self.engine.held = "create" if stage == "being created" else "start"
            self.engine.after = stage == "being started"
        elif stage == "editor silent":
            memory.silent = True
        elif stage == "paused":
            memory.refuses["create"] = [EngineError(), EngineError()]
        id_ = self.world.create()
        if first is None:
            self.world.run(self.engine)
        reached: dict[str, Callable[[], object]] = {
            "queued": lambda: self.world.row(id_).host in self.world.routes(),  # so the control loop has heard of it
            "no image": lambda: self.world.row(id_).cause == "image-preparing",
            "editor silent": lambda: self._last(id_) == "started",
            "address silent": lambda: self._last(id_) == "editor_answers",
            "paused": lambda: self.world.row(id_).retry_at is not None,
        }
        until(lambda: bool(reached.get(stage, self.engine.waiting.is_set)()), picture=lambda: self.world.picture(id_))
        return id_

    def go_on(self) -> None:
        """What held it up is over."""
        self.engine.held = ""
        self.engine.let_go.set()
        self.world.engine.silent = False
        self.world.engine.image_there = True

    def _last(self, id_: UUID) -> str:
        return str(self.world.row(id_).stages[-1]["name"])

    def _first_in_the_queue(self) -> UUID:
        """Another workspace has the only place of those that start, and keeps it."""
        self._monkeypatch.setattr("services.provisioner.reconcile.TURN", 600)
        self.world.engine.silent = True
        first = self.world.create("first")
        self.world.run(self.engine)
        until(lambda: self._last(first) == "started")
        return first


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens as long as the test lasts."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def start(
    request: pytest.FixtureRequest,
    new_world: Callable[..., World],
    remembering: RememberingEngine,
    nobody: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Start]:
    stage = request.node.callspec.params["stage"]
    traefik = {"traefik_url": nobody} if stage == "address silent" else {}
    world = new_world(remembering, subnet=remembering.subnet, parallel_starts=1, restart_pause_seconds=300, **traefik)
    world.entitle()
    engine = HoldingEngine(remembering)
    yield Start(world, engine, monkeypatch)
    engine.let_go.set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_start_is_taken_back(start: Start, stage: str) -> None:
    world = start.world
    id_ = start.bring(stage)
    assert world.call("POST", f"/workspaces/{id_}/stop").json()["state"] == "stopping"
    if start.engine.held:  # one call of the engine cannot be taken back: it ends, and what it made goes
        start.go_on()
    world.wait(id_, "stopped", 10)
    assert world.engine.containers(id_) == []
    row = world.row(id_)
    assert (row.cause, row.retry_at) == (None, None)
    until(lambda: row.host not in world.routes())
    if stage == "address silent":
        return  # nobody will ever answer there
    start.go_on()
    assert world.call("POST", f"/workspaces/{id_}/start").status_code == 202
    if stage == "queued":
        (first,) = {one.workspace_id for one in world.engine.containers()} - {id_}
        world.call("DELETE", f"/workspaces/{first}")
    world.wait(id_, "running")
    assert [one.status for one in world.engine.containers(id_)] == [Status.RUNNING]


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in ("queued", "address silent")])
def test_a_start_is_begun_anew(start: Start, stage: str) -> None:
    world = start.world
    id_ = start.bring(stage)
    before = world.row(id_).generation
    assert world.call("POST", f"/workspaces/{id_}/restart").json()["state"] == "starting"
    start.go_on()
    row = world.wait(id_, "running")
    (container,) = world.engine.containers(id_)
    assert (row.generation, container.generation, container.status) == (before + 1, before + 1, Status.RUNNING)
    assert (row.restarts, row.retry_at, row.cause) == (0, None, None)
    assert [type_ for type_, _ in world.told()] == ["workspace.requested", "workspace.ready"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_start_is_deleted_and_brought_back(start: Start, stage: str) -> None:
    world = start.world
    id_ = start.bring(stage)
    world.call("DELETE", f"/workspaces/{id_}")
    if start.engine.held:
        start.go_on()
    world.wait(id_, "deleted", 10)
    assert world.engine.containers(id_) == []
    assert world.row(id_).slot is None
    assert world.call("POST", f"/workspaces/{id_}/restore").json()["state"] == "stopped"


@pytest.mark.parametrize("stage", ["paused"])
def test_what_failed_or_was_stopped_starts_by_a_restart(start: Start, stage: str) -> None:
    world = start.world
    world.settings.__dict__["restart_pause_seconds"] = 0
    world.engine.refuses["create"] = [EngineError() for _ in range(20)]
    id_ = world.create()
    world.run()
    world.wait(id_, "failed")
    world.engine.refuses.clear()
    assert world.call("POST", f"/workspaces/{id_}/restart").json()["state"] == "starting"
    world.wait(id_, "running")
    world.call("POST", f"/workspaces/{id_}/stop")
    world.wait(id_, "stopped")
    assert world.call("POST", f"/workspaces/{id_}/restart").json()["state"] == "starting"
    world.wait(id_, "running")
    assert len(world.engine.containers(id_)) == 1
