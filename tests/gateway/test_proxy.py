"""`/api/v1/*`: the right service, as the right person, and nothing of what a client claims."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gateway import proxy
from gateway.pages.admin import SERVICES
from shared.service import HttpServer
from shared.upstream import Upstream
from tests.gateway import standins
from tests.gateway.conftest import PLATFORM, House, token_in


def test_a_person_is_known_to_the_service_by_our_token_alone(house: House) -> None:
    who = house.world.somebody("a@example.com")
    browser = house.logged_in(who)
    smuggled = {
        "authorization": "Bearer eyJhbGciOiJub25lIn0.e30.",
        "x-forwarded-for": "9.9.9.9",
        "x-forwarded-host": "evil.example",
        "x-real-ip": "9.9.9.9",
        "forwarded": "for=9.9.9.9",
        "x-user-id": "1",
        "x_forwarded_for": "9.9.9.9",
        "connection": "close, x-keep",
    }
    answer = browser.get("/api/v1/me", headers=smuggled)
    assert answer.json()["user"] == {"id": str(who.user_id), "email": who.email, "ip": "203.0.113.5"}
    seen = house.world.seen_headers[-1]
    assert set(seen) <= {"host", "accept", "accept-language", "user-agent", "authorization", "x-correlation-id"}
    assert seen["authorization"] != smuggled["authorization"]
    assert seen["host"] == "identity"


def test_cookies_never_go_on_and_never_come_back(house: House) -> None:
    browser = house.logged_in(house.world.somebody("a@example.com"))
    answer = browser.get("/api/v1/me")
    assert "cookie" not in house.world.seen_headers[-1]
    assert "set-cookie" not in answer.headers
    assert len(answer.headers.get_list("x-correlation-id")) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/../internal/sessions/resolve",
        "/api/v1/%2e%2e/internal/sessions/resolve",
        "/api/v1/me/../../../internal/sessions",
        "/api/v1/me/%2e%2e/members",
        "/api/v1//me",
        "/api/v1/me//x",
        "/api/v1/me%2f..%2f..%2finternal",
        "/api/v1/me\\..\\internal",
        "/api/v1/me;x/..",
        "/api/v1/.hidden",
        "/api/v1/me/.x",
        "/api/v1/me/%00",
        "/api/v1/%6de",
        "/api/v1",
        "/api/v1/",
        "/api/v2/me",
        "/api/v1/unknown",
        "/api/v1/meh",
        "/api/v1/admin",
        "/api/v1/admin/unknown",
        "/api/v1/ops/unknown",
        "/api/v1/internal/sessions/resolve",
        "/internal/sessions/resolve",
        "/api/v1/me" + "/a" * 20,
        "/api/v1/me/" + "a" * 200,
        "/documents/invoices/x.pdf",
    ],
)
def test_only_plain_paths_of_known_owners_pass(house: House, path: str) -> None:
    browser = house.logged_in(house.world.somebody("a@example.com", staff=True))
    browser.get("/api/v1/me")
    before = len(house.world.calls)
    scope_path = httpx.URL(PLATFORM).copy_with(raw_path=path.encode())
    answer = browser.request("GET", scope_path)
    assert answer.status_code == 404
    assert len(house.world.calls) == before


def test_the_table_of_owners_is_the_contracts() -> None:
    assert set(proxy.OWNERS.values()) == set(SERVICES)
    assert all(f"ops/{name}" in proxy.OWNERS for name in SERVICES)
    assert not any("internal" in prefix for prefix in proxy.OWNERS)


def test_without_a_session_only_the_price_list_is_told(house: House) -> None:
    plans = house.browser.get("/api/v1/plans")
    assert plans.status_code == 200
    assert plans.json()["items"][0]["code"] == "team"
    refused = house.browser.get("/api/v1/me")
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"


def test_a_write_by_cookie_needs_the_form_token_as_a_header(house: House) -> None:
    browser = house.logged_in(house.world.somebody("a@example.com"))
    token = token_in(browser.get("/account").text)
    body: dict[str, Any] = {"name": "x"}
    assert browser.patch("/api/v1/me", json=body).status_code == 403
    assert browser.patch("/api/v1/me", json=body, headers={"x-csrf-token": "wrong"}).status_code == 403
    foreign = {"x-csrf-token": token, "origin": "http://other.workspaces.localhost:8080"}
    assert browser.patch("/api/v1/me", json=body, headers=foreign).status_code == 403
    assert ("PATCH", "/api/v1/me") not in house.world.calls
    own = {"x-csrf-token": token, "origin": PLATFORM, "sec-fetch-site": "same-origin"}
    assert browser.patch("/api/v1/me", json=body, headers=own).status_code == 200


def test_our_own_parked_events_are_for_staff(house: House) -> None:
    path = "/api/v1/ops/gateway/dead-letters"
    assert house.logged_in(house.world.somebody("s@example.com", staff=True)).get(path).json()["items"] == []
    assert house.logged_in(house.world.somebody("a@example.com")).get(path).status_code == 403


def test_a_service_that_is_not_there_is_a_problem(house: House) -> None:
    browser = house.logged_in(house.world.somebody("s@example.com", staff=True))
    answer = browser.get("/api/v1/admin/mails")
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"


def test_only_our_own_proxy_names_the_client(open_house: Callable[..., House]) -> None:
    house = open_house(trusted_proxies="203.0.113.5, 10.0.0.0/8")
    browser = house.logged_in(house.world.somebody("a@example.com"))

    def ip(forwarded: str | None, **given: Any) -> str:
        headers = {"x-forwarded-for": forwarded} if forwarded is not None else {}
        return str(browser.get("/api/v1/me", headers=headers, **given).json()["user"]["ip"])

    assert ip("198.51.100.9") == "198.51.100.9"
    assert ip("1.1.1.1, 198.51.100.9") == "198.51.100.9"
    assert ip("nonsense") == "0.0.0.0"
    assert ip("2001:db8::1") == "2001:db8::1"
    assert ip("::ffff:198.51.100.9") == "198.51.100.9"
    assert ip(None) == "203.0.113.5"


@pytest.fixture
def remote(house: House) -> Iterator[tuple[House, str]]:
    """The same house, with the services behind sockets and the gateway itself served over one."""
    ready, stop = threading.Event(), threading.Event()
    ports: dict[str, int] = {}

    async def serve() -> None:
        services = {"identity": standins.identity(house.world), "provisioner": standins.provisioner(house.world)}
        servers = {name: HttpServer(app, "127.0.0.1", 0) for name, app in services.items()}
        for name, server in servers.items():
            ports[name] = await server.begin()
        known = house.service.app.state.services
        known.upstreams = {
            **known.upstreams,
            **{name: Upstream(name, url=f"http://127.0.0.1:{ports[name]}") for name in servers},
            "scheduler": Upstream("scheduler", url="http://127.0.0.1:9"),
        }
        gateway = HttpServer(house.service.app, "127.0.0.1", 0)
        ports["gateway"] = await gateway.begin()
        ready.set()
        await asyncio.to_thread(stop.wait)
        for server in (gateway, *servers.values()):
            await server.end()
        for name in (*servers, "scheduler"):
            await known.upstreams[name].close()
        await house.service.app.state.proxy.close()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    assert ready.wait(20)
    yield house, f"http://127.0.0.1:{ports['gateway']}"
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def test_over_sockets_answers_stream_and_end_with_the_client(remote: tuple[House, str]) -> None:
    house, url = remote
    who = house.world.somebody("a@example.com")
    headers = {"host": "youarecoder.localhost:8080", "cookie": f"session={house.world.log_in(who)[0]}"}
    with httpx.Client(base_url=url, headers=headers, timeout=10) as browser:
        assert browser.get("/api/v1/me").json()["user"]["email"] == who.email
        with browser.stream("GET", "/api/v1/workspaces/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.iter_lines()
            assert [next(lines) for _ in range(4)] == ["event: workspace", "data: 0", "", "event: workspace"]
            assert not house.world.streams_ended.is_set()
    for _ in range(100):
        if house.world.streams_ended.is_set():
            break
        threading.Event().wait(0.05)
    assert house.world.streams_ended.is_set()


def test_over_sockets_a_dead_service_is_502_and_a_long_body_413(remote: tuple[House, str]) -> None:
    house, url = remote
    who = house.world.somebody("a@example.com", staff=True)
    headers = {"host": "youarecoder.localhost:8080", "cookie": f"session={house.world.log_in(who)[0]}"}
    with httpx.Client(base_url=url, headers=headers, timeout=10) as browser:
        assert browser.get("/api/v1/admin/jobs").status_code == 502
        page = browser.get("/account", headers={"accept": "text/html"}).text
        token = {"x-csrf-token": token_in(page)}
        long = browser.patch("/api/v1/me", content=b"x" * 70_000, headers=token)
        assert long.status_code == 413
        chunked = browser.patch("/api/v1/me", content=(b"x" * 9_000 for _ in range(9)), headers=token)
        assert chunked.status_code == 413
