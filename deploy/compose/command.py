"""Docker Compose, whichever this machine has: the engine's plug-in (version 2), else `docker-compose` 1.29."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

_KEPT = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "LANG")


class ComposeMissing(RuntimeError):
    """No Docker Compose on this machine; the message says what to do."""


class ComposeFailed(RuntimeError):
    """Docker Compose refused; the message holds its last words."""


@cache
def program() -> tuple[str, ...]:
    """How it is called. Raises ComposeMissing."""
    if docker := shutil.which("docker"):
        asked = subprocess.run([docker, "compose", "version"], capture_output=True, timeout=30, check=False)
        if asked.returncode == 0:
            return (docker, "compose")
    if old := shutil.which("docker-compose"):
        return (old,)
    raise ComposeMissing("Docker Compose is not installed: apt-get install docker-compose (or the engine's plug-in).")


def run(folder: Path, *arguments: str, timeout_s: float = 600) -> str:
    """Runs it for the installation in `folder`; returns what it printed. Raises ComposeFailed."""
    # Only what is in .env counts: a variable of the caller's with the same name would win over it.
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    done = subprocess.run(
        [*program(), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise ComposeFailed(f"compose {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout
