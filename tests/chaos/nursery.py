"""Where processes that tests kill are born: a process that has loaded the code and forks, in milliseconds each.

    python -m tests.chaos.nursery MODULE FOLDER

Loading the code costs a second a process; a test that kills dozens would do little else. The forked ones are whole
processes with their own id, log and environment. `MODULE.main(arguments)` is what they run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.infrastructure import CHECKOUT


@dataclass
class Born:
    """A process of the nursery, much like subprocess.Popen."""

    nursery: Nursery
    pid: int
    code: int | None = None

    def poll(self) -> int | None:
        """How it ended: a status, or minus the signal; None while it runs."""
        if self.code is None:
            self.code = self.nursery.ask(poll=self.pid)
        return self.code

    def send_signal(self, number: int) -> None:
        """Signals it. One that has ended is not another program's number yet: nobody has asked how it ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.send_signal(signal.SIGKILL)
        self.wait(30)

    def wait(self, patience: float) -> int:
        """How it ended. Raises TimeoutError after `patience` seconds."""
        deadline = time.monotonic() + patience
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} has not ended")
            time.sleep(0.01)
        return code


class Nursery:
    """The test's end of it."""

    def __init__(self, module: str, folder: Path) -> None:
        # The folder is told for who sweeps after a killed run: its name stands in the command line of all.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.nursery", module, f"{folder}/"],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Born:
        """A new process, its output appended to `log`."""
        return Born(self, self.ask(start=list(arguments), environment=dict(environment), log=str(log)))

    def ask(self, **request: Any) -> Any:
        """A request and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Ends it and all that were born in it."""
        self._process.communicate(timeout=30)


def serve(module: str) -> None:
    """Answers requests until the test's end is closed; then nobody is left alive."""
    main = import_module(module).main
    alive: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            alive.discard(pid)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = _fork(main, request)
            alive.add(answer)
        print(json.dumps(answer), flush=True)  # noqa: T201  (the answer's way)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _fork(main: Any, request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for mine, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(mine, target)
        os.environ.clear()
        os.environ.update(request["environment"])
        main(request["start"])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
