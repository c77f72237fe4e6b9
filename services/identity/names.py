"""Names that are shown to others and written into mails. Pure."""

from __future__ import annotations

import unicodedata

MAX_LENGTH = 80
_JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiners: Persian, Indic scripts and emoji need them."""
_REFUSED = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def clean(text: str, longest: int = MAX_LENGTH) -> str:
    """NFC, spaces folded and trimmed. Raises ValueError where it cannot be shown safely, or nothing is left.

    Control and format characters would break mail headers, or turn the text that follows around. Links are refused
    because our mails would carry them to strangers.
    """
    folded = " ".join(printable(text).split(" ")).strip()
    while "  " in folded:
        folded = folded.replace("  ", " ")
    if not any(unicodedata.category(char)[0] in "LN" for char in folded):
        raise ValueError("It needs at least one letter or digit")
    if len(folded) > longest:
        raise ValueError(f"It may have at most {longest} characters")
    lowered = folded.casefold()
    if "://" in lowered or "www." in lowered:
        raise ValueError("It must not contain a link")
    return folded


def printable(text: str) -> str:
    """The text in NFC. Raises ValueError for a character that is not shown."""
    normal = unicodedata.normalize("NFC", text)
    if any(unicodedata.category(char) in _REFUSED and char not in _JOINERS for char in normal):
        raise ValueError("It contains characters that cannot be shown")
    return normal


def header(text: str, longest: int) -> str:
    """A header's text (a browser's name, say) fit to keep and show: what cannot be shown is left out."""
    return "".join(char for char in text if unicodedata.category(char) not in _REFUSED)[:longest]
