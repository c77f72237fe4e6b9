"""Install Debian packages on this machine, telling what happens line by line."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Sequence

Report = Callable[[str], None]

#: A mirror that is slow is waited for; one that hangs is not (seconds, for the update and the install each).
_TIMEOUT_S = 1200


class InstallFailed(RuntimeError):
    """apt-get could not install what was asked for; the message ends with its last lines."""


def install(packages: Sequence[str], report: Report) -> None:
    """Run `apt-get update` and install `packages`. Needs root on Debian or Ubuntu.

    Raises InstallFailed with apt's own last words.
    """
    report(f"Installing {', '.join(packages)} (apt-get)")
    _run(["apt-get", "-q", "update"], report)
    _run(["apt-get", "-q", "install", "-y", "--no-install-recommends", *packages], report)


def _run(command: list[str], report: Report) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    try:
        done = run_reporting(command, report, environment=environment, timeout_s=_TIMEOUT_S)
    except FileNotFoundError:
        raise InstallFailed("apt-get is not on this machine") from None
    if done.returncode != 0:
        raise InstallFailed(f"{' '.join(command)} failed:\n" + "\n".join(done.tail))


class Finished:
    """How a reported command ended: its return code and the last lines it wrote."""

    def __init__(self, returncode: int, tail: list[str]) -> None:
        self.returncode = returncode
        self.tail = tail


def run_reporting(
    command: Sequence[str],
    report: Report,
    *,
    environment: dict[str, str] | None = None,
    timeout_s: float,
) -> Finished:
    """Run a command, hand each line it writes to `report` (indented: a detail), keep the last 15.

    A command that is still running after `timeout_s` seconds is killed and its tail says so.
    """
    tail: list[str] = []
    stopped = threading.Event()
    with subprocess.Popen(
        list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment, text=True, errors="replace",
    ) as process:

        def stop() -> None:
            stopped.set()
            process.kill()

        killer = threading.Timer(timeout_s, stop)
        killer.start()
        try:
            for line in map(str.rstrip, process.stdout or ()):
                if line:
                    report(f"  {line}")
                    tail = [*tail[-14:], line]
        except BaseException:
            process.kill()
            raise
        finally:
            killer.cancel()
    if stopped.is_set():
        tail.append(f"(stopped after {timeout_s:g} seconds)")
    return Finished(process.returncode, tail)
