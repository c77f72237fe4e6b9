"""The same stories against both shapes of the platform: all in one process, and a process a service on RabbitMQ."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from deploy.local import rabbitmq
from tests.infrastructure import need
from tests.journeys.platform import RunningPlatform


@pytest.fixture(scope="session", params=["embedded", "separate"])
def platform(
    request: pytest.FixtureRequest, run_folder: Path, docker_engine: docker.DockerClient
) -> Iterator[RunningPlatform]:
    """A running platform; what it made in the engine is removed at the end."""
    if request.param == "separate":
        need(rabbitmq.available(), "no RabbitMQ on this machine (apt-get install rabbitmq-server)")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    running = RunningPlatform(run_folder / f"platform-{request.param}-{worker}", request.param)
    running.start()
    yield running
    running.stop()
    remove_containers(docker_engine, running)


def remove_containers(engine: docker.DockerClient, platform: RunningPlatform) -> None:
    """Removes the containers, volumes and network of this platform, and nothing else."""
    label = f"youarecoder.installation={platform.keys['installation']}"
    for container in engine.containers.list(all=True, filters={"label": label}):
        container.remove(force=True, v=True)
    for volume in engine.volumes.list(filters={"label": label}):
        volume.remove(force=True)
    for network in engine.networks.list(filters={"label": label}):
        network.remove()
