"""How long `make up` takes from the command to the first page, on a new data folder and on one it knows.

    python -m bench.start [--runs 3] [--separate] [--fresh]

`--fresh` also makes the Python environment first, in a copy of the checkout, as on a machine that has never seen it
(with whatever pip has in its cache). The engine and its images are prepared beside the running site and not counted.
Each page is asked for through the public port, every 20 ms.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from deploy.local.processes import free_port

CHECKOUT = Path(__file__).resolve().parent.parent
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "tests")


def main() -> None:
    """Prints seconds for each run and their median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--separate", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    given = parser.parse_args()
    # Below /var/tmp and open to enter: PostgreSQL runs as an account of its own.
    folder = Path(tempfile.mkdtemp(prefix="youarecoder-bench-", dir="/var/tmp"))
    folder.chmod(0o711)
    try:
        if given.fresh:
            copy = folder / "checkout"
            shutil.copytree(CHECKOUT, copy, ignore=NOT_COPIED)
            first = seconds_to_page(copy, folder / "data-fresh", given.separate)
            print(f"fresh machine, environment made: {first:6.1f} s")
        firsts, seconds = [], []
        for number in range(given.runs):
            data = folder / f"data-{number}"
            firsts.append(seconds_to_page(CHECKOUT, data, given.separate))
            seconds.append(seconds_to_page(CHECKOUT, data, given.separate))
        for name, values in (("first start", firsts), ("second start", seconds)):
            each = ", ".join(f"{value:.1f}" for value in values)
            print(f"{name:>31}: {statistics.median(values):6.1f} s  ({each})")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seconds_to_page(checkout: Path, data: Path, separate: bool) -> float:
    """Types `make up`, waits for the landing page, stops it again; seconds from the command to the page."""
    port = free_port()
    arguments = f"--data {data}" + (" --separate" if separate else "")
    # No engine: the builds of its images would take the processor from what is measured.
    environment = {**os.environ, "DOCKER_HOST": "unix:///nonexistent"}
    began = time.perf_counter()
    command = subprocess.Popen(
        ["make", "--no-print-directory", "up", f"PORT={port}", f"ARGS={arguments}"],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        while not page_is_served(port):
            if command.poll() is not None:
                raise SystemExit(f"make up ended:\n{command.stdout.read() if command.stdout else ''}")
            time.sleep(0.02)
        return time.perf_counter() - began
    finally:
        if command.poll() is None:
            os.killpg(command.pid, signal.SIGINT)  # as Ctrl-C does
        command.communicate()


def page_is_served(port: int) -> bool:
    """Whether the landing page comes through the public port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": f"youarecoder.localhost:{port}"})
        answer = connection.getresponse()
        return answer.status == 200 and b"</html>" in answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
