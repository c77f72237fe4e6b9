"""The same door in front of the real identity, billing and provisioner, on the in-process bus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

import services.billing.app
import services.billing.settings
import services.identity.app
import services.identity.settings
import services.provisioner.app
import services.provisioner.settings
from gateway.app import build
from shared.db import Database
from shared.messaging.inprocess import InProcess
from shared.messaging.tables import outbox
from shared.migrate import migrate
from shared.service import Service, Worker
from shared.upstream import Upstream
from tests.callers import PUBLIC_KEY
from tests.gateway.conftest import CLIENT, PLATFORM, log_in, settings_for, token_in
from tests.infrastructure import TestDatabase

PASSWORD = "kırk7 katır mı?"


@pytest.fixture
def real(database: TestDatabase) -> Iterator[tuple[TestClient, dict[str, Service]]]:
    common: dict[str, Any] = {"token_public_key": PUBLIC_KEY, "public_url": PLATFORM}
    paytr = {
        "paytr_merchant_id": "123456",
        "paytr_merchant_key": "a-test-key",
        "paytr_merchant_salt": "a-test-salt",
        "paytr_url": "http://127.0.0.1:9",
        "document_key": "a key for documents, long enough",
    }
    made: dict[str, Service] = {
        "identity": services.identity.app.build(
            services.identity.settings.Settings(database_url=database("identity"), **common)
        ),
        "billing": services.billing.app.build(
            services.billing.settings.Settings(database_url=database("billing"), **common, **paytr)
        ),
        "provisioner": services.provisioner.app.build(
            services.provisioner.settings.Settings(database_url=database("provisioner"), **common)
        ),
    }
    upstreams = {name: Upstream(name, app=service.app) for name, service in made.items()}
    made["gateway"] = build(settings_for(database), upstreams)
    for service in made.values():
        migrate(service.database, service.package)
    # The provisioner's control loop wants an engine: only its doors are open here.
    worker = Worker([made[name] for name in ("identity", "billing", "gateway")], InProcess())
    with TestClient(
        made["gateway"].app,
        base_url=PLATFORM,
        client=CLIENT,
        follow_redirects=False,
        headers={"accept": "text/html", "accept-language": "tr"},
    ) as browser:
        assert browser.portal is not None
        browser.portal.call(worker.start)
        yield browser, made
        browser.portal.call(worker.stop)
        for service in made.values():
            if service.close and service.name != "provisioner":
                browser.portal.call(service.close)
        for upstream in upstreams.values():
            browser.portal.call(upstream.close)
    for service in made.values():
        service.database.close()


def eventually(look: Callable[[], Any]) -> Any:
    """What `look` gives once it gives something, within ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    pytest.fail("it did not come to be")


def mailed_token(database: Database) -> str | None:
    """The token of the link that identity has asked the notifier to send (nobody is there to hear it)."""
    with database.unit_of_work() as session:
        rows = session.connection().execute(select(outbox.c.data).where(outbox.c.type == "verification.requested"))
        return next((row.data["link"].partition("token=")[2] for row in rows), None)


def test_a_newcomer_gets_to_the_dashboard_and_out_again(real: tuple[TestClient, dict[str, Service]]) -> None:
    browser, made = real
    token = token_in(browser.get("/sign-up?plan=team").text)
    form = {"company_name": "Örnek A.Ş.", "name": "Ayşe Yılmaz", "email": "ayse@example.com", "wanted_plan": "team"}
    weak = browser.post("/sign-up", data={**form, "password": "123", "csrf_token": token})
    assert weak.status_code == 422
    assert "Örnek A.Ş." in weak.text
    signed_up = browser.post("/sign-up", data={**form, "password": PASSWORD, "csrf_token": token})
    assert signed_up.headers["location"] == "/verify?done=written"

    link = eventually(lambda: mailed_token(made["identity"].database))
    confirmed = browser.post("/verify", data={"token": link, "csrf_token": token})
    assert confirmed.headers["location"] == "/dashboard?done=verified"
    assert browser.get("/dashboard").status_code == 200
    me = browser.get("/api/v1/me").json()
    assert (me["user"]["email"], me["user"]["verified"], me["company"]["name"]) == (
        "ayse@example.com",
        True,
        "Örnek A.Ş.",
    )
    # company.created went over the bus, and billing began the trial.
    eventually(lambda: browser.get("/api/v1/subscription").status_code == 200)

    for path in ("/team", "/billing/", "/account", "/settings", "/workspaces/new", "/"):
        page = browser.get(path)
        assert page.status_code == 200, path
        assert 'lang="tr"' in page.text
    assert browser.get("/admin").status_code == 403

    form_token = token_in(browser.get("/account").text)
    invited = browser.post("/team/invite", data={"email": "b@example.com", "role": "member", "csrf_token": form_token})
    assert invited.headers["location"] == "/team?done=invited"
    assert "b@example.com" in browser.get("/team").text
    named = browser.post("/account/profile", data={"name": "Ayşe Demir", "language": "en", "csrf_token": form_token})
    assert named.headers["location"] == "/account?done=profile-saved"
    assert 'lang="en"' in browser.get("/account").text
    # PayTR does not answer: the billing page says so, and nothing is lost.
    assert browser.post("/billing/subscribe/team", data={"csrf_token": form_token}).status_code in (502, 503)
    # No entitlement has reached the provisioner: the form comes back with the reason.
    refused = browser.post("/workspaces/new", data={"name": "first", "template": "plain", "csrf_token": form_token})
    assert refused.status_code == 403
    assert "first" in refused.text
    assert browser.post("/billing/callback", content=b"merchant_oid=x&hash=a+b").status_code == 400

    secret = browser.cookies["session"]
    assert browser.post("/log-out", data={"csrf_token": form_token}).headers["location"] == "/?done=logged-out"
    browser.cookies.set("session", secret, domain="youarecoder.localhost")
    assert browser.get("/dashboard").status_code == 303
    browser.cookies.clear()
    assert log_in(browser, "ayse@example.com", PASSWORD).status_code == 303
    assert browser.get("/dashboard").status_code == 200


def test_a_session_ended_elsewhere_is_known_here_by_the_bus(real: tuple[TestClient, dict[str, Service]]) -> None:
    browser, made = real
    token = token_in(browser.get("/sign-up").text)
    form = {"company_name": "Örnek", "name": "Ali", "email": "ali@example.com", "password": PASSWORD}
    browser.post("/sign-up", data={**form, "csrf_token": token})
    link = eventually(lambda: mailed_token(made["identity"].database))
    browser.post("/verify", data={"token": link, "csrf_token": token})
    first = browser.cookies["session"]
    browser.cookies.clear()
    assert log_in(browser, "ali@example.com", PASSWORD).status_code == 303
    sessions = browser.get("/api/v1/sessions").json()["items"]
    other = next(one["id"] for one in sessions if not one["current"])
    form_token = token_in(browser.get("/account").text)
    answer = browser.delete(f"/api/v1/sessions/{other}", headers={"x-csrf-token": form_token})
    assert answer.status_code == 204
    knowledge = made["gateway"].app.state.knowledge
    from uuid import UUID

    eventually(lambda: knowledge.is_revoked(UUID(other)))
    browser.cookies.set("session", first, domain="youarecoder.localhost")
    assert browser.get("/account").status_code == 303
