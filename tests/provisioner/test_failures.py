"""What goes wrong on the way, and how it heals: an engine that refuses, is away, or loses what it was given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from services.provisioner.engine import AddressInUse, EngineError, Limits, OutOfMemory, Status, Volume, Wanted
from services.provisioner.entitlements import LEAST
from services.provisioner.models import Entitlement
from shared.ids import new_id
from tests.provisioner.remembering_engine import RememberingEngine
from tests.provisioner.world import World, until


@pytest.fixture
def fast(new_world: Callable[..., World], remembering: RememberingEngine) -> World:
    return new_world(remembering, subnet=remembering.subnet, start_seconds=0.3, restart_pause_seconds=0)


def test_waits_for_the_image_and_goes_on_by_itself(fast: World) -> None:
    fast.engine.image_there = False
    fast.entitle()
    fast.run()
    id_ = fast.create()
    until(lambda: fast.row(id_).cause == "image-preparing")
    assert fast.row(id_).state == "requested"
    fast.engine.image_there = True
    assert fast.wait(id_, "running").cause is None


def test_waits_for_the_engine_and_says_so(fast: World) -> None:
    fast.entitle()
    fast.run()
    ran = fast.create("ran")
    fast.wait(ran, "running")
    fast.engine.reachable = False
    asked = fast.create("asked")
    until(lambda: fast.row(asked).cause == "engine-unreachable")
    fast.call("POST", f"/workspaces/{ran}/stop")
    until(lambda: fast.row(ran).cause == "engine-unreachable")
    assert (fast.row(ran).state, fast.row(asked).state) == ("stopping", "requested")
    fast.engine.reachable = True
    fast.wait(asked, "running")
    assert fast.wait(ran, "stopped").cause is None


@pytest.mark.parametrize("method", ["create", "start"])
@pytest.mark.parametrize("error", [OutOfMemory, AddressInUse, EngineError])
def test_tries_again_and_then_says_why_it_gave_up(fast: World, method: str, error: type[EngineError]) -> None:
    fast.entitle()
    fast.run()
    fast.engine.refuses[method] = [error()]
    once = fast.create("once")
    fast.wait(once, "running")
    fast.engine.refuses[method] = [error() for _ in range(20)]
    always = fast.create("always")
    assert fast.wait(always, "failed").cause == error.code
    until(lambda: fast.engine.containers(always) == [])
    assert ("workspace.failed", error.code) in [(type_, data.get("cause")) for type_, data in fast.told()]
    until(lambda: fast.row(always).host not in fast.routes())
    fast.engine.refuses.clear()
    fast.call("POST", f"/workspaces/{always}/start")
    fast.wait(always, "running")


def test_an_editor_that_never_answers_is_given_up(fast: World) -> None:
    fast.engine.silent = True
    fast.entitle()
    fast.run()
    id_ = fast.create()
    assert fast.wait(id_, "failed").cause == "no-progress"
    until(lambda: fast.engine.containers() == [])
    fast.call("DELETE", f"/workspaces/{id_}")
    fast.wait(id_, "deleted")


def test_what_keeps_ending_is_not_started_for_ever(fast: World) -> None:
    fast.entitle()
    fast.run()
    id_ = fast.create()
    for _ in range(fast.settings.restarts + 1):
        fast.wait(id_, "running")
        (container,) = fast.engine.containers(id_)
        fast.engine.out_of_memory.add(container.id)
        fast.engine.kill_by_hand(container.id)
        until(lambda old=container.id: old not in fast.engine.made)
    assert fast.wait(id_, "failed").cause == "out-of-memory"


def test_a_start_can_be_taken_back(fast: World) -> None:
    fast.engine.silent = True
    fast.settings.__dict__["start_seconds"] = 60
    fast.entitle()
    fast.run()
    stopped, deleted = fast.create("stopped"), fast.create("deleted")
    until(lambda: len(fast.engine.containers()) == 2)
    fast.call("POST", f"/workspaces/{stopped}/stop")
    fast.call("DELETE", f"/workspaces/{deleted}")
    fast.wait(stopped, "stopped", 5)
    fast.wait(deleted, "deleted", 5)
    assert fast.engine.containers() == []


def test_orphans_go_and_files_of_living_workspaces_stay(fast: World) -> None:
    fast.entitle()
    stopped = fast.create()
    fast.call("POST", f"/workspaces/{stopped}/stop")
    engine: RememberingEngine = fast.engine
    limits = Limits(1000, 1024**3, 100)
    stranger = Wanted(new_id(), new_id(), 1, "stranger", None, fast.settings.address(99), limits)
    engine.create(stranger)
    old, young = new_id(), new_id()
    engine.kept[old] = Volume("old", old, datetime.now(UTC) - timedelta(days=2))
    engine.kept[young] = Volume("young", young, datetime.now(UTC))
    engine.kept[stopped] = Volume("mine", stopped, datetime.now(UTC) - timedelta(days=300))
    fast.run()
    until(lambda: engine.containers() == [] and old not in engine.kept)
    assert {young, stopped} <= set(engine.kept)


def test_editors_that_never_answer_hold_nobody_up(
    new_world: Callable[..., World], remembering: RememberingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.provisioner.reconcile.TURN", 0.2)
    world = new_world(remembering, subnet=remembering.subnet, parallel_starts=1)
    world.entitle()
    world.run()
    remembering.silent = True
    stuck = world.create("stuck")
    until(lambda: len(remembering.containers(stuck)) == 1)
    until(lambda: [stage["name"] for stage in world.row(stuck).stages][-1] == "started")
    remembering.silent = False
    world.wait(world.create("fine"), "running", 10)
    assert world.row(stuck).state == "starting"


def test_without_any_engine_the_doors_are_open(new_world: Callable[..., World], tmp_path: Path) -> None:
    world = new_world(docker_host=f"unix://{tmp_path}/nobody.sock")
    world.entitle()
    world.run()
    id_ = world.create()
    until(lambda: world.row(id_).cause == "engine-unreachable")
    cause = world.call("GET", f"/workspaces/{id_}").json()["cause"]
    assert (cause["code"], world.row(id_).state) == ("engine-unreachable", "requested")


def test_a_workspace_is_looked_after_even_when_its_company_is_unknown(fast: World) -> None:
    """Somebody put back a part of the database: nothing of a living row may be taken for an orphan."""
    fast.entitle()
    fast.run()
    id_ = fast.create()
    fast.wait(id_, "running")
    with fast.service.database.unit_of_work() as session:
        session.execute(delete(Entitlement))
    until(lambda: (fast.row(id_).limits or {}).get("processes") == LEAST.processes)
    assert [one.status for one in fast.engine.containers(id_)] == [Status.RUNNING]
    fast.call("POST", f"/workspaces/{id_}/stop")
    fast.wait(id_, "stopped")


class Crash(Exception):
    """The process died here, as far as the control loop can tell."""


class CrashingEngine:
    """Passes everything on, and dies at the `at`-th change, before or after it took effect."""

    def __init__(self, engine: RememberingEngine, at: int, after: bool) -> None:
        self._engine = engine
        self.left = at
        self._after = after
        self.crashed = False

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._engine, name)
        if name not in ("create", "start", "stop", "limit", "resume", "remove_volume", "protect"):
            return real

        def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.left != 0:
                return real(*arguments)
            self.crashed = True
            if self._after:
                real(*arguments)
            raise Crash

        return call


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 8))
def test_a_crash_at_any_step_heals(fast: World, at: int, after: bool) -> None:
    engine = CrashingEngine(fast.engine, at, after)
    fast.entitle()
    fast.run(engine)
    id_ = fast.create()
    fast.wait(id_, "running")
    fast.call("POST", f"/workspaces/{id_}/stop")
    fast.wait(id_, "stopped")
    fast.call("POST", f"/workspaces/{id_}/start")
    fast.wait(id_, "running")
    assert [one.status for one in fast.engine.containers()] == [Status.RUNNING]
    fast.call("DELETE", f"/workspaces/{id_}")
    fast.wait(id_, "deleted")
    assert (fast.engine.containers(), list(fast.engine.kept), fast.routes()) == ([], [id_], {})
    fast.move_clock(timedelta(days=8))
    fast.wait(id_, "erased")
    assert engine.crashed
    assert fast.engine.volumes() == []
    told = [type_ for type_, _ in fast.told()]
    assert told == [f"workspace.{word}" for word in ("requested", "ready", "stopped", "started", "deleted")]


def test_a_lost_lease_is_taken_over(fast: World) -> None:
    """The holder died without a word: its row says somebody works on it, and nobody does."""
    fast.entitle()
    id_ = fast.create()
    with fast.service.database.unit_of_work() as session:
        from datetime import timedelta as span

        from services.provisioner import progress

        assert progress.claim(session, id_, new_id(), span(seconds=1.5))
        assert not progress.claim(session, id_, new_id(), span(seconds=1.5))
    fast.run()
    fast.wait(id_, "running", 10)


def test_a_wrong_routes_file_is_put_right(fast: World) -> None:
    fast.entitle()
    fast.run()
    id_ = fast.create()
    fast.wait(id_, "running")
    right = fast.routes()
    assert fast.settings.routes_directory
    path = fast.settings.routes_directory / "workspaces.yml"
    path.write_text(path.read_text().replace("127.", "10."))
    until(lambda: fast.routes() == right)
    path.unlink()
    until(lambda: fast.routes() == right)
    assert [one.name for one in fast.settings.routes_directory.iterdir()] == ["workspaces.yml"]


def test_twenty_at_once_all_come(fast: World) -> None:
    fast.entitle(workspaces=None)
    fast.run()
    fast.run()
    ids = [fast.create(f"n{number}") for number in range(20)]
    for id_ in ids:
        fast.wait(id_, "running")
    assert len(fast.engine.containers()) == 20
    assert len(fast.routes()) == 20
    with pytest.raises(AssertionError):
        until(lambda: fast.engine.calls.count("create") > 20, 0.3)
