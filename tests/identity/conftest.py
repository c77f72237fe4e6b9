"""Identity alone: its own database, a clock that moves when told, its doors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from services.identity.app import build
from services.identity.settings import Settings
from shared.clock import ManualClock
from shared.events import Event
from shared.events.identity import MemberInvited, VerificationRequested
from shared.messaging.envelope import Envelope
from shared.messaging.tables import outbox
from shared.migrate import migrate
from shared.service import Service
from shared.tokens import Principal, Role
from tests.callers import PUBLIC_KEY, START, headers, the_gateway
from tests.infrastructure import Databases, TestDatabase

E = TypeVar("E", bound=Event)

PASSWORD = "kırk7 katır mı?"
APPLICATION = {
    "company_name": "Örnek A.Ş.",
    "name": "Ayşe Yılmaz",
    "email": "ayse@example.com",
    "password": PASSWORD,
    "language": "tr",
    "wanted_plan": "team",
}


def token_of(link: str) -> str:
    """What a mail's link carries."""
    return link.partition("?token=")[2]


@dataclass
class LoggedIn:
    """Somebody with a session, as the gateway knows them."""

    user_id: UUID
    company_id: UUID
    session_id: UUID
    secret: str
    principal: Principal


@dataclass
class House:
    """Identity and what a story does with it."""

    service: Service
    clock: ManualClock
    client: TestClient
    ip: str = field(default="203.0.113.7")

    def door(self, path: str, **body: Any) -> httpx.Response:
        """The gateway itself at an internal door."""
        return self.ask(the_gateway(self.ip), "POST", f"/internal{path}", json=body)

    def ask(self, who: Principal | None, method: str, path: str, **given: Any) -> httpx.Response:
        """Anybody at any door."""
        sent = {**(headers(who, self.clock.now()) if who else {}), **given.pop("headers", {})}
        return self.client.request(method, path, headers=sent, **given)

    def facts(self, kind: type[E] | None = None) -> list[E]:
        """What was told so far, in order."""
        with self.service.database.unit_of_work() as session:
            rows = session.connection().execute(select(outbox).order_by(outbox.c.position)).all()
        told = [Envelope(r.id, r.type, "identity", r.subject, r.time, r.position, r.data).event() for r in rows]
        return [event for event in told if kind is None or isinstance(event, kind)]

    def sign_up(self, **changes: Any) -> httpx.Response:
        """A sign-up with everything right but the changes."""
        return self.door("/sign-up", **{**APPLICATION, **changes})

    def log_in(self, email: str = APPLICATION["email"], password: str = PASSWORD) -> httpx.Response:
        """A log-in from some browser."""
        return self.door("/sessions", email=email, password=password, user_agent="Firefox")

    def founder(self, **changes: Any) -> LoggedIn:
        """A company's first admin, confirmed and logged in."""
        assert self.sign_up(**changes).status_code == 202
        link = self.facts(VerificationRequested)[-1].link
        return self.who(self.door("/verification/confirm", token=token_of(link)))

    def join(self, admin: LoggedIn, email: str, role: str = "member") -> LoggedIn:
        """Somebody invited by the admin, joined and logged in."""
        asked = self.ask(admin.principal, "POST", "/api/v1/invitations", json={"email": email, "role": role})
        assert asked.status_code == 201, asked.text
        token = token_of(self.facts(MemberInvited)[-1].link)
        return self.who(
            self.door("/invitations/accept", token=token, name="Can Demir", password=PASSWORD, language="tr")
        )

    def who(self, answer: httpx.Response) -> LoggedIn:
        """The session of an answer that opened one."""
        assert answer.status_code in (200, 201), answer.text
        body = answer.json()
        user = body["user"]
        user_id, company_id, session_id = (UUID(user[k]) for k in ("user_id", "company_id", "session_id"))
        principal = Principal(
            role=Role(user["role"]),
            user_id=user_id,
            company_id=company_id,
            session_id=session_id,
            staff=user["staff"],
            verified=user["verified"],
            email=user["email"],
            name=user["name"],
            language=user["language"],
            ip=self.ip,
        )
        return LoggedIn(user_id, company_id, session_id, body["secret"], principal)

    def resolve(self, secret: str) -> httpx.Response:
        """What the gateway asks for a cookie."""
        return self.door("/sessions/resolve", secret=secret)


def settings_for(database: TestDatabase, clock: ManualClock, **given: Any) -> Settings:
    """Settings whose clock is the test's."""
    given = {"refusal_time": timedelta(), **given}
    settings = Settings(database_url=database("identity"), token_public_key=PUBLIC_KEY, **given)
    settings.__dict__["clock"] = clock
    return settings


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def identity_database(databases: Databases) -> Iterator[TestDatabase]:
    def prepare(made: TestDatabase) -> None:
        service = build(settings_for(made, ManualClock(START)))
        migrate(service.database, service.package)
        service.database.close()

    made = databases.new("identity", prepare)
    yield made
    databases.drop(made)


@pytest.fixture
def new_house(identity_database: TestDatabase, clock: ManualClock) -> Iterator[Callable[..., House]]:
    made: list[Service] = []

    def new(**given: Any) -> House:
        service = build(settings_for(identity_database, clock, **given))
        made.append(service)
        return House(service, clock, TestClient(service.app, raise_server_exceptions=False))

    yield new
    for service in made:
        service.database.close()


@pytest.fixture
def house(new_house: Callable[..., House]) -> House:
    return new_house()


def seconds(action: Callable[[], Any]) -> float:
    """How long it took."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
