"""The provisioner alone: its own database, its doors, and its control loop over one of two engines."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import docker
import pytest

from services.provisioner.app import build
from services.provisioner.engine.docker_engine import DockerEngine
from services.provisioner.settings import Settings
from shared.clock import Clock
from shared.migrate import migrate
from tests.callers import PUBLIC_KEY
from tests.infrastructure import Databases, TestDatabase, need
from tests.provisioner.remembering_engine import RememberingEngine
from tests.provisioner.world import World

QUICK: dict[str, Any] = {"look_seconds": 0.3, "lease_seconds": 1.5, "restart_pause_seconds": 0.05, "stop_seconds": 3}


@pytest.fixture
def provisioner_database(databases: Databases) -> Iterator[TestDatabase]:
    def prepare(made: TestDatabase) -> None:
        service = build(Settings(database_url=made("provisioner"), token_public_key=PUBLIC_KEY))
        migrate(service.database, service.package)
        service.database.close()

    made = databases.new("provisioner", prepare)
    yield made
    databases.drop(made)


@pytest.fixture
def new_world(provisioner_database: TestDatabase, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes a world: a provisioner's doors on this test's database, and control loops when they are asked for.

    Time is the machine's, and `World.move_clock` moves it on; or a `clock` of the test's own.
    """
    made: list[World] = []

    def new(engine: Any = None, clock: Clock | None = None, **given: Any) -> World:
        ours = {"routes_directory": tmp_path / "routes", "clock_file": tmp_path / "clock"}
        facts = {"installation": f"t{secrets.token_hex(4)}", **ours, **QUICK, **given}
        url = provisioner_database("provisioner")
        settings = Settings(database_url=url, token_public_key=PUBLIC_KEY, **facts)
        if clock is not None:
            settings.__dict__["clock"] = clock
        made.append(World(settings, engine))
        return made[-1]

    yield new
    for world in made:
        world.close()


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    """Doors only: no control loop runs."""
    return new_world()


@pytest.fixture
def remembering() -> Iterator[RememberingEngine]:
    """An engine in memory whose containers answer on addresses of the loopback."""
    # Worker and chance decide the subnet: several runs on one machine do not meet.
    engine = RememberingEngine(IPv4Network(f"127.{20 + os.getpid() % 200}.{secrets.randbelow(250)}.0/24"))
    yield engine
    engine.close()


@pytest.fixture
def real_settings(docker_engine: docker.DockerClient) -> Iterator[dict[str, Any]]:
    """Settings for the machine's Docker engine with a network and an installation of this test's own."""
    for image in ("youarecoder/workspace", "youarecoder/firewall"):
        need(docker_engine.images.list(name=image), f"no image {image} (python -m deploy.local.images)")
    mark = secrets.token_hex(3)
    settings = {
        "installation": f"t{mark}",
        "network": f"yac-t-{mark}",
        "bridge": f"yact{mark}",
        "subnet": free_subnet(docker_engine),
        "start_seconds": 60,
    }
    yield settings
    clean_up(docker_engine, settings)


def free_subnet(client: docker.DockerClient) -> IPv4Network:
    """A small network that overlaps with none the engine has."""
    taken = [
        IPv4Network(pool["Subnet"])
        for network in client.networks.list()
        for pool in network.attrs["IPAM"]["Config"] or []
        if ":" not in pool["Subnet"]
    ]
    while True:
        chosen = IPv4Network(f"10.{240 + secrets.randbelow(15)}.{secrets.randbelow(250)}.0/24")
        if not any(chosen.overlaps(other) for other in taken):
            return chosen


def clean_up(client: docker.DockerClient, settings: dict[str, Any]) -> None:
    """Removes all that carries this installation's mark, and its rules."""
    mine = {"label": f"youarecoder.installation={settings['installation']}"}
    for container in client.containers.list(all=True, filters=mine):
        container.remove(force=True)
    for volume in client.volumes.list(filters=mine):
        volume.remove()
    if client.networks.list(filters=mine):
        engine_of(settings)._network.remove(client.api)


def engine_of(settings: dict[str, Any]) -> DockerEngine:
    """A DockerEngine with these settings."""
    names = ("installation", "network", "bridge", "subnet")
    return DockerEngine(
        "unix:///var/run/docker.sock",
        image="youarecoder/workspace",
        firewall_image="youarecoder/firewall",
        **{name: settings[name] for name in names},
    )


@pytest.fixture
def real(real_settings: dict[str, Any]) -> Iterator[DockerEngine]:
    """The machine's Docker engine."""
    engine = engine_of(real_settings)
    yield engine
    engine.close()


@pytest.fixture(params=["remembering", pytest.param("docker", marks=pytest.mark.e2e)])
def both(request: pytest.FixtureRequest) -> World:
    """A world over each of the two engines: the same stories must come true on both."""
    # The engine first: fixtures end in reverse, and its replicas must have ended before it is cleaned up.
    if request.param == "remembering":
        engine = request.getfixturevalue("remembering")
        settings: dict[str, Any] = {"subnet": engine.subnet}
    else:
        engine = request.getfixturevalue("real")
        settings = request.getfixturevalue("real_settings")
    world: World = request.getfixturevalue("new_world")(engine, **settings)
    return world
