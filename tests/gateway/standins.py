"""Small services that keep the contract, for what the gateway must do whatever they say. They check tokens for real."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from shared.access import Admin, Anyone, Member, Person, Platform, Staff
from shared.errors import Conflict, FieldError, Forbidden, Gone, Invalid, NotFound, Unauthenticated
from shared.http import build_app
from shared.ids import new_id
from shared.settings import ServiceSettings

PASSWORD = "correct horse battery staple"


class NameTaken(Conflict):
    code = "name-taken"


class WrongCredentials(Unauthenticated):
    code = "wrong-credentials"
    title = "Mail address or password is wrong"


@dataclass
class Somebody:
    """A person identity knows."""

    email: str
    company_id: UUID | None
    role: str = "admin"
    staff: bool = False
    verified: bool = True
    name: str = "Ayşe <b>Yılmaz</b>"
    language: str = "en"
    user_id: UUID = field(default_factory=new_id)


@dataclass
class World:
    """What the stand-ins know and what they were asked."""

    settings: ServiceSettings
    people: dict[str, Somebody] = field(default_factory=dict)
    sessions: dict[str, tuple[UUID, Somebody]] = field(default_factory=dict)
    workspaces: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    seen_headers: list[dict[str, str]] = field(default_factory=list)
    ips: list[str] = field(default_factory=list)
    callbacks: list[tuple[bytes, str]] = field(default_factory=list)
    payments: dict[str, dict[str, Any]] = field(default_factory=dict)
    streams_ended: asyncio.Event = field(default_factory=asyncio.Event)

    def somebody(self, email: str, company_id: UUID | None = None, **facts: Any) -> Somebody:
        """A person in a company of their own, or in `company_id`."""
        self.people[email] = Somebody(email, company_id or new_id(), **facts)
        return self.people[email]

    def workspace(self, owner: Somebody, host: str) -> UUID:
        """A running workspace."""
        id_ = new_id()
        self.workspaces[id_] = {"id": str(id_), "name": host, "owner": owner, "host": host, "state": "running"}
        return id_

    def app(self, name: str) -> FastAPI:
        """An application with everything around routes."""
        app = build_app(name, clock=self.settings.clock, verifier=self.settings.verifier)

        @app.middleware("http")
        async def write_down(request: Request, call_next: Any) -> Response:
            self.calls.append((request.method, request.url.path))
            self.seen_headers.append(dict(request.headers))
            return await call_next(request)

        return app

    def principal(self, session_id: UUID, who: Somebody) -> dict[str, Any]:
        """The contract's Principal."""
        return {
            "session_id": str(session_id),
            "user_id": str(who.user_id),
            "company_id": str(who.company_id) if who.company_id else None,
            "role": who.role,
            "staff": who.staff,
            "verified": who.verified,
            "email": who.email,
            "name": who.name,
            "language": who.language,
            "company_name": "Example",
            "timezone": "Europe/Istanbul",
            "expires_at": (self.settings.clock.now() + timedelta(days=30)).isoformat(),
        }

    def log_in(self, who: Somebody) -> tuple[str, UUID]:
        """A session's secret and id."""
        secret, id_ = secrets.token_urlsafe(32), new_id()
        self.sessions[secret] = (id_, who)
        return secret, id_

    def session(self, who: Somebody) -> dict[str, Any]:
        """The contract's Session."""
        secret, id_ = self.log_in(who)
        user = self.principal(id_, who)
        return {"session_id": str(id_), "secret": secret, "expires_at": user["expires_at"], "user": user}


def identity(world: World) -> FastAPI:
    """Identity, as far as the gateway asks it."""
    app = world.app("identity")

    @app.post("/internal/sign-up", status_code=202)
    def sign_up(caller: Platform, body: dict[str, Any]) -> dict[str, str]:
        world.ips.append(caller.ip)
        if len(body["password"]) < 12:
            raise Invalid.field("password", "password-too-short", "At least 12 characters")
        return {"email": body["email"]}

    @app.post("/internal/verification/resend", status_code=202)
    def resend(caller: Platform, body: dict[str, Any]) -> dict[str, str]:
        return {}

    @app.post("/internal/verification/confirm")
    @app.post("/internal/invitations/accept", status_code=201)
    def confirm(caller: Platform, body: dict[str, Any]) -> dict[str, Any]:
        if body["token"] not in world.people:
            raise Gone
        return world.session(world.people[body["token"]])

    @app.post("/internal/invitations/look")
    def look(caller: Platform, body: dict[str, Any]) -> dict[str, Any]:
        if body["token"] not in world.people:
            raise Gone
        return {
            "email": body["token"],
            "company_name": "Example",
            "invited_by": "A",
            "role": "member",
            "language": "tr",
        }

    @app.post("/internal/sessions", status_code=201)
    def log_in(caller: Platform, body: dict[str, Any]) -> dict[str, Any]:
        world.ips.append(caller.ip)
        who = world.people.get(body["email"])
        if who is None or body["password"] != PASSWORD:
            raise WrongCredentials
        return world.session(who)

    @app.post("/internal/sessions/resolve")
    def resolve(caller: Platform, body: dict[str, Any]) -> dict[str, Any]:
        if body["secret"] not in world.sessions:
            raise Unauthenticated
        return world.principal(*world.sessions[body["secret"]])

    @app.post("/internal/sessions/end", status_code=204)
    def end(caller: Platform, body: dict[str, Any]) -> None:
        world.sessions.pop(body["secret"], None)

    @app.post("/internal/password/forgot", status_code=202)
    def forgot(caller: Platform, body: dict[str, Any]) -> dict[str, str]:
        return {}

    @app.post("/internal/password/reset")
    def reset(caller: Platform, body: dict[str, Any]) -> dict[str, str]:
        if body["token"] != "good":
            raise Gone
        return {"user_id": str(new_id())}

    @app.api_route("/api/v1/me", methods=["GET", "PATCH"])
    def me(caller: Person) -> dict[str, Any]:
        return {"user": {"id": str(caller.user_id), "email": caller.email, "ip": caller.ip}, "company": None}

    @app.post("/api/v1/me/password", status_code=204)
    def password(caller: Person) -> None: ...

    @app.api_route("/api/v1/company", methods=["GET", "PATCH"])
    def company(caller: Member) -> dict[str, Any]:
        return {"name": "Example", "country": "TR", "language": "tr", "timezone": "Europe/Istanbul"}

    @app.get("/api/v1/sessions")
    def sessions(caller: Person) -> dict[str, Any]:
        facts = {
            "created_at": "2026-11-22T09:00:00Z",
            "last_seen_at": "2026-11-22T09:00:00Z",
            "ip": "",
            "current": True,
        }
        return {"items": [{"id": str(caller.session_id), "user_agent": "x", **facts}], "next": None}

    @app.delete("/api/v1/sessions/{one_id}", status_code=204)
    def end_one(one_id: UUID, caller: Person) -> None: ...

    @app.get("/api/v1/members")
    def members(caller: Member) -> dict[str, Any]:
        here = [who for who in world.people.values() if who.company_id == caller.company_id]
        facts = {"joined_at": "2026-11-22T09:00:00Z", "verified": True}
        rows = [{"user_id": str(w.user_id), "email": w.email, "name": w.name, "role": w.role, **facts} for w in here]
        return {"items": rows, "next": None}

    @app.api_route("/api/v1/members/{one_id}", methods=["PATCH", "DELETE"])
    def change_member(one_id: UUID, caller: Member) -> dict[str, Any]:
        if one_id == caller.user_id:
            raise Conflict
        return {}

    @app.get("/api/v1/invitations")
    def invitations(caller: Admin) -> dict[str, Any]:
        return {"items": [], "next": None}

    @app.post("/api/v1/invitations", status_code=201)
    def invite(caller: Admin) -> dict[str, Any]:
        return {}

    @app.get("/api/v1/admin/companies")
    def companies(caller: Staff) -> dict[str, Any]:
        return {"items": [], "next": None}

    return app


def billing(world: World) -> FastAPI:
    """Billing, as far as the gateway asks it."""
    app = world.app("billing")

    @app.get("/api/v1/plans")
    def plans(caller: Anyone) -> dict[str, Any]:
        prices = {"TRY": {"minor": 297000, "currency": "TRY"}, "USD": {"minor": 9900, "currency": "USD"}}
        limits = {"workspaces": 20, "storage_bytes": 50 << 30, "cpu_millicores": 2000, "memory_bytes": 4 << 30}
        return {"items": [{"code": "team", "name": "Team", "prices": prices, "processes": 512, **limits}]}

    @app.get("/api/v1/subscription")
    def subscription(caller: Member) -> dict[str, Any]:
        raise NotFound

    @app.post("/api/v1/subscription/{action}")
    def change(action: str, caller: Admin) -> dict[str, Any]:
        return {}

    @app.get("/api/v1/invoices")
    def invoices(caller: Admin) -> dict[str, Any]:
        return {"items": [], "next": None}

    @app.get("/api/v1/invoices/{one_id}/pdf")
    def pdf(one_id: UUID, caller: Admin) -> Response:
        return Response(b"%PDF-1.7", media_type="application/pdf")

    @app.post("/api/v1/payments", status_code=201)
    async def pay(request: Request, caller: Admin) -> dict[str, Any]:
        body = await request.json()
        key = request.headers["idempotency-key"]
        amount = {"minor": 297000, "currency": "TRY"}
        made = {"id": str(new_id()), "plan": body["plan"], "amount": amount, "net": amount, "tax": amount}
        more = {"tax_rate": "20", "iframe_url": "http://paytr.localhost:9/x", "resizer_url": "", "test_mode": True}
        return world.payments.setdefault(key, {**made, **more, "expires_at": "2026-11-22T10:00:00Z"})

    @app.get("/api/v1/payments")
    def payments(caller: Admin) -> dict[str, Any]:
        return {"items": [], "next": None}

    @app.get("/api/v1/payments/{one_id}")
    def payment(one_id: UUID, caller: Admin) -> dict[str, Any]:
        facts = {"amount": {"minor": 297000, "currency": "TRY"}, "reason": None, "invoice_id": None}
        return {"id": str(one_id), "status": "pending", "plan": "team", **facts}

    @app.post("/billing/callback")
    async def callback(request: Request) -> Response:
        assert "authorization" not in request.headers
        body = await request.body()
        world.callbacks.append((body, request.headers.get("content-type", "")))
        if b"bad" in body:
            return Response("bad hash", 400, media_type="text/plain")
        return Response("OK", media_type="text/plain")

    return app


def provisioner(world: World) -> FastAPI:
    """The provisioner, as far as the gateway asks it."""
    app = world.app("provisioner")

    def visible(one_id: UUID, caller: Any) -> dict[str, Any]:
        found = world.workspaces.get(one_id)
        if found is None or found["owner"].company_id != caller.company_id:
            raise NotFound
        return found

    def taken(found: dict[str, Any], name: str) -> None:
        others = [one for one in world.workspaces.values() if one is not found and not one.get("restorable_until")]
        if name in [one["name"] for one in others]:
            raise NameTaken(errors=[FieldError("name", "taken", "Taken")])

    def view(found: dict[str, Any]) -> dict[str, Any]:
        shown = {name: value for name, value in found.items() if name != "owner"}
        owner: Somebody = found["owner"]
        times = {"created_at": "2026-11-22T09:00:00Z", "started_at": "2026-11-22T09:00:02Z"}
        stages = [{"name": "queued", "at": "2026-11-22T09:00:00Z", "ms": 3}]
        return {
            **shown,
            **times,
            "stages": stages,
            "template": "plain",
            "cause": None,
            "mine": True,
            "deleted_at": found.get("deleted_at"),
            "restorable_until": found.get("restorable_until"),
            "storage_bytes": None,
            "storage_at": None,
            "owner_id": str(owner.user_id),
            "owner_name": owner.name,
            "url": world.settings.workspace_url(found["host"]),
        }

    @app.get("/api/v1/workspaces")
    def listed(caller: Member) -> dict[str, Any]:
        mine = [view(one) for one in world.workspaces.values() if one["owner"].user_id == caller.user_id]
        return {"items": [one for one in mine if not one["restorable_until"]], "next": None}

    @app.get("/api/v1/workspaces/deleted")
    def deleted(caller: Member) -> dict[str, Any]:
        mine = [view(one) for one in world.workspaces.values() if one["owner"].user_id == caller.user_id]
        return {"items": [one for one in mine if one["restorable_until"]], "next": None}

    @app.post("/api/v1/workspaces", status_code=202)
    def create(caller: Member, body: dict[str, Any]) -> dict[str, Any]:
        if not body["name"]:
            raise Forbidden
        owner = next(who for who in world.people.values() if who.user_id == caller.user_id)
        return view(world.workspaces[world.workspace(owner, body["name"])])

    @app.get("/api/v1/workspaces/quota")
    def quota(caller: Member) -> dict[str, Any]:
        plan = {"limit": 5, "storage_limit": 10 << 30, "active": True, "plan": "team", "restore_days": 7}
        return {"used": 0, "storage_used": 0, **plan}

    @app.get("/api/v1/workspaces/events")
    async def events(caller: Member) -> StreamingResponse:
        async def stream() -> AsyncIterator[bytes]:
            try:
                for number in range(1000):
                    yield f"event: workspace\ndata: {number}\n\n".encode()
                    await asyncio.sleep(0.05)
            finally:
                world.streams_ended.set()

        return StreamingResponse(stream(), media_type="text/event-stream")

    @app.get("/api/v1/workspaces/{one_id}")
    def one(one_id: UUID, caller: Member) -> dict[str, Any]:
        return view(visible(one_id, caller))

    @app.post("/api/v1/workspaces/{one_id}/restore", status_code=202)
    def restore(one_id: UUID, caller: Member, body: dict[str, Any]) -> dict[str, Any]:
        found = visible(one_id, caller)
        name = body.get("name", found["name"])
        taken(found, name)
        found |= {"name": name, "state": "stopped", "deleted_at": None, "restorable_until": None}
        return view(found)

    @app.post("/api/v1/workspaces/{one_id}/{action}", status_code=202)
    def act(one_id: UUID, action: str, caller: Member) -> dict[str, Any]:
        return view(visible(one_id, caller))

    @app.patch("/api/v1/workspaces/{one_id}")
    def rename(one_id: UUID, caller: Member, body: dict[str, Any]) -> dict[str, Any]:
        found = visible(one_id, caller)
        taken(found, body["name"])
        found["name"] = body["name"]
        return view(found)

    @app.delete("/api/v1/workspaces/{one_id}", status_code=202)
    def delete(one_id: UUID, caller: Member) -> dict[str, Any]:
        found = visible(one_id, caller)
        now = world.settings.clock.now()
        found |= {"state": "deleted", "deleted_at": now.isoformat()}
        found["restorable_until"] = (now + timedelta(days=7)).isoformat()
        return view(found)

    @app.get("/api/v1/workspaces/{one_id}/access")
    def access(one_id: UUID, caller: Member) -> dict[str, Any]:
        found = visible(one_id, caller)
        if found["owner"].user_id != caller.user_id:
            raise NotFound
        return {"host": found["host"], "url": "http://ignored.example", "workspace_id": str(one_id)}

    @app.post("/api/v1/slow")
    def never(caller: Anyone) -> Response:
        return JSONResponse({})

    return app
