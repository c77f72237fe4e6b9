"""The whole platform in one process, with every part that faces a visitor: the gateway in front of the real services.

Two companies that know nothing of each other, somebody who has not confirmed the mail address, and somebody of the
staff, each come in as people do: by forms and links. Nothing sends mails and nothing starts containers here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from html import unescape
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import httpx
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, select, text
from starlette.types import Message, Receive, Scope, Send

from gateway.app import build
from gateway.sessions import Session
from services.billing.models import Attempt, AttemptState
from services.billing.payments.signatures import Credentials, notification
from services.notifier.models import Mail
from shared.ids import new_id
from shared.messaging.inprocess import InProcess
from shared.migrate import migrate
from shared.service import Service, Worker
from shared.tokens import Principal
from shared.upstream import Upstream
from tests.callers import PUBLIC_KEY
from tests.gateway.conftest import CLIENT, PLATFORM, settings_for
from tests.infrastructure import TestDatabase

T = TypeVar("T")
NAMES = ("identity", "billing", "provisioner", "notifier", "scheduler")
PASSWORD = "kırk7 katır mı?"
MERCHANT = Credentials("100001", "sandboxKEY000001", "sandboxSALT00001")
NEEDED: dict[str, dict[str, Any]] = {
    # A refused log-in takes its time against who measures; these tests measure nothing.
    "identity": {"refusal_time": timedelta()},
    "billing": {
        "paytr_merchant_id": MERCHANT.merchant_id,
        "paytr_merchant_key": MERCHANT.key,
        "paytr_merchant_salt": MERCHANT.salt,
        "paytr_url": "http://127.0.0.1:9",
        "document_key": "a-key-of-tests-that-is-long-enough!",
    },
    "notifier": {"smtp_url": "smtp://127.0.0.1:9", "mail_from": "no-reply@example.com"},
}
FORM_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
COOKIE_HOST = "youarecoder.localhost"


def service_of(name: str, database: TestDatabase) -> Service:
    """One service, migrated and not running."""
    package = import_module(f"services.{name}.app")
    kind = import_module(f"services.{name}.settings").Settings
    known = {"token_public_key": PUBLIC_KEY, "public_url": PLATFORM, **NEEDED.get(name, {})}
    made: Service = package.build(kind(database_url=database(name), **known))
    migrate(made.database, made.package)
    return made


def eventually(look: Callable[[], T | None], what: str, patience: float = 30) -> T:
    """What `look` gives once it gives something."""
    end = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < end, f"did not come to be: {what}"
        time.sleep(0.02)
    return found


@dataclass
class Visitor:
    """A browser, and who sits before it."""

    town: Town
    email: str = ""
    http: TestClient = field(init=False)

    def __post_init__(self) -> None:
        self.http = self.town.browser()

    @property
    def secret(self) -> str:
        """The session cookie's value."""
        return str(self.http.cookies.get("session", domain=COOKIE_HOST) or "")

    def steal(self, secret: str) -> None:
        """Takes a session that somebody lost."""
        self.http.cookies.set("session", secret, domain=COOKIE_HOST)

    def form_token(self, page: str = "/log-in") -> str:
        """The form token of a page."""
        answer = self.http.get(page, follow_redirects=True)
        found = FORM_TOKEN.search(answer.text)
        assert found, (page, answer.status_code, answer.text[:500])
        return unescape(found[1])

    def submit(self, action: str, page: str = "/log-in", **fields: str) -> httpx.Response:
        """Sends a form."""
        return self.http.post(action, data={"csrf_token": self.form_token(page), **fields})

    def api(self, method: str, path: str, **given: Any) -> httpx.Response:
        """An API call as the dashboard's script makes it."""
        headers = {"accept": "application/json", **given.pop("headers", {})}
        if method not in ("GET", "HEAD"):
            headers["x-csrf-token"] = self.form_token("/account")
        return self.http.request(method, path, headers=headers, **given)

    def log_in(self, password: str = PASSWORD) -> httpx.Response:
        """Logs in by the form."""
        return self.submit("/log-in", email=self.email, password=password)

    @property
    def session(self) -> Session:
        """Who the platform takes this browser for."""
        upstream = self.town.services["gateway"].app.state.services
        found: Session | None = self.town.call(upstream.session, self.secret, CLIENT[0])
        assert found is not None
        return found

    @property
    def principal(self) -> Principal:
        """What services are told about it."""
        return self.session.principal(CLIENT[0])


class Town:
    """The running platform and those who use it."""

    def __init__(self, database: TestDatabase, services: dict[str, Service], browser: TestClient) -> None:
        self.database = database
        self.services = services
        self._first = browser

    def browser(self) -> TestClient:
        """A fresh one; all share the loop of the first, because memory belongs to one loop."""
        made = TestClient(
            self.services["gateway"].app,
            base_url=PLATFORM,
            client=CLIENT,
            follow_redirects=False,
            raise_server_exceptions=False,
            headers={"accept": "text/html", "accept-language": "en"},
        )
        made.portal = self._first.portal
        return made

    def call(self, function: Callable[..., Any], *given: Any) -> Any:
        """Runs something async on the platform's loop."""
        assert self._first.portal is not None
        return self._first.portal.call(function, *given)

    def asked(self, room: str, method: str, path: str, headers: dict[str, str], body: bytes = b"{}") -> Answer:
        """One request to an application, given up as soon as its answer began where it is a stream."""
        return self.call(ask_app, self.services[room].app, method, path, headers, body)

    def sql(self, statement: str, **given: Any) -> list[Any]:
        """What the superuser of the database sees and does."""
        engine = create_engine(self.database.admin_url)
        try:
            with engine.begin() as connection:
                found = connection.execute(text(statement), given)
                return list(found.all()) if found.returns_rows else []
        finally:
            engine.dispose()

    def link(self, email: str, page: str) -> str:
        """The token of the newest link to this page that a mail carries to this address."""

        def look() -> str | None:
            with self.services["notifier"].database.unit_of_work() as session:
                mails = session.scalars(select(Mail).where(Mail.recipient == email).order_by(Mail.id.desc())).all()
                links = (str(mail.facts.get("link", "")).partition(f"/{page}?token=")[2] for mail in mails)
                return next(filter(None, links), None)

        return eventually(look, f"a mail with a link to {page} for {email}")

    def newcomer(self, company: str) -> Visitor:
        """Signs up, and has not opened the mail yet."""
        visitor = Visitor(self, f"{new_id().hex[-10:]}@example.com")
        answer = visitor.submit(
            "/sign-up",
            "/sign-up",
            company_name=company,
            name="Ayşe Yılmaz",
            email=visitor.email,
            password=PASSWORD,
            wanted_plan="team",
        )
        assert answer.status_code == 303, answer.text
        return visitor

    def founder(self, company: str) -> Visitor:
        """A company's first admin, whose company may make workspaces."""
        visitor = self.newcomer(company)
        token = self.link(visitor.email, "verify")
        assert visitor.submit("/verify", token=token).status_code == 303
        eventually(
            lambda: visitor.http.get("/api/v1/workspaces/quota").json().get("active"), f"{company} has an entitlement"
        )
        return visitor

    def joins(self, admin: Visitor, role: str = "member") -> Visitor:
        """Somebody invited by the admin, joined and logged in."""
        visitor = Visitor(self, f"{new_id().hex[-10:]}@example.com")
        assert admin.submit("/team/invite", "/team", email=visitor.email, role=role).status_code == 303
        token = self.link(visitor.email, "invitation")
        answer = visitor.submit("/invitation", token=token, name="Can Demir", password=PASSWORD)
        assert answer.status_code == 303, answer.text
        return visitor

    def staff(self) -> Visitor:
        """Somebody of the platform's, a member of some company."""
        visitor = self.joins(self.founder("Biz"))
        self.sql("update identity.users set staff = true where id = :id", id=visitor.session.user_id)
        self.services["gateway"].app.state.sessions.forget_all()
        assert visitor.session.staff
        return visitor

    def pays(self, admin: Visitor) -> tuple[UUID, UUID]:
        """A payment that PayTR confirms at the platform's own address; its id and its invoice's."""
        row = admin.http.get("/api/v1/subscription").json()["plan"]
        plan = str(row["code"] if isinstance(row, dict) else row)
        plans = {one["code"]: one for one in admin.http.get("/api/v1/plans").json()["items"]}
        total = int(plans[plan]["prices"]["TRY"]["minor"])
        billing, order, payment = self.services["billing"], "d" + new_id().hex, new_id()
        now = billing.settings.clock.now()
        with billing.database.unit_of_work() as session:
            session.add(
                Attempt(
                    id=payment,
                    merchant_oid=order,
                    company_id=admin.session.company_id,
                    user_id=admin.session.user_id,
                    plan=plan,
                    currency="TRY",
                    amount_minor=total,
                    net_minor=total,
                    tax_minor=0,
                    tax_percent=0,
                    test_mode=True,
                    state=AttemptState("token_issued"),
                    created_at=now,
                    expires_at=now + timedelta(minutes=30),
                    next_query_at=now + timedelta(hours=1),
                )
            )
        fields = {"merchant_oid": order, "status": "success", "total_amount": str(total)}
        fields["hash"] = notification(MERCHANT, order, "success", str(total))
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = self.browser().post("/billing/callback", content=urlencode(fields), headers=headers)
        assert answer.text == "OK", answer.text
        invoice = eventually(lambda: admin.http.get("/api/v1/invoices").json()["items"], "an invoice")[0]["id"]
        return payment, UUID(invoice)


@dataclass(frozen=True)
class Answer:
    """The beginning of an answer, or all of it."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask_app(app: Any, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
    """As a server would call the application. Of a stream, only the beginning is read: then the client is gone."""
    began: dict[str, Any] = {}
    pieces: list[bytes] = []
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            began.update(message)
        else:
            pieces.append(message.get("body", b""))

    address, _, query = path.partition("?")
    told = {
        "host": COOKIE_HOST,
        "content-type": "application/json",
        "content-length": str(len(body)),
        **headers,
    }
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": address,
        "raw_path": address.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in told.items()],
        "client": CLIENT,
        "server": ("127.0.0.1", 80),
    }
    receiver: Receive = receive
    sender: Send = send
    await app(scope, receiver, sender)
    read = {name.decode(): value.decode("latin-1") for name, value in began["headers"]}
    return Answer(began["status"], read, b"".join(pieces))


@contextmanager
def town(database: TestDatabase) -> Iterator[Town]:
    """A running town."""
    services = {name: service_of(name, database) for name in NAMES}
    upstreams = {name: Upstream(name, app=service.app) for name, service in services.items()}
    services["gateway"] = build(settings_for(database, rate_scale=1000.0), upstreams)
    migrate(services["gateway"].database, "gateway")
    # Doors and consumers only: the loops want an engine, a mail server, PayTR.
    worker = Worker([replace(service, loops={}) for service in services.values()], InProcess())
    with TestClient(services["gateway"].app, base_url=PLATFORM, client=CLIENT) as first:
        assert first.portal is not None
        first.portal.call(worker.start)
        yield Town(database, services, first)
        first.portal.call(worker.stop)
        for service in services.values():
            if service.close:
                first.portal.call(service.close)
        for upstream in upstreams.values():
            first.portal.call(upstream.close)
    for service in services.values():
        service.database.close()
