"""Install Debian packages on this machine, telling what happens line by line."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
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
    wait = "-oDPkg::Lock::Timeout=300"  # for another apt, such as one that a stopped platform left to finish
    _run(["apt-get", "-q", wait, "install", "-y", "--no-install-recommends", *packages], report)


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

    A command that is still running after `timeout_s` seconds is killed and its tail says so. When this process ends
    first, by Ctrl-C or otherwise, the command goes on to its end: packages are not left half installed. That is why it
    has a session of its own and writes to a file, where a pipe's end would be its own.
    """
    tail: list[str] = []
    deadline = time.monotonic() + timeout_s
    with tempfile.NamedTemporaryFile(prefix="youarecoder-", suffix=".out") as output:
        with open(output.name, "ab") as end:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=end,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        rest, ended = "", False
        while not ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(0.1, max(0.0, deadline - time.monotonic())))
            if stopped := process.poll() is None and time.monotonic() >= deadline:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            ended = process.returncode is not None  # looked at before the last read: nothing is missed
            *lines, rest = (rest + output.read().decode(errors="replace")).split("\n")
            for line in [*lines, rest] if ended else lines:
                if line.strip():
                    report(f"  {line.rstrip()}")
                    tail = [*tail[-14:], line.rstrip()]
    if stopped:
        tail.append(f"(stopped after {timeout_s:g} seconds)")
    return Finished(process.returncode, tail)
