"""HMACs under one key, each bound to what it is for, so that no signature can be used as another."""

from __future__ import annotations

import base64
import hashlib
import hmac
from functools import lru_cache

from gateway.settings import Settings


@lru_cache(maxsize=4)
def _derived(secret: str) -> bytes:
    return hashlib.sha256(b"youarecoder gateway cookies\0" + secret.encode()).digest()


def key(settings: Settings) -> bytes:
    """The key all of the gateway's signatures are made with."""
    return _derived(settings.cookie_key.get_secret_value())


def sign(key: bytes, purpose: str, *parts: str) -> str:
    """HMAC-SHA256 over the purpose and the parts, each with its length: no two lists of parts sign alike."""
    message = b"".join(len(raw).to_bytes(4) + raw for raw in (part.encode() for part in (purpose, *parts)))
    return base64.urlsafe_b64encode(hmac.digest(key, message, "sha256")).rstrip(b"=").decode()


def matches(key: bytes, signature: str, purpose: str, *parts: str) -> bool:
    """Whether `signature` is ours for exactly this; in constant time."""
    return hmac.compare_digest(sign(key, purpose, *parts).encode(), signature.encode())
