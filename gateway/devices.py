"""Browsers a person has come in with before, so that a stranger who guesses their password does not lock them out.

OWASP's device cookies (https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies): wrong
passwords from a known device count for that device, all others for the account. Such a cookie opens nothing: stolen,
it is worth a few guesses of its own.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from uuid import UUID

from fastapi import Request, Response

from gateway import signatures
from gateway.settings import Settings

PURPOSE = "device"
A_YEAR = 31_536_000
VALUE = re.compile(r"([0-9a-f]{32})\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Device:
    """A browser this person has logged in with."""

    user_id: UUID
    nonce: str

    def told(self) -> dict[str, str]:
        """As identity is told of it."""
        return {"user_id": str(self.user_id), "nonce": self.nonce}


def cookie_name(settings: Settings) -> str:
    """`__Host-` over https: nobody but our own host plants it."""
    return "__Host-device" if settings.secure else "device"


def known(request: Request) -> Device | None:
    """The device the request comes from, where our own signature says so."""
    settings: Settings = request.app.state.settings
    found = VALUE.fullmatch(request.cookies.get(cookie_name(settings), ""))
    if found is None or not signatures.matches(signatures.key(settings), found[3], PURPOSE, found[1], found[2]):
        return None
    return Device(UUID(found[1]), found[2])


def remember(request: Request, response: Response, user_id: UUID) -> None:
    """This person has shown here who they are. A device keeps its name, so logging in makes no more guesses free."""
    settings: Settings = request.app.state.settings
    before = known(request)
    nonce = before.nonce if before and before.user_id == user_id else secrets.token_urlsafe(16)
    signature = signatures.sign(signatures.key(settings), PURPOSE, user_id.hex, nonce)
    response.set_cookie(
        cookie_name(settings),
        f"{user_id.hex}.{nonce}.{signature}",
        max_age=A_YEAR,
        path="/",
        secure=settings.secure,
        httponly=True,
        samesite="lax",
    )
