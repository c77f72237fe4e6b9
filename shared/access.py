"""Who may call an endpoint. Each route names it in its signature; what is not named cannot be called.

    def close_company(caller: Admin, ...): ...

`staff` is a mark on a person, not a role in a company: staff pass `Staff` endpoints and nothing else by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from shared.clock import Clock
from shared.errors import Forbidden, Unauthenticated
from shared.logging import bind
from shared.tokens import BadToken, Principal, Role, Verifier

SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
READ, WRITE = "read", "write"
"""The scopes a token may be bound to. A session's token has none: it may do what its person may."""


class NotVerified(Forbidden):
    code = "mail-not-verified"
    title = "Confirm your mail address first"


class OutOfScope(Forbidden):
    code = "out-of-scope"
    title = "This access was given for less than that"


def principal_of(request: Request) -> Principal:
    """Who the request's bearer token speaks for (RFC 6750, section 2.1). Raises Unauthenticated."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    verifier: Verifier = request.app.state.verifier
    clock: Clock = request.app.state.clock
    try:
        if scheme.lower() != "bearer" or not token:
            raise BadToken
        principal = verifier.verify(token, clock.now())
    except BadToken:
        raise Unauthenticated from None
    bind(company_id=_text(principal.company_id), user_id=_text(principal.user_id))
    return principal


def _text(id_: UUID | None) -> str | None:
    return str(id_) if id_ else None


class Allow:
    """A dependency that lets in certain callers only. `who` is what the access table in the docs prints."""

    def __init__(self, who: str, permits: Callable[[Principal], bool], *, verified: bool = False) -> None:
        self.who = who
        self._permits = permits
        self._verified = verified

    async def __call__(self, request: Request) -> Principal:
        principal = principal_of(request)
        refusal = self.refusal(principal, request.method)
        if refusal is not None:
            raise refusal
        return principal

    def refusal(self, principal: Principal, method: str) -> Forbidden | None:
        """Why this caller may not do this, or None where they may."""
        if not self._permits(principal):
            return Forbidden()
        if self._verified and not principal.verified:
            return NotVerified()
        if not _in_scope(principal, method):
            return OutOfScope()
        return None


def _in_scope(principal: Principal, method: str) -> bool:
    """Whether a token that is bound to scopes names this kind of request; a scope nobody knows opens nothing."""
    return not principal.scopes or (READ if method in SAFE else WRITE) in principal.scopes


def _person(p: Principal) -> bool:
    return p.user_id is not None and p.company_id is not None


Anyone = Annotated[Principal, Depends(Allow("anyone, through the gateway", lambda p: True))]
"""Public: the gateway vouches only for where the request came from."""
Person = Annotated[Principal, Depends(Allow("anyone with a session", lambda p: p.user_id is not None))]
"""Logged in; the mail address may be unconfirmed."""
Member = Annotated[Principal, Depends(Allow("member or admin", _person, verified=True))]
"""Belongs to a company and has confirmed the mail address."""
Admin = Annotated[
    Principal, Depends(Allow("company admin", lambda p: _person(p) and p.role is Role.ADMIN, verified=True))
]
Staff = Annotated[Principal, Depends(Allow("platform staff", lambda p: p.user_id is not None and p.staff))]
Platform = Annotated[Principal, Depends(Allow("the gateway itself", lambda p: p.role is Role.PLATFORM))]


def company_of(principal: Principal) -> UUID:
    """The company the caller acts for: the tenant of every query. Raises Forbidden for who has none."""
    if principal.company_id is None:
        raise Forbidden
    return principal.company_id


def user_of(principal: Principal) -> UUID:
    """The caller's own id. Raises Forbidden for the gateway, which is nobody."""
    if principal.user_id is None:
        raise Forbidden
    return principal.user_id
