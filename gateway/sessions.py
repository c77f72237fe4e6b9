"""Who a browser is: a cookie holds a secret, identity knows whose, and memory answers for the next minute.

The secret is never kept here: the cache is by its SHA-256. What ends a session or changes a role travels as an event
and empties the cache at once (`memory.py`); an entry that outlived a lost event dies after CACHED.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from gateway.settings import Settings
from shared.clock import Clock
from shared.errors import Unavailable
from shared.tokens import Principal, Role, Signer

CACHED = timedelta(seconds=60)
TOKEN_USED = timedelta(minutes=4)
"""A service token lives for five minutes; it is replaced before a service could see it expire."""
ENTRIES = 20_000


@dataclass(frozen=True)
class Session:
    """A logged-in person, as identity described them."""

    session_id: UUID
    user_id: UUID
    company_id: UUID | None
    role: str
    staff: bool
    verified: bool
    email: str
    name: str
    language: str
    company_name: str
    timezone: str
    expires_at: datetime

    @classmethod
    def read(cls, data: dict[str, Any]) -> Session:
        """From identity's answer. Raises KeyError or ValueError where it is not one."""
        return cls(
            session_id=UUID(data["session_id"]),
            user_id=UUID(data["user_id"]),
            company_id=UUID(data["company_id"]) if data["company_id"] else None,
            role=str(data["role"]),
            staff=data["staff"] is True,
            verified=data["verified"] is True,
            email=str(data["email"]),
            name=str(data["name"]),
            language=str(data["language"]),
            company_name=str(data.get("company_name") or ""),
            timezone=str(data.get("timezone") or "Europe/Istanbul"),
            expires_at=datetime.fromisoformat(data["expires_at"]),
        )

    @property
    def is_admin(self) -> bool:
        """Whether the person runs their company's account."""
        return self.role == "admin" and self.company_id is not None

    def principal(self, ip: str) -> Principal:
        """What services are told about the caller."""
        return Principal(
            role=Role.ADMIN if self.role == "admin" else Role.MEMBER,
            user_id=self.user_id,
            company_id=self.company_id,
            session_id=self.session_id,
            staff=self.staff,
            verified=self.verified,
            email=self.email,
            name=self.name,
            language=self.language,
            ip=ip,
        )


class Sessions:
    """The cache of sessions, by the hash of their secret. Used from the event loop only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Session, datetime]] = OrderedDict()
        self._keys_of_user: dict[UUID, set[bytes]] = {}

    def cached(self, secret: str) -> Session | None:
        """The session, where it was resolved less than CACHED ago and has not ended since."""
        key = _hash(secret)
        found = self._known.get(key)
        if found is None:
            return None
        session, until = found
        if self._clock.now() >= min(until, session.expires_at):
            self._drop(key)
            return None
        self._known.move_to_end(key)
        return session

    def keep(self, secret: str, session: Session) -> None:
        """Remembers an answer of identity's."""
        key = _hash(secret)
        self._known[key] = (session, self._clock.now() + CACHED)
        self._keys_of_user.setdefault(session.user_id, set()).add(key)
        while len(self._known) > ENTRIES:
            self._drop(next(iter(self._known)))

    def forget_user(self, user_id: UUID) -> None:
        """The person's next request asks identity again: something about them has changed."""
        for key in list(self._keys_of_user.get(user_id, ())):
            self._drop(key)

    def forget_all(self) -> None:
        """Identity is asked anew about everybody."""
        self._known.clear()
        self._keys_of_user.clear()

    def forget(self, secret: str) -> None:
        """This one session is over."""
        self._drop(_hash(secret))

    def _drop(self, key: bytes) -> None:
        session, _ = self._known.pop(key, (None, None))
        if session is not None:
            keys = self._keys_of_user.get(session.user_id, set())
            keys.discard(key)
            if not keys:
                self._keys_of_user.pop(session.user_id, None)


class ServiceTokens:
    """Tokens for services, made once and used until they near their end."""

    def __init__(self, signer: Signer, clock: Clock) -> None:
        self._signer = signer
        self._clock = clock
        self._made: OrderedDict[Principal, tuple[str, datetime]] = OrderedDict()

    def of(self, session: Session | None, ip: str) -> str:
        """A token for the person at this address; without a session, for the gateway itself."""
        principal = session.principal(ip) if session else Principal(role=Role.PLATFORM, ip=ip)
        now = self._clock.now()
        found = self._made.get(principal)
        if found and found[1] - TOKEN_USED <= now < found[1]:
            self._made.move_to_end(principal)
            return found[0]
        token = self._signer.sign(principal, now)
        self._made[principal] = (token, now + TOKEN_USED)
        while len(self._made) > ENTRIES:
            self._made.popitem(last=False)
        return token


class IdentityUnavailable(Unavailable):
    code = "log-in-unavailable"
    title = "We cannot check who you are at the moment"


def cookie_name(settings: Settings) -> str:
    """`__Host-` makes browsers refuse the cookie from any other host, path or over http (lessons S6)."""
    return "__Host-session" if settings.secure else "session"


def secret_of(request: Request, settings: Settings) -> str:
    """What the session cookie holds; "" where there is none, or more than one.

    A browser sends two where another host planted one for a parent domain of ours, and does not say which is whose
    (RFC 6265, section 5.4). Nobody is taken for somebody else then: the visitor logs in again.
    """
    name = cookie_name(settings)
    pairs = (part.partition("=") for header in request.headers.getlist("cookie") for part in header.split(";"))
    found = [value.strip() for given, _, value in pairs if given.strip() == name]
    return found[0] if len(found) == 1 else ""


def set_cookie(response: Response, settings: Settings, secret: str, expires_at: datetime) -> None:
    """Logs the browser in."""
    response.set_cookie(
        cookie_name(settings),
        secret,
        expires=expires_at,
        path="/",
        secure=settings.secure,
        httponly=True,
        samesite="lax",
    )


def clear_cookie(response: Response, settings: Settings) -> None:
    """Logs the browser out."""
    response.delete_cookie(cookie_name(settings), path="/", secure=settings.secure, httponly=True, samesite="lax")


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
