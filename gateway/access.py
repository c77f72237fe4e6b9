"""Who may open which browser route. Every route names one of these in its signature (a test enumerates them).

The same dependency reads a form and checks its token, so a route that changes something cannot forget to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request

from gateway import client, csrf, limits
from gateway.services import Services
from gateway.sessions import Session, cookie_name, secret_of
from gateway.targets import HOME, safe_path
from shared.errors import BadRequest, Forbidden
from shared.logging import bind

SECRET_LENGTH = range(20, 201)


class NeedsLogIn(Exception):
    """Nobody is logged in; `target` is where to go on afterwards."""

    def __init__(self, target: str, *, had_session: bool) -> None:
        super().__init__(target)
        self.target = target
        self.had_session = had_session


class NeedsVerification(Exception):
    """Logged in, and the mail address is not confirmed yet."""


Form = dict[str, str]


class Allow:
    """A dependency that lets in certain visitors. `who` is what the access table prints."""

    def __init__(
        self,
        who: str,
        permits: Callable[[Session], bool] | None,
        *,
        verified: bool = True,
        rule: limits.Rule = limits.PAGES,
    ) -> None:
        self.who = who
        self._permits = permits
        self._verified = verified
        self._rule = rule

    async def __call__(self, request: Request) -> Session | None:
        """The visitor's session. Raises NeedsLogIn, NeedsVerification, Forbidden, TooMany or a form's faults."""
        settings = request.app.state.settings
        request.state.ip = client.address(request.scope, settings.proxies)
        session = await session_of(request)
        request.state.session = session
        limits.take(request, self._rule, str(session.user_id) if session else client.network(request.state.ip))
        if request.method not in csrf.SAFE:
            request.state.form = await _read_form(request)
            given = request.headers.get(csrf.HEADER) or request.state.form.get(csrf.FIELD, "")
            self._require(request, session)
            csrf.check(request, session, given)
        else:
            self._require(request, session)
        return session

    def opens_to(self, session: Session | None) -> bool:
        """Whether such a visitor sees the page, and is not led elsewhere or refused."""
        if self._permits is None:
            return True
        return session is not None and self._permits(session) and (session.verified or not self._verified)

    def _require(self, request: Request, session: Session | None) -> None:
        if self._permits is None:
            return
        if session is None:
            raise NeedsLogIn(_way_back(request), had_session=cookie_name(request.app.state.settings) in request.cookies)
        if not self._permits(session):
            raise Forbidden
        if self._verified and not session.verified:
            raise NeedsVerification


async def session_of(request: Request) -> Session | None:
    """Whose cookie came with the request: from memory, or from identity once a minute."""
    secret = secret_of(request, request.app.state.settings)
    if len(secret) not in SECRET_LENGTH or not secret.isascii():
        return None
    services: Services = request.app.state.services
    ip = client.address(request.scope, request.app.state.settings.proxies)
    if services.sessions.cached(secret) is None:
        state: limits.Limits = request.app.state.limits
        state.take(limits.UNKNOWN_SESSION, client.network(ip))
    session = await services.session(secret, ip)
    if session is not None:
        bind(user_id=str(session.user_id), company_id=str(session.company_id) if session.company_id else None)
    return session


def form(request: Request) -> Form:
    """The form's fields; the first of each name, each at most 10,000 characters."""
    fields: Form = request.state.form
    return fields


FormFields = Annotated[Form, Depends(form)]


async def _read_form(request: Request) -> Form:
    kind = request.headers.get("content-type", "application/x-www-form-urlencoded").partition(";")[0].strip().lower()
    body = await request.body()
    if kind != "application/x-www-form-urlencoded":
        if body:
            raise BadRequest("Forms are sent as application/x-www-form-urlencoded")
        return {}
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50, errors="strict")
    except ValueError:
        raise BadRequest("The form could not be read") from None
    fields: Form = {}
    for name, value in pairs:
        if len(value) > 10_000 or "\0" in value:
            raise BadRequest("A field of the form is too long")
        fields.setdefault(name, value)
    return fields


def _way_back(request: Request) -> str:
    """Where the person wanted to be; after a lost form, the page it was on."""
    if request.method in csrf.SAFE:
        path = request.url.path
        return safe_path(f"{path}?{request.url.query}" if request.url.query else path)
    referrer = urlsplit(request.headers.get("referer", ""))
    settings = request.app.state.settings
    if f"{referrer.scheme}://{referrer.netloc}" != settings.public_url:
        return HOME
    return safe_path(referrer.path)


def _person(session: Session) -> bool:
    return True


def _member(session: Session) -> bool:
    return session.company_id is not None


Anybody = Annotated[Session | None, Depends(Allow("everybody", None))]
Guest = Annotated[Session | None, Depends(Allow("everybody, seldom", None, rule=limits.ACCOUNTS))]
"""Log-in, sign-up, reset and the like: what is tried out by guessing."""
Person = Annotated[Session, Depends(Allow("anyone with a session", _person, verified=False))]
Member = Annotated[Session, Depends(Allow("member or admin", _member))]
Admin = Annotated[Session, Depends(Allow("company admin", lambda session: session.is_admin))]
Staff = Annotated[Session, Depends(Allow("platform staff", lambda session: session.staff))]
