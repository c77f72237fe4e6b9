"""Who enters a workspace: the whole table, over both protocols (lessons S1-S4, S6, S15)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from gateway import workspace_cookie
from gateway.tickets import Leave
from shared.events.identity import MemberRemoved, SessionRevoked
from shared.events.provisioner import WorkspaceDeleted, WorkspaceRequested
from shared.ids import new_id
from tests.gateway.conftest import PLATFORM, House
from tests.gateway.standins import Somebody

HOST = "box.workspaces.localhost:8080"
OWN = f"http://{HOST}"
NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "accept": "text/html"}
SOCKET = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13"}


@dataclass
class Scene:
    """An owner with a workspace `box` and the cookie that opens it."""

    house: House
    owner: Somebody
    workspace: UUID
    browser: TestClient
    traefik: TestClient
    cookie: str = ""

    def ask(
        self, cookie: str | None = None, host: str = HOST, method: str = "GET", all_cookies: str = "", **headers: str
    ) -> Response:
        """What the internal port answers Traefik."""
        told = {"x-forwarded-host": host, "x-forwarded-method": method, "x-forwarded-uri": "/?folder=/home"}
        if value := self.cookie if cookie is None else cookie:
            told["cookie"] = f"workspace-session={value}"
        if all_cookies:
            told["cookie"] = all_cookies
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.traefik.get("/forward-auth", headers={name: value.encode() for name, value in told.items()})  # type: ignore[misc]

    def ticket(self, browser: TestClient | None = None) -> str:
        """The address with a fresh ticket."""
        answer = (browser or self.browser).get(f"/workspaces/{self.workspace}/open")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def stranger(self, host: str = HOST) -> TestClient:
        """A browser at a workspace's host."""
        return self.house.new_browser(f"http://{host}")

    def enter(self, location: str) -> Response:
        """Follows a ticket."""
        parts = urlsplit(location)
        return self.stranger(parts.netloc).get(f"{parts.path}?{parts.query}")


@pytest.fixture
def scene(house: House) -> Scene:
    owner = house.world.somebody("a@example.com")
    workspace = house.world.workspace(owner, "box")
    known(house, owner, workspace, "box")
    made = Scene(house, owner, workspace, house.logged_in(owner), house.forward_auth())
    entered = made.enter(made.ticket())
    assert entered.status_code == 303
    made.cookie = entered.headers["set-cookie"].partition("=")[2].partition(";")[0]
    return made


def known(house: House, owner: Somebody, workspace: UUID, host: str) -> None:
    facts = {"company_id": owner.company_id, "workspace_id": workspace, "owner_id": owner.user_id}
    house.hear(WorkspaceRequested(**facts, name=host, host=host, template="plain"))


def test_the_owner_comes_in_with_a_cookie_of_this_host_alone(scene: Scene) -> None:
    location = scene.ticket()
    assert location.startswith(f"{OWN}/.youarecoder/enter?ticket=")
    answer = scene.enter(location)
    assert answer.headers["location"] == "/"
    assert answer.headers["referrer-policy"] == "no-referrer"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=43200" in cookie
    assert "domain" not in cookie.lower()
    assert scene.ask(sec_fetch_mode="navigate").status_code == 200


def test_over_https_no_sibling_can_plant_the_cookie(open_house: Callable[..., House]) -> None:
    house = open_house(public_url="https://youarecoder.example", workspaces_domain="workspaces.example")
    owner = house.world.somebody("a@example.com")
    workspace = house.world.workspace(owner, "box")
    browser = house.new_browser("https://youarecoder.example")
    browser.cookies.set("__Host-session", house.world.log_in(owner)[0], domain="youarecoder.example")
    location = browser.get(f"/workspaces/{workspace}/open").headers["location"]
    assert location.startswith("https://box.workspaces.example/.youarecoder/enter?")
    answer = house.new_browser("https://box.workspaces.example").get(location)
    assert answer.headers["set-cookie"].startswith("__Host-workspace=")
    assert "Secure" in answer.headers["set-cookie"]


def test_a_ticket_works_once(scene: Scene) -> None:
    location = scene.ticket()
    assert scene.enter(location).status_code == 303
    again = scene.enter(location)
    assert again.status_code == 410
    assert "set-cookie" not in again.headers


def test_a_reload_of_a_used_ticket_leads_on(scene: Scene) -> None:
    location = scene.ticket()
    browser = scene.stranger()
    assert browser.get(location).status_code == 303
    assert browser.get(location).headers["location"] == "/"


def test_a_ticket_dies_after_seconds(scene: Scene) -> None:
    location = scene.ticket()
    scene.house.clock.advance(timedelta(seconds=31))
    assert scene.enter(location).status_code == 410


def test_a_ticket_shown_at_another_host_is_burnt(scene: Scene) -> None:
    other = scene.house.world.workspace(scene.owner, "other")
    known(scene.house, scene.owner, other, "other")
    location = scene.ticket()
    stolen = location.replace("box.", "other.")
    assert scene.enter(stolen).status_code == 410
    assert scene.enter(location).status_code == 410


def test_a_ticket_of_an_ended_session_opens_nothing(scene: Scene) -> None:
    location = scene.ticket()
    revoke(scene)
    assert scene.enter(location).status_code == 410


@pytest.mark.parametrize("ticket", ["", "x", "a" * 43, "a" * 5000, "%00" * 30, "'; drop table tickets; --"])
def test_made_up_tickets_open_nothing(scene: Scene, ticket: str) -> None:
    assert scene.stranger().get("/.youarecoder/enter", params={"ticket": ticket}).status_code == 410


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_entering_leads_nowhere_else(scene: Scene, to: str) -> None:
    answer = scene.stranger().get(scene.ticket(), params={"to": to})
    assert "evil" not in answer.headers.get("location", "")


def test_others_get_no_ticket(scene: Scene) -> None:
    world = scene.house.world
    colleague = world.somebody("c@example.com", scene.owner.company_id, role="admin")
    stranger = world.somebody("s@example.com", staff=True)
    for who in (colleague, stranger):
        browser = scene.house.logged_in(who)
        assert browser.get(f"/workspaces/{scene.workspace}/open").status_code == 404
        assert browser.get("/workspaces/enter?host=box").status_code == 404
    anonymous = scene.house.new_browser().get(f"/workspaces/{scene.workspace}/open")
    assert anonymous.headers["location"].startswith("/log-in?next=%2Fworkspaces%2F")


def test_the_way_in_from_the_workspaces_own_address(scene: Scene) -> None:
    sent = scene.ask(cookie="", **NAVIGATION)
    assert sent.status_code == 302
    location = urlsplit(sent.headers["location"])
    assert f"{location.scheme}://{location.netloc}" == PLATFORM
    assert parse_qs(location.query) == {"host": ["box"], "to": ["/?folder=/home"]}
    ticket = scene.browser.get(f"{location.path}?{location.query}").headers["location"]
    assert scene.enter(ticket).headers["location"] == "/?folder=/home"


@pytest.mark.parametrize("host", ["", "unknown", "box.evil", "../box", "BOX%00", "x" * 100])
def test_unknown_hosts_give_no_ticket(scene: Scene, host: str) -> None:
    assert scene.browser.get("/workspaces/enter", params={"host": host}).status_code == 404


# ---- the internal port ----


def test_without_a_cookie_only_navigation_is_led_on(scene: Scene) -> None:
    assert scene.ask(cookie="", accept="text/html").status_code == 302
    assert scene.ask(cookie="", accept="*/*").status_code == 401
    assert scene.ask(cookie="", method="POST", **NAVIGATION).status_code == 401
    assert scene.ask(cookie="", **NAVIGATION, **SOCKET, origin=OWN).status_code == 401
    assert scene.ask(cookie="", **{**NAVIGATION, "sec-fetch-dest": "iframe"}).status_code == 401


def leave(scene: Scene, **changed: object) -> Leave:
    known = {
        "host": "box",
        "workspace_id": scene.workspace,
        "company_id": scene.owner.company_id,
        "user_id": scene.owner.user_id,
        "session_id": new_id(),
    }
    return Leave(**{**known, **changed})  # type: ignore[arg-type]


def cookie_for(scene: Scene, **changed: object) -> str:
    settings = scene.house.service.settings
    return workspace_cookie.make(settings, leave(scene, **changed), scene.house.clock.now())  # type: ignore[arg-type]


def test_a_cookie_opens_its_own_workspace_only(scene: Scene) -> None:
    other = scene.house.world.workspace(scene.owner, "other")
    known(scene.house, scene.owner, other, "other")
    assert scene.ask(cookie_for(scene)).status_code == 200
    assert scene.ask(host="other.workspaces.localhost").status_code == 401
    assert scene.ask(cookie_for(scene, host="other")).status_code == 401
    assert scene.ask(cookie_for(scene, host="other"), host="other.workspaces.localhost").status_code == 401
    assert scene.ask(cookie_for(scene, company_id=new_id())).status_code == 401
    assert scene.ask(cookie_for(scene, workspace_id=new_id())).status_code == 401


def test_no_part_of_a_cookie_can_be_changed(scene: Scene) -> None:
    parts = scene.cookie.split(".")
    for position in range(len(parts)):
        for change in ("x", "", parts[position][:-1], parts[position] + "0", "é"):
            altered = ".".join([*parts[:position], change, *parts[position + 1 :]])
            if altered != scene.cookie:
                assert scene.ask(altered).status_code == 401, altered
    assert scene.ask("x" * 10_000).status_code == 401


def test_a_cookie_signed_for_something_else_is_no_pass(scene: Scene) -> None:
    from gateway import signatures

    parts = scene.cookie.split(".")
    key = signatures.key(scene.house.service.settings)  # type: ignore[arg-type]
    other = signatures.sign(key, "guest", *parts[1:-1])
    assert scene.ask(".".join([*parts[:-1], other])).status_code == 401


def test_two_cookies_are_none(scene: Scene) -> None:
    """A sibling over plain http could plant a second one; which of them a server reads is chance."""
    both = f"workspace-session={scene.cookie}; workspace-session={cookie_for(scene)}"
    assert scene.ask(all_cookies=both).status_code == 401


def test_a_cookie_ages(scene: Scene) -> None:
    scene.house.clock.advance(timedelta(hours=11, minutes=59))
    assert scene.ask().status_code == 200
    scene.house.clock.advance(timedelta(minutes=1))
    assert scene.ask().status_code == 401


def revoke(scene: Scene) -> None:
    secret = scene.browser.cookies["session"]
    facts = {"company_id": scene.owner.company_id, "user_id": scene.owner.user_id}
    session_id = scene.house.world.sessions[secret][0]
    scene.house.hear(SessionRevoked(**facts, session_id=session_id, revoked_at=scene.house.clock.now()))


def test_a_log_out_closes_the_editor(scene: Scene) -> None:
    assert scene.ask().status_code == 200
    revoke(scene)
    assert scene.ask().status_code == 401
    assert scene.ask(**SOCKET, origin=OWN).status_code == 401


def test_who_left_the_company_is_out_and_may_be_invited_again(scene: Scene) -> None:
    scene.house.clock.advance(timedelta(minutes=1))
    scene.house.hear(MemberRemoved(company_id=scene.owner.company_id, user_id=scene.owner.user_id))
    assert scene.ask().status_code == 401
    scene.house.clock.advance(timedelta(minutes=1))
    assert scene.ask(cookie_for(scene)).status_code == 200


def test_a_deleted_workspace_is_closed_for_ever(scene: Scene) -> None:
    facts = {"company_id": scene.owner.company_id, "workspace_id": scene.workspace, "owner_id": scene.owner.user_id}
    gone = WorkspaceDeleted(**facts, name="box", host="box", deleted_at=scene.house.clock.now())
    scene.house.hear(gone)
    assert scene.ask().status_code == 401
    known(scene.house, scene.owner, scene.workspace, "box")
    assert scene.ask().status_code == 401


FOREIGN = [
    "https://evil.example",
    "http://other.workspaces.localhost:8080",
    PLATFORM,
    "null",
    "http://box.workspaces.localhost",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_sockets_and_writes_from_elsewhere_are_refused(scene: Scene, origin: str) -> None:
    assert scene.ask(**SOCKET, origin=origin).status_code == 403
    assert scene.ask(method="POST", origin=origin).status_code == 403
    assert scene.ask(method="DELETE", origin=origin, **NAVIGATION).status_code == 403
    assert scene.ask(method="GET", origin=origin, **{"sec-fetch-mode": "cors"}).status_code == 403


def test_sockets_and_writes_of_its_own_pass(scene: Scene) -> None:
    assert scene.ask(**SOCKET, origin=OWN).status_code == 200
    assert scene.ask(method="POST", origin=OWN).status_code == 200
    assert scene.ask(**SOCKET).status_code == 403
    assert scene.ask(method="POST").status_code == 403
    assert scene.ask(**SOCKET, **NAVIGATION).status_code == 403


def test_a_sibling_can_neither_read_nor_frame(scene: Scene) -> None:
    assert scene.ask(sec_fetch_site="same-site", sec_fetch_mode="no-cors").status_code == 403
    framed = {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    assert scene.ask(**framed).status_code == 403
    assert scene.ask(sec_fetch_site="cross-site", **NAVIGATION).status_code == 200
    assert scene.ask(sec_fetch_site="same-origin", sec_fetch_mode="cors").status_code == 200


def test_the_platforms_cookies_and_tokens_stop_here(scene: Scene) -> None:
    cookies = (
        f"a=1; session=secret; workspace-session={scene.cookie}; __Host-session=s; __Host-workspace=w; guest=g; "
        "__Host-guest=g; b=x=y; flag"
    )
    answer = scene.ask(all_cookies=cookies, authorization="Bearer platform")
    assert answer.status_code == 200
    assert answer.headers["cookie"] == "a=1; b=x=y; flag"
    assert "authorization" not in answer.headers
    assert "cookie" not in scene.ask().headers


@pytest.mark.parametrize(
    "host",
    [
        "",
        "box",
        "youarecoder.localhost",
        "workspaces.localhost",
        "a.box.workspaces.localhost",
        "evilworkspaces.localhost",
    ],
)
def test_only_workspace_hosts_are_asked_about(scene: Scene, host: str) -> None:
    assert scene.ask(host=host).status_code == 403


def test_a_host_is_compared_as_browsers_do(scene: Scene) -> None:
    assert scene.ask(host="BOX.Workspaces.LOCALHOST:8080").status_code == 200
    assert scene.ask(host="box.workspaces.localhost.").status_code == 200


def test_a_header_that_decides_must_not_come_twice(scene: Scene) -> None:
    told = [
        ("x-forwarded-host", HOST),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-method", "POST"),
        ("cookie", f"workspace-session={scene.cookie}"),
    ]
    assert scene.traefik.get("/forward-auth", headers=told).status_code == 403


def test_the_internal_port_answers_nothing_else_and_the_platform_not_that(scene: Scene) -> None:
    assert scene.traefik.get("/").status_code == 404
    assert scene.traefik.get("/dashboard").status_code == 404
    told = {"x-forwarded-host": HOST, "cookie": f"workspace-session={scene.cookie}"}
    assert scene.house.new_browser().get("/forward-auth", headers=told).status_code == 404
    assert scene.stranger().get("/forward-auth", headers=told).status_code in (302, 503)


# ---- the workspace's host, where the gateway itself answers ----


@pytest.mark.parametrize("path", ["/", "/dashboard", "/log-in", "/api/v1/me", "/billing/callback", "/static/app.css"])
def test_no_page_of_the_platform_exists_on_a_workspaces_host(scene: Scene, path: str) -> None:
    for host in ("unknown.workspaces.localhost:8080", "a.b.workspaces.localhost:8080", "workspaces.localhost:8080"):
        answer = scene.stranger(host).get(path)
        assert answer.status_code == 404
        assert "csrf" not in answer.text
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert scene.stranger(host).post(path, headers={"accept": "*/*"}).status_code == 404
    assert scene.house.world.callbacks == []


@pytest.mark.parametrize("path", ["/.youarecoder/", "/.youarecoder/x", "/.youarecoder/enter/", "/.youarecoder/..%2f"])
def test_in_our_folder_on_a_workspaces_host_is_the_way_in_and_nothing_else(scene: Scene, path: str) -> None:
    """Traefik leads this folder to us also while the workspace runs: "it does not run" would be untrue."""
    for accept in ("text/html", "*/*"):
        assert scene.stranger().get(path, headers={"accept": accept}).status_code == 404
    assert scene.stranger().post("/.youarecoder/enter").status_code == 404


def test_a_host_without_workspace_says_so_in_both_languages(scene: Scene) -> None:
    page = scene.stranger("unknown.workspaces.localhost:8080").get("/", headers={"accept-language": "tr-TR"})
    assert 'lang="tr"' in page.text
    assert f"{PLATFORM}/" in page.text


def test_a_stopped_workspace_shows_its_owner_the_way_to_start_it(scene: Scene) -> None:
    browser = scene.stranger()
    browser.cookies.set("workspace-session", scene.cookie, domain="box.workspaces.localhost")
    answer = browser.get("/")
    assert answer.status_code == 503
    assert f"{PLATFORM}/workspaces/{scene.workspace}" in answer.text
    anonymous = scene.stranger().get("/")
    assert anonymous.headers["location"] == f"{PLATFORM}/workspaces/enter?host=box"
    assert scene.stranger().get("/", headers={"accept": "*/*"}).status_code == 503


# ---- after a restart ----


def test_memory_is_filled_from_the_tables(scene: Scene, open_house: Callable[..., House]) -> None:
    """What a process missed while it was away, it reads: hosts, deletions, revocations, removals."""
    from gateway.handlers import HANDLERS
    from shared.messaging.consumer import Consumer
    from shared.messaging.envelope import Envelope

    facts = {"company_id": scene.owner.company_id, "workspace_id": scene.workspace, "owner_id": scene.owner.user_id}
    now = scene.house.clock.now()
    session_id = scene.house.world.sessions[scene.browser.cookies["session"]][0]
    told = [
        WorkspaceRequested(**facts, name="box", host="box", template="plain"),
        WorkspaceDeleted(**{**facts, "workspace_id": new_id()}, name="b", host="gone", deleted_at=now),
        SessionRevoked(company_id=new_id(), user_id=new_id(), session_id=session_id, revoked_at=now),
        MemberRemoved(company_id=new_id(), user_id=new_id()),
    ]
    consumer = Consumer(scene.house.service.database, HANDLERS, scene.house.clock)
    for event in told:
        envelope = Envelope(new_id(), event.type, "x", event.subject, now, 1, event.model_dump(mode="json"))
        consumer.receive([envelope.to_bytes(), envelope.to_bytes()])
    later = open_house()
    knowledge = later.service.app.state.knowledge
    place = knowledge.place("box")
    assert place is not None
    assert place.workspace_id == scene.workspace
    assert knowledge.place("gone") is None
    assert knowledge.is_revoked(session_id)
    assert knowledge.has_left(told[3].user_id, now)  # type: ignore[attr-defined]
    fresh = Scene(later, scene.owner, scene.workspace, later.browser, later.forward_auth(), scene.cookie)
    assert fresh.ask().status_code == 401
    assert fresh.ask(cookie_for(fresh)).status_code == 200


def test_a_gap_on_the_bus_is_caught_up_from_the_tables(scene: Scene) -> None:
    """A revocation told while the broker was away reaches only the durable queue; nothing cached outlives the gap."""
    from gateway.handlers import HANDLERS
    from shared.messaging.consumer import Consumer
    from shared.messaging.envelope import Envelope

    knowledge = scene.house.service.app.state.knowledge
    secret = scene.browser.cookies["session"]
    session_id = scene.house.world.sessions[secret][0]
    now = scene.house.clock.now()
    event = SessionRevoked(company_id=new_id(), user_id=scene.owner.user_id, session_id=session_id, revoked_at=now)
    envelope = Envelope(new_id(), event.type, "identity", event.subject, now, 1, event.model_dump(mode="json"))
    Consumer(scene.house.service.database, HANDLERS, scene.house.clock).receive([envelope.to_bytes()])
    assert scene.house.service.app.state.sessions.cached(secret) is not None
    assert not knowledge.is_revoked(session_id)
    on_gap = knowledge.subscription().on_gap
    assert on_gap is not None
    scene.house.call(on_gap)
    assert scene.house.service.app.state.sessions.cached(secret) is None
    assert knowledge.is_revoked(session_id)


def test_what_nobody_needs_any_more_is_swept(scene: Scene) -> None:
    from sqlalchemy import func, select

    from gateway import tickets
    from gateway.models import RevokedSession, Ticket

    scene.ticket()
    database = scene.house.service.database
    with database.unit_of_work() as work:
        work.add(RevokedSession(session_id=new_id(), revoked_at=scene.house.clock.now()))
    for hours, left in ((0, (1, 1)), (1, (0, 1)), (14, (0, 0))):
        with database.unit_of_work() as work:
            tickets.sweep(work, scene.house.clock.now() + timedelta(hours=hours))
            found = (
                work.scalar(select(func.count(Ticket.hash))),
                work.scalar(select(func.count(RevokedSession.session_id))),
            )
        assert found == left
