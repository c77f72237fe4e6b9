"""Real containers: what they may do, what they keep, and that a killed provisioner leaves none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import docker
import pytest

from services.provisioner.engine import Limits, Status, Wanted
from services.provisioner.engine.docker_engine import DockerEngine
from shared.ids import new_id
from tests.callers import PUBLIC_KEY
from tests.infrastructure import TestDatabase
from tests.provisioner.world import GIB, World, until

pytestmark = pytest.mark.e2e


@pytest.fixture
def docked(real: DockerEngine, real_settings: dict[str, Any], new_world: Callable[..., World]) -> World:
    world = new_world(real, **real_settings)
    world.entitle(memory_bytes=GIB, cpu_millicores=1500, processes=300)
    return world


def inside(client: docker.DockerClient, world: World, id_: UUID, script: str) -> tuple[int, str]:
    """Runs a shell script in the workspace as its user; exit code and output."""
    (container,) = world.engine.containers(id_)
    code, output = client.containers.get(container.id).exec_run(["sh", "-c", script])
    return code, output.decode()


def test_what_a_container_may(docked: World, docker_engine: docker.DockerClient) -> None:
    docked.run()
    id_, other = docked.create(), docked.create("other")
    row, theirs = docked.wait(id_, "running"), docked.wait(other, "running")
    (container,) = docked.engine.containers(id_)
    seen = docker_engine.api.inspect_container(container.id)
    host = seen["HostConfig"]
    assert seen["Config"]["User"] == "1000:1000"
    assert seen["Config"]["Hostname"] == row.host
    assert (host["CapDrop"], host["CapAdd"], host["Privileged"]) == (["ALL"], None, False)
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["ReadonlyRootfs"], host["Init"]) == (True, True)
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (GIB, GIB, 300)
    assert host["CpuQuota"] / host["CpuPeriod"] == 1.5
    assert [mount["Destination"] for mount in seen["Mounts"]] == ["/home/coder"]
    assert list(seen["NetworkSettings"]["Networks"]) == [docked.settings.network]
    assert not [line for line in seen["Config"]["Env"] if "PROVISIONER" in line or "SECRET" in line]

    def tried(script: str) -> int:
        return inside(docker_engine, docked, id_, script)[0]

    _, powers = inside(docker_engine, docked, id_, "id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status")
    assert powers.split() == ["1000", "CapEff:", "0000000000000000", "NoNewPrivs:", "1"]
    assert tried("touch /etc/x || touch /usr/bin/x") != 0
    assert tried("touch ~/x /tmp/x && cp /bin/true /tmp/t && /tmp/t") == 0
    assert tried("test -e /var/run/docker.sock") != 0
    neighbour = docked.settings.address(theirs.slot or 0)
    # Docker's DNS tells the name behind an address: it must not be the neighbour's host.
    told = inside(docker_engine, docked, id_, f"getent hosts {neighbour}")[1]
    assert theirs.host not in told
    gateway = docked.settings.subnet.network_address + 1
    assert tried("curl -s -m 2 -o /dev/null http://127.0.0.1:8080/healthz") == 0
    for unreachable in (f"http://{neighbour}:8080/", f"http://{gateway}:22/", "http://169.254.169.254/"):
        assert tried(f"curl -s -m 1 -o /dev/null {unreachable}") != 0, unreachable


def test_files_stay_over_stop_restart_and_deletion_until_nobody_can_bring_them_back(
    docked: World, docker_engine: docker.DockerClient
) -> None:
    docked.run()
    id_ = docked.create()
    docked.wait(id_, "running")
    assert inside(docker_engine, docked, id_, "echo mine > ~/kept")[0] == 0
    docked.call("POST", f"/workspaces/{id_}/stop")
    docked.wait(id_, "stopped")
    docked.call("POST", f"/workspaces/{id_}/start")
    docked.wait(id_, "running")
    assert inside(docker_engine, docked, id_, "cat ~/kept") == (0, "mine\n")
    docked.call("POST", f"/workspaces/{id_}/restart")
    docked.wait(id_, "running")
    assert inside(docker_engine, docked, id_, "cat ~/kept") == (0, "mine\n")

    docked.call("DELETE", f"/workspaces/{id_}")
    docked.wait(id_, "deleted")
    assert (docked.engine.containers(), docked.routes(), docked.row(id_).slot) == ([], {}, None)
    docked.move_clock(timedelta(days=6))
    assert docked.call("POST", f"/workspaces/{id_}/restore").json()["state"] == "stopped"
    docked.call("POST", f"/workspaces/{id_}/start")
    docked.wait(id_, "running")
    assert inside(docker_engine, docked, id_, "cat ~/kept") == (0, "mine\n")

    docked.call("DELETE", f"/workspaces/{id_}")
    docked.wait(id_, "deleted")
    docked.move_clock(timedelta(days=2))  # the first deletion's time is over by now, this one's is not
    until(lambda: docked.routes() == {})
    assert [volume.workspace_id for volume in docked.engine.volumes()] == [id_]
    docked.move_clock(timedelta(days=5, hours=1))
    docked.wait(id_, "erased")
    assert docked.engine.volumes() == []
    assert docked.call("POST", f"/workspaces/{id_}/restore").status_code == 404


def test_making_twice_makes_one(real: DockerEngine, docked: World) -> None:
    real.protect()
    real.protect()
    limits = Limits(1000, GIB, 100)
    wanted = Wanted(new_id(), new_id(), 1, "abcdefgh2345", None, docked.settings.address(0), limits)
    real.create(wanted)
    real.create(wanted)
    (container,) = real.containers()
    assert (container.workspace_id, container.generation, container.status) == (wanted.workspace_id, 1, Status.CREATED)
    real.start(container)
    real.start(container)
    (container,) = real.containers(wanted.workspace_id)
    real.stop(container, 0)
    real.stop(container, 0)
    assert not real.ran_out_of_memory(container)
    real.remove_volume(wanted.workspace_id)
    real.remove_volume(wanted.workspace_id)
    assert (real.containers(), real.volumes()) == ([], [])


@contextmanager
def worker(world: World, database: TestDatabase, settings: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """A provisioner's background half, as a process of its own."""
    names = ("installation", "network", "bridge", "subnet")
    environment = {f"PROVISIONER_{name.upper()}": str(settings[name]) for name in names} | {
        "PROVISIONER_DATABASE_URL": database("provisioner"),
        "PROVISIONER_ROUTES_DIRECTORY": str(world.settings.routes_directory),
        "PROVISIONER_LEASE_SECONDS": "1",
        "PROVISIONER_LOOK_SECONDS": "0.5",
        "CLOCK_FILE": str(world.settings.clock_file),
        "TOKEN_PUBLIC_KEY": PUBLIC_KEY,
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, "-m", "services.provisioner", "worker"]
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                # Before it serves it does not listen: Python itself would end by the signal.
                said = Path(log.name)
                until(lambda: '"event": "serving"' in said.read_text(), picture=said.read_text)
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0


def test_a_killed_provisioner_is_taken_over(
    docked: World, provisioner_database: TestDatabase, real_settings: dict[str, Any]
) -> None:
    """SIGKILL at moments all over a start, a stop and a deletion; each time another process goes on."""
    id_ = docked.create()
    for pause in (0.9, 1.2, 1.6):
        with worker(docked, provisioner_database, real_settings) as process:
            time.sleep(pause)
            process.kill()
            process.wait()
    with worker(docked, provisioner_database, real_settings):
        docked.wait(id_, "running")
    assert [one.status for one in docked.engine.containers()] == [Status.RUNNING]  # its end is no end of theirs
    docked.call("POST", f"/workspaces/{id_}/stop")
    with worker(docked, provisioner_database, real_settings) as process:
        time.sleep(1.3)
        process.kill()
        process.wait()
    docked.call("DELETE", f"/workspaces/{id_}")
    with worker(docked, provisioner_database, real_settings):
        docked.wait(id_, "deleted")
        assert docked.engine.containers() == []
        docked.move_clock(timedelta(days=8))
    with worker(docked, provisioner_database, real_settings):
        docked.wait(id_, "erased")
        assert docked.engine.volumes() == []
    assert docked.routes() == {}
