"""What must hold for every route, also those not written yet: an access decision, a form token, hard headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import Message

from gateway.access import Allow
from gateway.app import build
from gateway.pages import ROUTERS
from shared.ids import new_id
from tests.gateway.conftest import PLATFORM, House, settings_for, token_in
from tests.infrastructure import TestDatabase

PUBLIC = {
    ("GET", "/"),
    ("POST", "/language"),
    ("GET", "/sign-up"),
    ("POST", "/sign-up"),
    ("GET", "/verify"),
    ("POST", "/verify"),
    ("POST", "/verify/resend"),
    ("GET", "/log-in"),
    ("POST", "/log-in"),
    ("POST", "/log-out"),
    ("GET", "/forgot"),
    ("POST", "/forgot"),
    ("GET", "/reset"),
    ("POST", "/reset"),
    ("GET", "/invitation"),
    ("POST", "/invitation"),
    ("GET", "/billing"),
    ("GET", "/billing/payment/success"),
    ("GET", "/billing/payment/fail"),
}
"""What anybody may ask for. A route that is not here must turn away who is not logged in."""


def routes_of(found: Any) -> Iterator[APIRoute]:
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        else:
            # Newer FastAPI keeps included routers as one entry.
            inner = getattr(route, "original_router", None) or getattr(route, "router", None)
            assert inner is not None, f"a route of an unknown kind: {route!r}"
            yield from routes_of(inner.routes)


def decisions(route: APIRoute) -> list[Allow]:
    return [d.call for d in route.dependant.dependencies if isinstance(d.call, Allow)]


def address(route: BaseRoute) -> str:
    path: str = route.path  # type: ignore[attr-defined]
    return re.sub(r"\{(\w+)\}", lambda m: str(new_id()) if m[1].endswith("id") else "team", path)


@pytest.fixture
def routes(house: House) -> list[APIRoute]:
    found = list(routes_of(house.service.app.router.routes))
    assert len(found) > 50
    assert len(ROUTERS) == 8
    return found


def test_each_route_names_exactly_one_access_decision(routes: list[APIRoute]) -> None:
    undecided = [route.path for route in routes if len(decisions(route)) != 1]
    assert undecided == []


def test_each_route_that_changes_something_refuses_a_missing_or_foreign_form_token(
    house: House, routes: list[APIRoute]
) -> None:
    """CSRF: as the most powerful person there is, without the token, with another session's, from another origin."""
    who = house.world.somebody("root@example.com", staff=True)
    browser, other = house.logged_in(who), house.logged_in(house.world.somebody("b@example.com"))
    mine = token_in(browser.get("/account").text)
    foreign = token_in(other.get("/account").text)
    assert mine != foreign
    before = len(house.world.calls)
    changing = [route for route in routes if route.methods - {"GET", "HEAD"}]
    assert len(changing) > 25
    for route in changing:
        for data, headers in (
            ({}, {}),
            ({"csrf_token": foreign}, {}),
            ({"csrf_token": mine}, {"origin": "https://evil.example"}),
            ({"csrf_token": mine}, {"origin": "null"}),
            ({"csrf_token": mine}, {"sec-fetch-site": "cross-site"}),
            ({"csrf_token": mine}, {"sec-fetch-site": "same-site"}),
        ):
            answer = browser.post(address(route), data=data, headers=headers)
            assert answer.status_code == 403, (route.path, data, headers)
    made = [call for call in house.world.calls[before:] if call[1] != "/internal/sessions/resolve"]
    assert made == []


def test_before_log_in_a_token_needs_its_signed_cookie(house: House) -> None:
    """A pair of cookie and token that an attacker made up, or took from elsewhere, is refused."""
    house.world.somebody("a@example.com")
    token = token_in(house.browser.get("/log-in").text)
    form = {"email": "a@example.com", "password": "correct horse battery staple", "csrf_token": token}
    bare = house.new_browser()
    assert bare.post("/log-in", data=form).status_code == 403
    bare.cookies.set("guest", "made-up.made-up", domain="youarecoder.localhost")
    assert bare.post("/log-in", data=form).status_code == 403
    assert house.browser.post("/log-in", data=form).status_code == 303


def test_only_public_pages_answer_strangers(house: House, routes: list[APIRoute]) -> None:
    for route in routes:
        for method in route.methods - {"HEAD"}:
            if (method, route.path) in PUBLIC:
                continue
            answer = house.browser.request(method, address(route))
            assert answer.status_code == 303, (method, route.path)
            assert answer.headers["location"].startswith("/log-in"), (method, route.path)
    assert [path for _, path in house.world.calls if path.startswith("/api/")] == []


def test_members_get_no_admin_page_and_nobody_but_staff_gets_theirs(house: House, routes: list[APIRoute]) -> None:
    member = house.logged_in(house.world.somebody("m@example.com", role="member"))
    admin = house.logged_in(house.world.somebody("a@example.com"))
    for route in routes:
        (decision,) = decisions(route)
        for method in route.methods - {"HEAD"}:
            if decision.who in ("company admin", "platform staff"):
                assert member.request(method, address(route)).status_code == 403, route.path
            if decision.who == "platform staff":
                assert admin.request(method, address(route)).status_code == 403, route.path


def test_every_answer_carries_hard_headers(house: House, routes: list[APIRoute]) -> None:
    browser = house.logged_in(house.world.somebody("a@example.com", staff=True))
    paths = [address(route) for route in routes if "GET" in route.methods]
    for path in [*paths, "/nothing", "/api/v1/nothing", "/api/v1/me", "/static/nothing.css"]:
        headers = browser.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy
        assert "frame-ancestors" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"]
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "no-store" in headers["cache-control"]


def test_pages_are_small_and_quick(house: House) -> None:
    who = house.world.somebody("a@example.com", staff=True)
    workspaces = [house.world.workspace(who, f"box-{number}") for number in range(20)]
    browser = house.logged_in(who)
    paths = ["/", "/dashboard", "/team", "/billing/", "/account", "/settings", "/workspaces/new", "/admin/companies"]
    for path in [*paths, f"/workspaces/{workspaces[0]}"]:
        browser.get(path)
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert len(answer.content) < 150 * 1024
        assert answer.elapsed.total_seconds() < 0.5  # the promise is 100 ms; tests share their two cores


def test_forms_are_bounded_and_of_one_kind(house: House) -> None:
    browser = house.new_browser()
    assert browser.post("/log-in", content=b"x=" + b"a" * 70_000, headers=FORM).status_code == 413
    assert browser.post("/log-in", content="&".join(f"f{n}=1" for n in range(60)), headers=FORM).status_code == 400
    assert browser.post("/log-in", content="email=" + "a" * 10_001, headers=FORM).status_code == 400
    assert browser.post("/log-in", content="email=%00", headers=FORM).status_code == 400
    assert browser.post("/log-in", content=b"email=\xff", headers=FORM).status_code == 400
    assert browser.post("/log-in", files={"email": b"x"}).status_code == 400
    assert browser.post("/log-in", json={"email": "x"}).status_code == 400


FORM = {"content-type": "application/x-www-form-urlencoded"}


def test_failures_are_pages_for_people_and_problems_for_programs(house: House) -> None:
    page = house.browser.get("/nothing")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["x-correlation-id"] in page.text
    told = house.browser.get("/nothing", headers={"accept": "application/json"})
    assert told.headers["content-type"] == "application/problem+json"
    wrong = house.logged_in(house.world.somebody("a@example.com")).get("/workspaces/not-an-id")
    assert wrong.status_code == 404


def test_another_companys_workspace_is_not_there(house: House) -> None:
    owner = house.world.somebody("a@example.com")
    workspace = house.world.workspace(owner, "box")
    browser = house.logged_in(house.world.somebody("b@example.com"))
    token = token_in(browser.get("/account").text)
    assert browser.get(f"/workspaces/{workspace}").status_code == 404
    for action in ("start", "stop", "restart", "rename", "delete", "restore"):
        answer = browser.post(f"/workspaces/{workspace}/{action}", data={"csrf_token": token, "name": "mine"})
        assert answer.status_code == 404
    assert (house.world.workspaces[workspace]["name"], house.world.workspaces[workspace]["state"]) == ("box", "running")


def test_settings_refuse_keys_that_do_not_belong_together(gateway_database: TestDatabase) -> None:
    from shared.tokens import new_key_pair

    with pytest.raises(ValueError, match="not the public half"):
        settings_for(gateway_database, token_public_key=new_key_pair()[1])
    with pytest.raises(ValueError, match="at least 32"):
        settings_for(gateway_database, cookie_key="short")
    with pytest.raises(ValueError, match="go together"):
        settings_for(gateway_database, auth_certificate="/etc/hostname")
    with pytest.raises(ValueError, match="there is no file"):
        settings_for(gateway_database, auth_certificate="/etc/hostname", auth_key="/nowhere")


def test_a_test_installation_says_where_its_mails_are(open_house: Callable[..., House]) -> None:
    house = open_house(mailbox_url="http://mailbox.localhost:8025")
    assert "http://mailbox.localhost:8025" in house.browser.get("/verify").text
    with pytest.raises(ValueError, match="test installations"):
        open_house(
            environment="production",
            public_url="https://youarecoder.example",
            mailbox_url="http://mailbox.localhost:8025",
        )


def test_a_gateway_that_knows_no_services_does_not_start(gateway_database: TestDatabase) -> None:
    with pytest.raises(ValueError, match="GATEWAY_IDENTITY_URL"):
        build(settings_for(gateway_database))


def test_other_names_of_the_platform_lead_to_its_own(house: House) -> None:
    stranger = house.new_browser("http://127.0.0.1:8080")
    answer = stranger.get("/team")
    assert (answer.status_code, answer.headers["location"]) == (307, f"{PLATFORM}/team")
    assert stranger.get("/..//evil.example").headers["location"].startswith(PLATFORM)
    assert stranger.post("/log-in").status_code == 421


@pytest.mark.parametrize("path", ["/log-in", "/billing/callback", "/api/v1/workspaces"])
def test_who_leaves_while_sending_is_not_our_fault(house: House, path: str) -> None:
    """Half a body made a 500, and a page of traceback in the log for every packet of whoever likes that."""
    who = house.world.somebody("a@example.com")
    browser = house.logged_in(who)
    token = token_in(browser.get("/account").text)
    told: list[Message] = []
    coming: list[Message] = [{"type": "http.request", "body": b"a=", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return coming.pop(0) if coming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        told.append(message)

    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = {"host": "youarecoder.localhost:8080", "cookie": cookie, "x-csrf-token": token, "content-length": "9"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("203.0.113.5", 1),
        "server": ("127.0.0.1", 80),
    }
    house.call(house.service.app, scope, receive, send)
    statuses = [message["status"] for message in told if message["type"] == "http.response.start"]
    assert all(status < 500 for status in statuses)
    assert house.world.callbacks == []
