"""What pages ask of the services, as the visitor: their token, their words, their errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
from fastapi import Request

from gateway.sessions import IdentityUnavailable, ServiceTokens, Session, Sessions
from shared.errors import FieldError, Problem, Unavailable
from shared.logging import get_logger
from shared.upstream import Upstream

log = get_logger(__name__)


class ServiceUnavailable(Unavailable):
    code = "service-unavailable"
    title = "A part of the platform does not answer"


class Refused(Problem):
    """A service's own problem, on its way to the visitor."""

    @classmethod
    def of(cls, answer: httpx.Response) -> Refused:
        """From a problem+json answer, of which nothing is taken for granted."""
        try:
            body = answer.json()
        except ValueError:
            body = {}
        if not isinstance(body, dict):
            body = {}
        faults = body.get("errors")
        errors = [
            FieldError(str(fault.get("field", "")), str(fault.get("code", "")), str(fault.get("message", "")))
            for fault in (faults if isinstance(faults, list) else [])
            if isinstance(fault, dict)
        ]
        problem = cls(str(body.get("detail") or ""), errors=errors)
        problem.status = answer.status_code  # type: ignore[misc]  # this one answer's, not the class's
        problem.code = str(body.get("type", "")).rpartition("/")[2] or "unknown"  # type: ignore[misc]  # the same
        problem.title = str(body.get("title") or "Something went wrong on our side")  # type: ignore[misc]  # the same
        return problem


class Services:
    """The services and who speaks to them."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        sessions: Sessions,
        tokens: ServiceTokens,
        is_over: Callable[[Session], bool],
    ) -> None:
        self.upstreams = upstreams
        self.sessions = sessions
        self.tokens = tokens
        self._is_over = is_over

    async def call(
        self, service: str, method: str, path: str, session: Session | None, ip: str, **given: Any
    ) -> httpx.Response:
        """One request to a service. Raises Refused for every 4xx and 5xx, ServiceUnavailable for silence."""
        headers = {"authorization": f"Bearer {self.tokens.of(session, ip)}", **given.pop("headers", {})}
        upstream = self.upstreams.get(service)
        if upstream is None:
            raise ServiceUnavailable(service)
        try:
            answer = await upstream.request(method, path, headers=headers, **given)
        except httpx.TransportError as error:
            log.warning("service does not answer", upstream=service, error=type(error).__name__)
            raise ServiceUnavailable(service) from error
        if answer.status_code >= 400:
            raise Refused.of(answer)
        return answer

    async def session(self, secret: str, ip: str) -> Session | None:
        """Whose secret it is: from memory, else from identity. Raises IdentityUnavailable."""
        found = self.sessions.cached(secret)
        if found is not None:
            return None if self._is_over(found) else found
        try:
            body = {"secret": secret}
            answer = await self.call("identity", "POST", "/internal/sessions/resolve", None, ip, json=body)
            found = Session.read(answer.json())
        except ServiceUnavailable:
            raise IdentityUnavailable from None
        except Refused as refusal:
            if refusal.status >= 500:
                raise IdentityUnavailable from None
            return None
        # Asked and answered while the revocation was on its way: memory has the last word.
        if self._is_over(found):
            return None
        self.sessions.keep(secret, found)
        return found


async def ask(request: Request, service: str, method: str, path: str, **given: Any) -> Any:
    """A service's JSON answer to this visitor (None for 204). Raises Refused or ServiceUnavailable."""
    services: Services = request.app.state.services
    session: Session | None = request.state.session
    answer = await services.call(service, method, path, session, request.state.ip, **given)
    return answer.json() if answer.content else None


async def ask_as_platform(request: Request, service: str, path: str, body: dict[str, Any]) -> Any:
    """POST to a service's /internal, for nobody in particular."""
    services: Services = request.app.state.services
    answer = await services.call(service, "POST", path, None, request.state.ip, json=body)
    return answer.json() if answer.content else None


async def ask_all(request: Request, *questions: tuple[str, str]) -> list[Any]:
    """Several GETs at once, (service, path) each; None where one has no answer, so that a page shows what is known."""

    async def one(service: str, path: str) -> Any:
        try:
            return await ask(request, service, "GET", path)
        except (Refused, ServiceUnavailable) as problem:
            if problem.status >= 500:
                log.warning("page without a part", upstream=service, path=path, status=problem.status)
            return None

    return list(await asyncio.gather(*(one(service, path) for service, path in questions)))


def id_in_path(id_: UUID | str) -> str:
    """A path segment that is one."""
    return quote(str(id_), safe="")
