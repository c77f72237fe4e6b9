"""Child processes of the platform: started with a log of their own, awaited, and ended by their id."""

import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

Report = Callable[[str], None]
"""Takes one line for the person at the terminal."""

PORTS = range(20_000, 32_000)
"""Below the range of outgoing connections (net.ipv4.ip_local_port_range begins at 32768)."""
LOG_LIMIT_BYTES = 10 * 1024 * 1024

MARK = "YOUARECODER_FOLDER"
"""In the environment of every child: which folder of which platform it works for."""


class StartFailed(RuntimeError):
    """A part did not start. The message says which, why, and shows the end of its log."""


class AlreadyRunning(StartFailed):
    """Another platform runs this part on the same folder."""


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on now, and which no other process of this account is given while this one lives.

    Not one of those the system gives to outgoing connections: such a one can be gone a moment later.
    """
    for candidate in random.sample(PORTS, 200):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            probe.bind((host, candidate))
            _promise(candidate)
            return candidate
    raise StartFailed(f"no free port among {PORTS.start} to {PORTS.stop - 1} on {host}")


def _promise(port: int) -> None:
    """Marks the port as given, for as long as this process lives. Raises OSError where another one holds it."""
    folder = Path(tempfile.gettempdir()) / f"youarecoder-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise StartFailed(f"{folder} belongs to another account; remove it or set TMPDIR")
    mark = os.open(folder / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(mark)
        raise


def spawn(
    args: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    user: int | None = None,
    group: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program, its output appended to `log`, as another account when `user` and `group` are given.

    It gets a session of its own: Ctrl-C at the terminal reaches the platform only, which then ends its
    children in the right order (a database that stops before the services makes each of them complain).
    The folder of the log is its mark: when the platform is killed, the next start finds it by that.
    """
    limit(log)
    # Only the platform's own account reads it: a database's log can quote the statements that failed.
    with open(log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as output:
        return subprocess.Popen(
            list(args),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**(os.environ if env is None else env), MARK: _mark(log.parent)},
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=[] if user is not None else None,
        )


def limit(log: Path) -> None:
    """Moves what a log holds to `<log>.1` when it has grown large; whoever writes goes on in the emptied file."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        shutil.copy2(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)  # the writers append: theirs is the new end


def _mark(folder: Path) -> str:
    """Device and inode: the same folder by whatever path, and no other machine's or container's of the same name."""
    found = folder.stat()
    return f"{found.st_dev}:{found.st_ino}"


def left_behind(folder: Path) -> list[psutil.Process]:
    """The processes that `spawn` started with a log in this folder, and what they started themselves.

    Only for who holds the folder's lock: to anybody else they are a running platform's.
    """
    if not folder.is_dir():
        return []
    mark = _mark(folder)
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.pid != os.getpid():
                found.append(process)
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or another account's: not ours
    return found


def end_left_behind(folder: Path, name: str, report: Report, patience: float = 10) -> None:
    """Ends what a platform that was killed left running in this folder: SIGTERM, after `patience` seconds SIGKILL."""
    found = left_behind(folder)
    if not found:
        return
    report(f"Ending {name} that a killed platform left behind (process {', '.join(str(p.pid) for p in found)}) …")
    # psutil compares the time a process began before it signals: a number that went to another program is spared.
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, still = psutil.wait_procs(found, timeout=patience)
    for process in still:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(still, timeout=5)


def log_tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message; at most 8 kB are read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])


def wait_ready(
    name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path, patience: float
) -> None:
    """Poll `ready` until it holds. StartFailed when the process ends first or `patience` seconds are over."""
    deadline = time.monotonic() + patience
    while not ready():
        code = process.poll()
        if code is not None:
            raise StartFailed(f"{name} ended with code {code} while it started.\n{log_tail(log)}")
        if time.monotonic() > deadline:
            raise StartFailed(f"{name} was not ready within {patience:.0f} s.\n{log_tail(log)}")
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes], first: signal.Signals, patience: float) -> None:
    """Ask the process to end with signal `first`; after `patience` seconds kill it and what it started."""
    if process.poll() is not None:
        return
    process.send_signal(first)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the process and everything in its session; returns when it is gone."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and whose parent has not looked yet does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_by_id(pid: int, first: signal.Signals, patience: float) -> bool:
    """Signal a process that may be another one's child and wait; SIGKILL after `patience` seconds.

    Returns whether it is gone. The caller has made sure that the number still is the process it means.
    """
    for number, seconds in ((first, patience), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + seconds
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return True
        while time.monotonic() < deadline:
            if not alive(pid):
                return True
            time.sleep(0.01)
    return False
