"""Replaces services one by one while everything runs: a new container beside the old one, and then without it.

    python -m deploy.compose.replace FOLDER SERVICE [SERVICE ...]

The image is made from this checkout, the new container migrates and becomes ready, the old one finishes and goes. No
request fails. Where the new one does not become ready, it is removed and the old one stays.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from docker import DockerClient
from docker.models.containers import Container

from deploy.compose import command
from deploy.compose.installation import SETTINGS, WrongSettings, read_settings
from deploy.database import SERVICES
from deploy.local import engine, images

READY_S = 180
STOP_S = 45
"""As `stop_grace_period` in compose.yaml."""


class NotReady(RuntimeError):
    """The new container did not become ready; the message holds its last words."""


def main() -> int:
    """The command line; 0 when every service named is replaced."""
    parser = argparse.ArgumentParser(prog="python -m deploy.compose.replace", description="Replace running services.")
    parser.add_argument("folder", type=Path, help="the installation's folder")
    parser.add_argument("services", nargs="+", choices=SERVICES, metavar="SERVICE", help=", ".join(SERVICES))
    chosen = parser.parse_args()
    try:
        client = engine.ensure(chosen.folder / "engine", print)
        try:
            for service in chosen.services:
                images.ensure(client, service, print)
                replace(client, chosen.folder.absolute(), service)
                print(f"{service} is replaced.")
        finally:
            client.close()
    except (
        WrongSettings,
        engine.EngineUnavailable,
        images.ImageUnavailable,
        command.ComposeMissing,
        command.ComposeFailed,
        NotReady,
    ) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def replace(client: DockerClient, folder: Path, service: str) -> None:
    """Puts a container of the newest image in the place of each running one. Raises NotReady, ComposeFailed."""
    project = read_settings(folder / SETTINGS).get("PROJECT") or "youarecoder"
    old = _containers(client, project, service)
    # Others stay as they are, whatever their images are by now.
    scale = f"{service}={2 * len(old) or 1}"
    command.run(folder, "up", "-d", "--no-deps", "--no-recreate", "--scale", scale, service)
    known = {container.id for container in old}
    new = [container for container in _containers(client, project, service) if container.id not in known]
    try:
        for container in new:
            _wait_until_ready(container)
    except NotReady:
        for container in new:
            container.remove(force=True)
        raise
    for container in old:
        container.stop(timeout=STOP_S)
        container.remove()


def _containers(client: DockerClient, project: str, service: str) -> list[Container]:
    labels = [f"com.docker.compose.project={project}", f"com.docker.compose.service={service}"]
    return client.containers.list(filters={"label": labels})


def _wait_until_ready(container: Container) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        container.reload()
        state = container.attrs["State"]
        if state.get("Health", {}).get("Status") == "healthy":
            return
        if state["Status"] not in ("created", "running") or container.attrs["RestartCount"]:
            break
        time.sleep(0.2)
    words = container.logs(tail=30).decode(errors="replace")
    raise NotReady(f"{container.name} did not become ready, so the old one stays. Its last words:\n{words}")


if __name__ == "__main__":
    raise SystemExit(main())
