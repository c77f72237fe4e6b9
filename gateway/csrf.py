"""Form tokens: every change by a browser carries one (lessons S9), in a field or in the header X-CSRF-Token.

After log-in the token is an HMAC of the session, so it ends with it. Before, it is an HMAC of a random cookie that is
itself signed (signed double submit, OWASP CSRF cheat sheet), so nobody can plant a pair of their own making.
What the browser says of the request's source (Origin, Sec-Fetch-Site) is looked at in addition, never instead.
"""

from __future__ import annotations

import hmac
import secrets

from fastapi import Request
from starlette.datastructures import Headers
from starlette.responses import Response

from gateway import signatures
from gateway.sessions import Session
from gateway.settings import Settings
from shared.errors import Forbidden

FIELD = "csrf_token"
HEADER = "x-csrf-token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class WrongFormToken(Forbidden):
    code = "form-token"
    title = "This form is out of date"

    def __init__(self) -> None:
        super().__init__("Go back, reload the page and send it again; what you typed is still there.")


class ForeignSource(Forbidden):
    code = "foreign-source"
    title = "This request did not come from our own pages"


def session_token(session: Session, key: bytes) -> str:
    """The form token of a session."""
    return signatures.sign(key, "form", str(session.session_id))


def token(request: Request) -> str:
    """The form token for this visitor's next request; `keep` sets the cookie it may need."""
    settings: Settings = request.app.state.settings
    key = signatures.key(settings)
    session: Session | None = getattr(request.state, "session", None)
    if session is not None:
        return session_token(session, key)
    planted = _guest(request, key)
    if planted is None:
        planted = secrets.token_urlsafe(18)
        request.state.new_guest = f"{planted}.{signatures.sign(key, 'guest', planted)}"
        request.state.guest = planted
    return signatures.sign(key, "guest form", planted)


def keep(request: Request, response: Response) -> None:
    """Sets the guest's cookie where `token` made a new one."""
    value = getattr(request.state, "new_guest", None)
    if value:
        settings: Settings = request.app.state.settings
        response.set_cookie(
            cookie_name(settings),
            value,
            max_age=86_400,
            path="/",
            secure=settings.secure,
            httponly=True,
            samesite="lax",
        )


def check(request: Request, session: Session | None, given: str) -> None:
    """Raises WrongFormToken or ForeignSource unless the request carries this visitor's own token."""
    settings: Settings = request.app.state.settings
    check_source(request.headers, settings)
    key = signatures.key(settings)
    if session is not None:
        expected = session_token(session, key)
    else:
        planted = _guest(request, key)
        if planted is None:
            raise WrongFormToken
        expected = signatures.sign(key, "guest form", planted)
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise WrongFormToken


def check_source(headers: Headers, settings: Settings) -> None:
    """Raises ForeignSource where the browser says that another site made this request."""
    origin = headers.get("origin")
    if origin is not None and origin != settings.public_url:
        raise ForeignSource
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ForeignSource


def cookie_name(settings: Settings) -> str:
    """The guest's cookie."""
    return "__Host-guest" if settings.secure else "guest"


def _guest(request: Request, key: bytes) -> str | None:
    made: str | None = getattr(request.state, "guest", None)
    if made:
        return made
    settings: Settings = request.app.state.settings
    nonce, _, signature = request.cookies.get(cookie_name(settings), "").partition(".")
    if nonce and signatures.matches(key, signature, "guest", nonce):
        return nonce
    return None
