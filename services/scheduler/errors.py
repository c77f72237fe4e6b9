"""What the scheduler answers when it cannot."""

from __future__ import annotations

from shared.errors import NotFound


class NoSuchJob(NotFound):
    code = "no-such-job"
    title = "There is no job of this name"
