"""How long from the click to the editor: each way of the platform beside the bare engine, in turns, in one run.

    python -m bench.workspace [--rounds 20]

    docker run       create and start a container of the workspace's image, locked down as ours, until its page is there
    new              POST /api/v1/workspaces until the editor's page comes through the public address, ticket and all
    docker start     the stopped container again, until its page is there
    stopped          POST …/start of a stopped workspace, until the page comes through the public address

The platform is the one `make up` starts, on a data folder of its own; a person signs up and asks like a browser. Each
is removed before the next begins.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import docker

from deploy.local import engine, images
from deploy.local.try_workspace import Place, first_page, place, wait_healthy
from tests.journeys.person import Person
from tests.journeys.platform import RunningPlatform, remove_containers


def main() -> None:
    """Prints milliseconds: median (lowest-highest)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    folder = Path(tempfile.mkdtemp(prefix="youarecoder-bench-", dir="/var/tmp"))
    folder.chmod(0o711)  # PostgreSQL runs as an account of its own
    client = engine.ensure(folder, print)
    for name in ("workspace", "firewall"):
        images.ensure(client, name, print)
    platform = RunningPlatform(folder / "data", "embedded", extra={"GATEWAY_RATE_SCALE": "1000"})
    times: dict[str, list[float]] = {"docker run": [], "new": [], "docker start": [], "stopped": []}
    try:
        platform.start()
        with place(client) as bare, Person(platform, "en") as person:
            person.sign_up("Bench")
            for turn in range(rounds + 1):  # the first one fills caches and is not counted
                for name, milliseconds in (*_bare(client, bare, 10 + turn % 200), *_ours(person)):
                    if turn:
                        times[name].append(milliseconds)
        print(f"{rounds} rounds, {os.cpu_count()} cores; ms: median (lowest-highest)")
        for name, values in times.items():
            print(f"  {name:<14}{statistics.median(values):>7.0f} ({min(values):.0f}-{max(values):.0f})")
        for ours, anchor in (("new", "docker run"), ("stopped", "docker start")):
            ratio = statistics.median(times[ours]) / statistics.median(times[anchor])
            print(f"  {ours} / {anchor}: {ratio:.2f}")
    finally:
        platform.stop()
        remove_containers(client, platform)
        client.close()
        shutil.rmtree(folder, ignore_errors=True)


def _bare(client: docker.DockerClient, bare: Place, last: int) -> list[tuple[str, float]]:
    """The engine alone: the image's container made and started, then stopped and started again."""
    volume = client.volumes.create(f"yac-try-{uuid.uuid4().hex[:12]}")
    address = bare.address(last)
    began = time.perf_counter()
    container = bare.create(last, volume.name)
    try:
        container.start()
        made = _page(address, began)
        container.stop(timeout=5)
        began = time.perf_counter()
        container.start()
        return [("docker run", made), ("docker start", _page(address, began))]
    finally:
        container.remove(force=True)
        volume.remove()


def _page(address: str, began: float) -> float:
    wait_healthy(address)
    first_page(address)
    return (time.perf_counter() - began) * 1000


def _ours(person: Person) -> list[tuple[str, float]]:
    """The platform: a new workspace opened, stopped, and opened again."""
    token = person.token()
    name = f"bench-{uuid.uuid4().hex[:8]}"
    began = time.perf_counter()
    made = person.api("POST", "/workspaces", {"name": name}, token=token)
    assert made.status_code == 202, made.text
    workspace = made.json()
    new = _open(person, workspace, began)
    assert person.api("POST", f"/workspaces/{workspace['id']}/stop", token=token).status_code == 202
    person.wait_for_workspace(workspace["id"], "stopped")
    began = time.perf_counter()
    assert person.api("POST", f"/workspaces/{workspace['id']}/start", token=token).status_code == 202
    again = _open(person, workspace, began)
    assert person.api("DELETE", f"/workspaces/{workspace['id']}", token=token).status_code == 202
    person.wait_for_workspace(workspace["id"], "deleted")
    return [("new", new), ("stopped", again)]


def _open(person: Person, workspace: dict[str, str], began: float) -> float:
    """Asks as the page does until it runs, then walks in; milliseconds since `began`."""
    _until(lambda: person.get(f"/workspaces/{workspace['id']}")["state"] == "running")
    inside = person.enter(workspace)
    page = inside.get("/", follow_redirects=True)
    milliseconds = (time.perf_counter() - began) * 1000
    inside.close()
    assert page.status_code == 200, page.status_code
    assert "workbench" in page.text
    return milliseconds


def _until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline, "it does not run after a minute"
        time.sleep(0.01)


if __name__ == "__main__":
    main()
