"""Names people give, and labels we give."""

from __future__ import annotations

import base64
import hashlib
import secrets
import unicodedata

from shared.errors import Invalid

MOST = 60
"""Characters a name may have."""
LABEL = 12
"""Characters of a host label: 60 random bits, so that nobody guesses another's address."""


def clean(name: str) -> str:
    """The name as it is kept: composed (NFC), trimmed. Raises Invalid where it is empty, too long or unprintable."""
    kept = unicodedata.normalize("NFC", name).strip()
    if not kept:
        raise Invalid.field("name", "empty", "Give the workspace a name")
    if len(kept) > MOST:
        raise Invalid.field("name", "too-long", f"A name has at most {MOST} characters")
    if not kept.isprintable():
        raise Invalid.field("name", "unprintable", "A name has only characters that can be seen")
    return kept


def key_of(name: str) -> str:
    """The same for two names people would take for one. A hash: some characters unfold into many."""
    folded = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return hashlib.sha256(folded.encode()).hexdigest()


def new_label() -> str:
    """A fresh host label: lower-case base32 (RFC 4648), which is a DNS label as it stands."""
    return base64.b32encode(secrets.token_bytes(8)).decode().lower()[:LABEL]
