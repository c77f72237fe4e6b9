"""What the person at the terminal sees of the platform, and the file that holds everything else."""

from __future__ import annotations

import logging
import threading
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from shared.logging import configure

PLATFORM_LOG = "platform.log"
LOG_BYTES = 10 * 1024 * 1024
OLD_LOGS = 3
LEVELS = ("debug", "info", "warning", "error")
DETAIL_EVERY_S = 2.0
WIDTH = 110


class Terminal:
    """Prints one line a step, with the seconds since the start.

    A line that begins with two spaces is a detail of the step before (apt's or a build's own output): of those one in
    two seconds is shown, so that a long step is seen to go on and does not bury what matters.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last_detail = 0.0
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        """A line for the person."""
        logging.getLogger("make up").info("%s", line.strip())
        now = time.monotonic()
        with self._lock:
            if line.startswith("  "):
                if now - self._last_detail < DETAIL_EVERY_S:
                    return
                self._last_detail = now
                line = line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
            print(f"[{now - self._began:6.1f} s] {line}", flush=True)

    def keep_logs(self, folder: Path, level: str) -> Path:
        """From now on logs go to a file of bounded size in `folder`, errors of it to the person in one line each."""
        folder.mkdir(mode=0o700, exist_ok=True)
        # A level there is none of is a wrong setting, which the platform tells a moment later.
        configure("platform", level if level in LEVELS else "info")
        root = logging.getLogger()
        file = RotatingFileHandler(folder / PLATFORM_LOG, maxBytes=LOG_BYTES, backupCount=OLD_LOGS)
        file.setFormatter(root.handlers[0].formatter)
        root.handlers = [file, _Errors(self, folder / PLATFORM_LOG)]
        return folder / PLATFORM_LOG


class _Errors(logging.Handler):
    """Tells the person that something went wrong and where to read more; the same thing once a minute."""

    def __init__(self, terminal: Terminal, file: Path) -> None:
        super().__init__(logging.ERROR)
        self._terminal = terminal
        self._file = file
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """The bus client tells of each lost connection as an error; we connect again by ourselves."""
        return not record.name.startswith(("aiormq", "aio_pika")) and super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        facts: Any = record.msg if isinstance(record.msg, dict) else {}
        what = str(facts.get("event") or record.getMessage()).partition("\n")[0]
        line = f"Error: {what[:WIDTH]} ({facts.get('logger') or record.name}; more in {self._file})"
        now = time.monotonic()
        if now - self._told.get(line, -60.0) >= 60:
            self._told = {old: when for old, when in self._told.items() if now - when < 60} | {line: now}
            self._terminal.say(line)
