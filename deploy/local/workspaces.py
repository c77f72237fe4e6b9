"""What workspaces stand on, brought up beside the running site: the Docker engine and our images."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from deploy.local import engine, images
from deploy.local.engine import EngineUnavailable
from deploy.local.images import ImageUnavailable
from deploy.local.processes import Report
from shared.logging import get_logger

IMAGES = ("firewall", "workspace")
LOOK_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 600.0

log = get_logger(__name__)


class Workspaces:
    """A thread that ends when workspaces can be started. Until then it says in words what is missing, and waits.

    What waits for it in the provisioner goes on by itself as soon as the engine and the image are there.
    """

    def __init__(self, data: Path, report: Report) -> None:
        self._data = data
        self._report = report
        self._stopping = threading.Event()
        # A daemon: a build under way does not hold the platform back from stopping.
        self._thread = threading.Thread(target=self._run, name="workspaces", daemon=True)

    def start(self) -> None:
        """Begins in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Takes nothing new in hand."""
        self._stopping.set()

    def _run(self) -> None:
        told, pause = "", FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                self._prepare()
                return
            except (EngineUnavailable, ImageUnavailable) as problem:
                problem_said, waits_for_engine = str(problem), isinstance(problem, EngineUnavailable)
            except Exception as problem:
                log.warning("workspaces could not be prepared", exc_info=True)
                problem_said, waits_for_engine = f"{type(problem).__name__}: {problem}", False
            if self._stopping.is_set():
                return
            if problem_said != told:
                self._report(f"Workspaces cannot be started yet: {problem_said}")
                self._report("Everything else works. Workspaces start by themselves when that is put right.")
                told = problem_said
            self._wait(pause, waits_for_engine)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _prepare(self) -> None:
        client = engine.ensure(self._data, self._report)
        try:
            for name in IMAGES:
                images.ensure(client, name, self._report)
        finally:
            client.close()
        self._report("Workspaces can be started.")

    def _wait(self, pause: float, for_engine: bool) -> None:
        """Until it may help to try again: an engine has come, or `pause` seconds are over."""
        end = time.monotonic() + pause
        while time.monotonic() < end and not self._stopping.wait(LOOK_S):
            if for_engine and (client := engine.connect()) is not None:
                client.close()
                return
