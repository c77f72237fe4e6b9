"""Secrets that open something to whoever holds them: 256 random bits, of which only the SHA-256 is kept.

A plain hash is enough here: unlike a password, there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import secrets


def new() -> tuple[str, bytes]:
    """A fresh secret (43 URL-safe characters) and its digest. It is made here only, never taken from a client."""
    secret = secrets.token_urlsafe(32)
    return secret, digest(secret)


def digest(secret: str) -> bytes:
    """What is kept, and looked up by: an index over digests tells nothing by its timing."""
    return hashlib.sha256(secret.encode()).digest()
