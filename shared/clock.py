"""Time is an argument. Whoever needs the time is given a `Clock`; nothing else reads the system's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Tells the time: aware, in UTC."""

    def now(self) -> datetime:
        """The present moment."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present moment by the machine."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that moves only when told; for tests of one process."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """The moment last set."""
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Moves time on by `by` (it may be negative: clocks are set back, too) and returns the new moment."""
        self._now += by
        return self._now


class ShiftedClock:
    """The system's clock, shifted by the seconds written in a file.

    Every process that watches the same file sees the same shift at once, so a story of fourteen days can be
    told in seconds, across processes. Only a platform without real payments may use it (see `settings`).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._shift = timedelta()

    def now(self) -> datetime:
        """The system's time plus the shift; an absent file shifts nothing.

        A file that cannot be read as seconds (it is being written, or somebody erred) leaves the shift as it was.
        """
        try:
            state = self._path.stat()
            version = (state.st_mtime_ns, state.st_size)
            if version != self._seen:
                shift = timedelta(seconds=float(self._path.read_text()))
                datetime.now(UTC) + shift  # raises where the calendar ends
                self._shift, self._seen = shift, version
        except FileNotFoundError:
            return datetime.now(UTC)
        except (OSError, ValueError, OverflowError):
            pass  # looked at again next time
        return datetime.now(UTC) + self._shift
