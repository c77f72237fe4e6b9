"""Service tokens: who calls, signed by the gateway with Ed25519 (RFC 8037), verified by each service offline.

A token lives for minutes. What ends sooner (a log-out) travels as `session.revoked`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

ISSUER = "gateway"
AUDIENCE = "services"
LIFETIME = timedelta(minutes=5)
LEEWAY = timedelta(seconds=5)


class BadToken(Exception):
    """Not one of ours, altered, or expired. It does not say which: the caller learns nothing."""


class Role(StrEnum):
    """What a caller may be. `PLATFORM` is the gateway itself, acting for nobody who is logged in."""

    MEMBER = "member"
    ADMIN = "admin"
    PLATFORM = "platform"


@dataclass(frozen=True)
class Principal:
    """Who calls. Only the gateway has no user and no company."""

    role: Role
    user_id: UUID | None = None
    company_id: UUID | None = None
    session_id: UUID | None = None
    staff: bool = False
    verified: bool = True
    email: str = ""
    name: str = ""
    language: str = "tr"
    scopes: frozenset[str] = field(default_factory=frozenset)
    """What the token was given for (`shared.access`); empty for a session, which is bound to nothing."""
    ip: str = ""
    """The caller's address as the edge saw it; one address, never a header a client can set."""


class Signer:
    """Makes tokens; only the gateway has one."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._key = private_key

    def sign(self, principal: Principal, now: datetime) -> str:
        """A token for `principal`, valid for LIFETIME from `now`."""
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": int(now.timestamp()),
            "exp": int((now + LIFETIME).timestamp()),
            "sub": str(principal.user_id or ISSUER),
            "role": principal.role.value,
            "company": str(principal.company_id or ""),
            "session": str(principal.session_id or ""),
            "staff": principal.staff,
            "verified": principal.verified,
            "email": principal.email,
            "name": principal.name,
            "language": principal.language,
            "scope": " ".join(sorted(principal.scopes)),
            "ip": principal.ip,
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA")


class Verifier:
    """Reads tokens; every service has one."""

    def __init__(self, public_key: Ed25519PublicKey) -> None:
        self._key = public_key

    def verify(self, token: str, now: datetime) -> Principal:
        """Who the token speaks for. Raises BadToken."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=["EdDSA"],
                issuer=ISSUER,
                audience=AUDIENCE,
                # Against the injected clock below: the library would read the machine's.
                options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat", "sub"]},
            )
            if not claims["iat"] - LEEWAY.seconds <= now.timestamp() < claims["exp"]:
                raise BadToken
            return _principal(claims)
        except (jwt.InvalidTokenError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
            raise BadToken from None


def _principal(claims: dict[str, Any]) -> Principal:
    def id_of(name: str) -> UUID | None:
        return UUID(claims[name]) if claims[name] else None

    return Principal(
        role=Role(claims["role"]),
        user_id=None if claims["sub"] == ISSUER else UUID(claims["sub"]),
        company_id=id_of("company"),
        session_id=id_of("session"),
        staff=claims["staff"] is True,
        verified=claims["verified"] is True,
        email=str(claims["email"]),
        name=str(claims["name"]),
        language=str(claims["language"]),
        scopes=frozenset(str(claims["scope"]).split()),
        ip=str(claims["ip"]),
    )


def private_key(text: str) -> Ed25519PrivateKey:
    """From base64 of the 32 raw bytes. Raises ValueError."""
    return Ed25519PrivateKey.from_private_bytes(_raw(text))


def public_key(text: str) -> Ed25519PublicKey:
    """From base64 of the 32 raw bytes. Raises ValueError."""
    return Ed25519PublicKey.from_public_bytes(_raw(text))


def new_key_pair() -> tuple[str, str]:
    """A fresh private and public key, each as base64 of its 32 raw bytes."""
    private = Ed25519PrivateKey.generate()
    return (
        base64.b64encode(private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())).decode(),
        base64.b64encode(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode(),
    )


def _raw(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("the key is not base64") from error
    if len(raw) != 32:
        raise ValueError("the key is not 32 bytes long")
    return raw
