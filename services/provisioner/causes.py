"""Why a workspace is not where it should be, in the platform's own words: never an engine's message.

The rows keep the code; the words are given in the reader's language when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.i18n import translations

LOCALES = Path(__file__).resolve().parent / "locales"


@dataclass(frozen=True)
class Cause:
    """What is the matter and what a person can do. `lasting`: it does not count as a failed start, we just wait."""

    code: str
    message: str
    next_step: str
    lasting: bool = False

    def words(self, language: str) -> tuple[str, str]:
        """Message and next step in `language` (tr or en)."""
        gettext = translations(LOCALES, language).gettext
        return gettext(self.message), gettext(self.next_step)


WAIT = "You need not do anything: it goes on by itself."
TRY_AGAIN = "Start it again. If that does not help, write to us."

CAUSES = {
    cause.code: cause
    for cause in (
        Cause("image-preparing", "The platform is still preparing the editor's image.", WAIT, lasting=True),
        Cause("engine-unreachable", "The container engine does not answer at the moment.", WAIT, lasting=True),
        Cause(
            "network-unprotected",
            "The rules that keep workspaces apart are not in place, so nothing is started.",
            "We have been told. It goes on by itself when they are.",
            lasting=True,
        ),
        Cause(
            "network-differs",
            "The workspaces' network on this machine is not the one this platform was set up with.",
            "The operator has to remove that network or change the settings.",
            lasting=True,
        ),
        Cause(
            "disk-full",
            "The platform's disk is nearly full, so nothing new is started.",
            "We have been told. It goes on by itself when there is room.",
            lasting=True,
        ),
        Cause(
            "out-of-memory",
            "The workspace used all the memory of your plan and was ended.",
            "Start it again with fewer programs, or choose a plan with more memory.",
        ),
        Cause("address-in-use", "The workspace's address in our network was still taken.", TRY_AGAIN),
        Cause("no-progress", "The editor did not answer in time.", TRY_AGAIN),
        Cause("route-missing", "The editor runs, but its address did not answer in time.", TRY_AGAIN),
        Cause("ended-by-itself", "The workspace ended by itself.", TRY_AGAIN),
        Cause("disappeared", "The workspace's container was removed from outside the platform.", TRY_AGAIN),
        Cause("engine-refused", "The container engine refused to start the workspace.", TRY_AGAIN),
        Cause(
            "storage-full",
            "It was stopped: your company's files take all the storage of your plan. They are kept.",
            "Start it for a few minutes to delete what you no longer need, or choose a larger plan.",
        ),
        Cause("not-entitled", "No plan lets your company's workspaces run.", "Choose a plan: your files are kept."),
    )
}
