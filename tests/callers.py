"""Callers for tests of a service's doors: tokens as the gateway signs them, and a client that carries one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi.testclient import TestClient

from shared.ids import new_id
from shared.service import Service
from shared.tokens import Principal, Role, Signer, new_key_pair, private_key

PRIVATE_KEY, PUBLIC_KEY = new_key_pair()
START = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
"""Where the clocks of stories begin."""


def a_member(company: UUID | None = None, **facts: Any) -> Principal:
    """A member of a company, confirmed, with a session."""
    known = {"role": Role.MEMBER, "user_id": new_id(), "company_id": company or new_id(), "session_id": new_id()}
    return Principal(**{**known, "email": "member@example.com", "name": "Member", "ip": "203.0.113.7", **facts})


def an_admin(company: UUID | None = None, **facts: Any) -> Principal:
    """An admin of a company."""
    return a_member(company, **{"role": Role.ADMIN, **facts})


def staff(**facts: Any) -> Principal:
    """Somebody of the platform's own staff, who belongs to some company, too."""
    return a_member(**{"staff": True, **facts})


def the_gateway(ip: str = "203.0.113.7") -> Principal:
    """The gateway itself, with nobody logged in."""
    return Principal(role=Role.PLATFORM, ip=ip)


def headers(principal: Principal, now: datetime) -> dict[str, str]:
    """What the gateway would send for this caller at this moment."""
    return {"Authorization": f"Bearer {Signer(private_key(PRIVATE_KEY)).sign(principal, now)}"}


@contextmanager
def calling(service: Service, principal: Principal | None) -> Iterator[TestClient]:
    """A client of a service's HTTP, as `principal`; it never raises what the service should have answered."""
    with TestClient(service.app, raise_server_exceptions=False, follow_redirects=False) as client:
        if principal is not None:
            client.headers.update(headers(principal, service.settings.clock.now()))
        yield client
