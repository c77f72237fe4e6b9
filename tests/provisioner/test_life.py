"""A workspace's life on both engines: it starts, stops, starts with its files, and goes without a trace."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from services.provisioner.engine import Status
from tests.provisioner.world import World, until


def only(world: World, workspace_id: UUID) -> str:
    """The id of the workspace's one running container."""
    (container,) = world.engine.containers(workspace_id)
    assert container.status is Status.RUNNING
    return str(container.id)


def test_from_the_click_to_the_end(both: World) -> None:
    both.entitle()
    both.run()
    id_ = both.create("first")
    row = both.wait(id_, "running")
    assert [stage["name"] for stage in row.stages] == [
        "queued",
        "created",
        "started",
        "editor_answers",
        "route_answers",
    ]
    assert [stage["ms"] for stage in row.stages] == sorted(stage["ms"] for stage in row.stages)
    first = only(both, id_)
    assert both.routes() == {row.host: f"http://{both.settings.address(row.slot or 0)}:8080"}

    assert both.call("POST", f"/workspaces/{id_}/stop").json()["state"] == "stopping"
    both.wait(id_, "stopped")
    assert both.engine.containers(id_) == []
    assert both.routes() == {}
    assert [volume.workspace_id for volume in both.engine.volumes()] == [id_]

    assert both.call("POST", f"/workspaces/{id_}/start").json()["state"] == "starting"
    again = both.wait(id_, "running")
    assert again.host == row.host
    assert again.generation == 2
    assert only(both, id_) != first

    assert both.call("DELETE", f"/workspaces/{id_}").json()["state"] == "deleting"
    both.wait(id_, "deleted")
    assert both.engine.containers() == []
    assert [volume.workspace_id for volume in both.engine.volumes()] == [id_]
    assert both.routes() == {}
    assert "workspace.deleted" not in [type_ for type_, _ in both.told()]
    both.move_clock(timedelta(days=8))
    both.wait(id_, "erased")
    assert both.engine.volumes() == []
    assert [type_ for type_, _ in both.told()] == [
        "workspace.requested",
        "workspace.ready",
        "workspace.stopped",
        "workspace.started",
        "workspace.deleted",
    ]


def test_a_restart_is_a_new_container_with_the_same_files(both: World) -> None:
    both.entitle()
    both.run()
    id_ = both.create()
    both.wait(id_, "running")
    first, row = only(both, id_), both.row(id_)
    assert both.call("POST", f"/workspaces/{id_}/restart").json()["state"] == "starting"
    both.wait(id_, "running")
    again = both.row(id_)
    assert only(both, id_) != first
    assert (again.host, again.slot, again.generation) == (row.host, row.slot, 2)
    assert [volume.workspace_id for volume in both.engine.volumes()] == [id_]
    assert both.routes() == {row.host: f"http://{both.settings.address(row.slot or 0)}:8080"}
    assert [type_ for type_, _ in both.told()][1:] == ["workspace.ready", "workspace.started"]


def test_what_ends_outside_comes_back_by_itself(both: World) -> None:
    both.entitle()
    both.run()
    id_ = both.create()
    both.wait(id_, "running")
    for number, deed in enumerate((kill, remove), start=2):
        deed(both, only(both, id_))
        until(lambda number=number: both.row(id_).generation == number, picture=lambda: both.picture(id_))
        both.wait(id_, "running")
        only(both, id_)
    pause(both, only(both, id_))
    until(lambda: both.engine.containers(id_)[0].status is Status.RUNNING)
    assert both.row(id_).generation == 3  # nobody lost what they were doing


def test_two_replicas_make_one_container_each(both: World) -> None:
    both.entitle()
    both.run()
    both.run()
    ids = [both.create(f"number {number}") for number in range(4)]
    for id_ in ids:
        both.wait(id_, "running")
        only(both, id_)
        assert both.row(id_).generation == 1
    assert [type_ for type_, _ in both.told()].count("workspace.ready") == 4
    for id_ in ids:
        both.call("DELETE", f"/workspaces/{id_}")
    for id_ in ids:
        both.wait(id_, "deleted")
    both.move_clock(timedelta(days=8))
    for id_ in ids:
        both.wait(id_, "erased")
    assert both.engine.volumes() == []
    assert [type_ for type_, _ in both.told()].count("workspace.deleted") == 4


def test_entitlement_off_and_on(both: World) -> None:
    both.entitle()
    both.run()
    ran, rested = both.create("ran"), both.create("rested")
    both.wait(ran, "running")
    both.wait(rested, "running")
    both.call("POST", f"/workspaces/{rested}/stop")
    both.wait(rested, "stopped")
    both.entitle(active=False)
    both.wait(ran, "stopped")
    assert both.row(ran).cause == "not-entitled"
    assert both.call("POST", f"/workspaces/{ran}/start").json()["type"] == "/problems/not-entitled"
    both.entitle()
    both.wait(ran, "running")
    assert both.row(rested).state == "stopped"


def test_a_new_plan_changes_what_runs_in_place(both: World) -> None:
    both.entitle()
    both.run()
    id_ = both.create()
    both.wait(id_, "running")
    container = only(both, id_)
    both.entitle(cpu_millicores=500, memory_bytes=768 * 1024**2, processes=300)
    wanted = {"cpu_millicores": 500, "memory_bytes": 768 * 1024**2, "processes": 300}
    until(lambda: both.row(id_).limits == wanted, picture=lambda: both.row(id_).limits)
    assert only(both, id_) == container


def kill(world: World, id_: str) -> None:
    if hasattr(world.engine, "kill_by_hand"):
        world.engine.kill_by_hand(id_)
    else:
        world.engine._client().kill(id_)


def remove(world: World, id_: str) -> None:
    if hasattr(world.engine, "remove_by_hand"):
        world.engine.remove_by_hand(id_)
    else:
        world.engine._client().remove_container(id_, force=True)


def pause(world: World, id_: str) -> None:
    if hasattr(world.engine, "pause_by_hand"):
        world.engine.pause_by_hand(id_)
    else:
        world.engine._client().pause(id_)
