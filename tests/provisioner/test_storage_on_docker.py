"""Real volumes: what is counted of real files, and a real file that fills a small plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import docker
import pytest

from services.provisioner.engine import Measured
from services.provisioner.engine.docker_engine import DockerEngine
from services.provisioner.engine.measuring import WALK, labels_of, read
from shared.ids import new_id
from tests.provisioner.world import World, until

pytestmark = pytest.mark.e2e

MIB = 1024**2
FILES = """
set -e
head -c 20M /dev/zero > big
for n in 1 2 3 4 5; do ln big link$n; done
truncate -s 5G holes
ln -s / everything
mkdir locked && head -c 10M /dev/zero > locked/secret && chmod 000 locked/secret locked
mkdir empty && cd empty && seq 5000 | xargs touch
"""


@pytest.fixture
def docked(real: DockerEngine, real_settings: dict[str, Any], new_world: Callable[..., World]) -> World:
    # A pause that is long beside a turn on a slow machine and short beside the test's patience.
    return new_world(real, **real_settings, measure_seconds=1)


def inside(client: docker.DockerClient, world: World, id_: UUID, script: str) -> str:
    """Runs a script in the workspace's home as its user; what it printed."""
    (container,) = world.engine.containers(id_)
    code, output = client.containers.get(container.id).exec_run(["sh", "-c", script], workdir="/home/coder")
    assert code == 0, output
    return str(output.decode())


def measured(world: World, *ids: UUID, each: int = 20) -> Measured:
    found: Measured = world.engine.measure(ids, each, 60, new_id(), lambda: False)
    return found


def test_what_is_counted_of_real_files(docked: World, docker_engine: docker.DockerClient) -> None:
    docked.entitle()
    loop = docked.run()
    id_ = docked.create()
    docked.wait(id_, "running")
    loop.stop()  # it would take our meters, whose holder it does not know, for left behind
    stranger = new_id()
    before = measured(docked, id_, stranger)
    inside(docker_engine, docked, id_, FILES)
    after = measured(docked, id_, stranger)
    assert set(before.sizes) == set(after.sizes) == {id_}
    assert before.sizes[id_].whole
    assert after.sizes[id_].whole
    grown = after.sizes[id_].bytes - before.sizes[id_].bytes
    assert 30 * MIB <= grown <= 36 * MIB  # what is locked counts, a link and a hole do not, and `/` is not our volume
    assert after.disk is not None
    assert 0 < after.disk.free_bytes < after.disk.total_bytes
    assert [volume.workspace_id for volume in docked.engine.volumes()] == [id_]  # none was made by looking at it
    assert docked.engine.meters() == []
    inside(docker_engine, docked, id_, "mkdir more && cd more && seq 10000 | xargs touch")
    many = measured(docked, id_)
    assert many.sizes[id_].bytes >= 15_000 * 4096  # without content, and not without room
    assert docked.engine.measure([id_], 20, 60, new_id(), lambda: True) == Measured()
    assert docked.engine.meters() == []


def test_a_real_file_fills_a_small_plan(
    docked: World, docker_engine: docker.DockerClient, real_settings: dict[str, Any]
) -> None:
    docked.entitle(storage_bytes=100 * MIB)
    docked.run(measuring=True)
    id_ = docked.create()
    docked.wait(id_, "running")
    leave_a_meter(docker_engine, docked, real_settings, id_)

    inside(docker_engine, docked, id_, "head -c 85M /dev/zero > data")
    until(lambda: warnings(docked) == [80], picture=lambda: docked.row(id_).storage_bytes)
    inside(docker_engine, docked, id_, "head -c 30M /dev/zero > more; chmod 000 more")
    until(lambda: docked.row(id_).cause == "storage-full", picture=lambda: docked.picture(id_))
    docked.wait(id_, "stopped")
    assert warnings(docked) == [80, 100]
    assert docked.call("POST", "/workspaces", json={"name": "another"}).status_code == 403

    assert docked.call("POST", f"/workspaces/{id_}/start").status_code == 202
    docked.wait(id_, "running")
    assert inside(docker_engine, docked, id_, "wc -c < data; rm -f more data").strip() == str(85 * MIB)
    quota = "/workspaces/quota"
    until(lambda: docked.call("GET", quota).json()["storage_used"] < 50 * MIB, picture=lambda: docked.picture(id_))
    assert docked.row(id_).desired == "running"
    another = docked.create("another")
    docked.wait(another, "running")
    until(lambda: not left_meters(docker_engine, real_settings))


SLOW_FIND = """#!/bin/sh
[ "$1" = /volumes/heap ] || exec /usr/bin/find "$@"
printf 'd 2 8\\nf 1 4096\\nf 1 %s' "$CUT"
exec sleep 60
"""


@pytest.mark.parametrize("cut", ["", "40", "4096"])
def test_a_walk_that_is_cut_off_says_so(docker_engine: docker.DockerClient, tmp_path: Path, cut: str) -> None:
    """With the real script in its image; only the walk is one that never ends, cut in the middle of a line."""
    (tmp_path / "find").write_text(SLOW_FIND)
    (tmp_path / "find").chmod(0o755)
    for name in ("heap", "small"):
        (tmp_path / name).mkdir()
    tmp_path.chmod(0o755)
    heap, small = "0" * 31 + "1", "0" * 31 + "2"
    answer = docker_engine.containers.run(
        "youarecoder/firewall",
        entrypoint=["sh", "-c", WALK, "measure"],
        command=["1", "20"],
        environment={"CUT": cut},
        network_mode="none",
        remove=True,
        volumes={
            str(tmp_path / "find"): {"bind": "/usr/local/bin/find", "mode": "ro"},
            str(tmp_path / "heap"): {"bind": "/volumes/heap", "mode": "ro"},
            str(tmp_path / "small"): {"bind": f"/volumes/{small}", "mode": "ro"},
            str(tmp_path): {"bind": "/disk", "mode": "ro"},
        },
    ).decode()
    found = read(answer.replace("volume heap", f"volume {heap}"))
    assert found.disk is not None
    sizes = {id_.int: size for id_, size in found.sizes.items()}
    assert (sizes[1].whole, sizes[2].whole) == (False, True)
    assert 2 * MIB <= sizes[1].bytes <= 5 * MIB


def warnings(world: World) -> list[int]:
    return [data["percent"] for type_, data in world.told() if type_ == "workspace.storage_warning"]


def leave_a_meter(client: docker.DockerClient, world: World, settings: dict[str, Any], id_: UUID) -> None:
    """What a process that was killed in the middle leaves."""
    labels = labels_of({"youarecoder.installation": settings["installation"]}, new_id())
    volume = world.engine._volume(id_)
    client.containers.create(
        "youarecoder/firewall", entrypoint=["true"], labels={**labels, "left": "yes"}, volumes={volume: {"bind": "/v"}}
    )


def left_meters(client: docker.DockerClient, settings: dict[str, Any]) -> list[Any]:
    mine = [f"youarecoder.installation={settings['installation']}", "left=yes"]
    found: list[Any] = client.containers.list(all=True, filters={"label": mine})
    return found
