"""Words that people chose (names of people, companies, workspaces): shown in mails, never obeyed. Pure.

Identity and the provisioner refuse most of what is handled here. A mail carries our name to strangers, so it does not
rely on that.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
"""Control characters, line ends of every kind, what turns the direction of the text that follows, halves of pairs."""
_HOST = re.compile(r"(?<=\w)\.(?=\w\w)")
_BREAK = "\u200c"
"""Zero-width non-joiner: nobody sees it, and a mail program no longer takes `evil.example` for a link."""
_CHOSEN = frozenset(("name", "company", "invited_by", "workspace"))
"""Facts whose words somebody chose; the others are ours, and links among them are meant."""
LONGEST = 1_000


def harmless(name: str, value: Any) -> Any:
    """The fact of this name, fit to be put into a line of a mail; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    line = one_line(value)[:LONGEST]
    return unlinked(line) if name in _CHOSEN else line


def unlinked(text: str) -> str:
    """The same words, but none that a mail program makes a link of by itself."""
    return _HOST.sub(f".{_BREAK}", text.replace("://", f":{_BREAK}//"))


def one_line(text: str) -> str:
    """The text without line ends and other characters that are not shown, which could forge headers or lines."""
    return " ".join(_HIDDEN.sub(" ", text).split())


def in_subject(text: str, longest: int) -> str:
    """A subject: one line, cut where it is too long, and not in the middle of a letter with its accents."""
    line = one_line(text).replace(_BREAK, "")
    if len(line) <= longest:
        return line
    cut = line[: longest - 1]
    while cut and unicodedata.combining(line[len(cut)]):
        cut = cut[:-1]
    return cut.rstrip() + "…"
