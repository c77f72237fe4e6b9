"""A gateway with a real database, in front of stand-ins that keep the contract."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.types import ASGIApp

from gateway.app import build
from gateway.forward_auth import forward_auth_app
from gateway.settings import Settings
from shared.clock import ManualClock
from shared.messaging.envelope import Envelope
from shared.migrate import migrate
from shared.service import Service
from shared.upstream import Upstream
from tests.callers import PRIVATE_KEY, PUBLIC_KEY, START
from tests.gateway import standins
from tests.gateway.standins import PASSWORD, Somebody, World
from tests.infrastructure import Databases, TestDatabase

PLATFORM = "http://youarecoder.localhost:8080"
DOMAIN = "workspaces.localhost"
CLIENT = ("203.0.113.5", 40_000)


@dataclass
class House:
    """The gateway under test and what is around it."""

    service: Service
    world: World
    clock: ManualClock
    browser: TestClient
    _more: list[TestClient] = field(default_factory=list)

    def new_browser(self, base_url: str = PLATFORM, client: tuple[str, int] = CLIENT) -> TestClient:
        """Another browser, without cookies."""
        made = TestClient(
            self.service.app,
            base_url=base_url,
            client=client,
            follow_redirects=False,
            raise_server_exceptions=False,
            headers={"accept": "text/html", "accept-language": "en"},
        )
        # All share the loop of the first: memory belongs to one loop.
        made.portal = self.browser.portal
        return made

    def logged_in(self, who: Somebody) -> TestClient:
        """A browser with a session of this person."""
        browser = self.new_browser()
        browser.cookies.set(self.session_cookie, self.world.log_in(who)[0], domain="youarecoder.localhost")
        return browser

    @property
    def session_cookie(self) -> str:
        """The session cookie's name here."""
        return "__Host-session" if self.service.settings.public_url.startswith("https") else "session"

    def call(self, function: Callable[..., Any], *given: Any) -> Any:
        """Runs something async of the gateway's on its loop."""
        assert self.browser.portal is not None
        return self.browser.portal.call(function, *given)

    def hear(self, event: Any) -> None:
        """An event, as every process hears it."""
        now = self.clock.now()
        from shared.ids import new_id

        data = event.model_dump(mode="json")
        envelope = Envelope(new_id(), event.type, "x", event.subject, now, 1, data)
        self.call(self.service.app.state.knowledge.hear, [envelope.to_bytes()])

    def forward_auth(self) -> TestClient:
        """A client of the internal port, as Traefik."""
        settings: Any = self.service.settings
        app: ASGIApp = forward_auth_app(settings, self.service.app.state.knowledge, self.clock)
        return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)


def token_in(page: str) -> str:
    """The form token of a page."""
    match = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert match, page[:300]
    return match.group(1)


def log_in(browser: TestClient, email: str, password: str = PASSWORD, **more: str) -> Any:
    """Logs in by the form."""
    token = token_in(browser.get("/log-in").text)
    return browser.post("/log-in", data={"email": email, "password": password, "csrf_token": token, **more})


def _migrate(database: TestDatabase) -> None:
    made = build(settings_for(database), {})
    migrate(made.database, "gateway")
    made.database.close()


def settings_for(database: TestDatabase, **given: Any) -> Settings:
    """The gateway's settings for a test's database."""
    known = {
        "database_url": database("gateway"),
        "token_public_key": PUBLIC_KEY,
        "signing_key": PRIVATE_KEY,
        "cookie_key": "a test's own key, long enough for a key",
        "public_url": PLATFORM,
        "workspaces_domain": DOMAIN,
        "paytr_browser_url": "http://paytr.localhost:8090",
    }
    return Settings(**{**known, **given})


@pytest.fixture
def gateway_database(databases: Databases) -> Iterator[TestDatabase]:
    made = databases.new("gateway", _migrate)
    yield made
    databases.drop(made)


@pytest.fixture
def open_house(gateway_database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., House]]:
    """Makes a house with settings of one's own."""
    opened: list[tuple[House, Any]] = []

    def make(**given: Any) -> House:
        settings = settings_for(gateway_database, **{"rate_scale": 10.0, **given})
        clock = ManualClock(START)
        settings.__dict__["clock"] = clock
        world = World(settings)
        upstreams = {
            "identity": Upstream("identity", app=standins.identity(world)),
            "billing": Upstream("billing", app=standins.billing(world)),
            "provisioner": Upstream("provisioner", app=standins.provisioner(world)),
        }
        service = build(settings, upstreams)
        browser = TestClient(
            service.app,
            base_url=settings.public_url,
            client=CLIENT,
            follow_redirects=False,
            raise_server_exceptions=False,
            headers={"accept": "text/html", "accept-language": "en"},
        )
        browser.__enter__()
        house = House(service, world, clock, browser)
        opened.append((house, upstreams))
        house.call(service.start)
        return house

    yield make
    for house, upstreams in opened:
        house.call(house.service.close)
        for upstream in upstreams.values():
            house.call(upstream.close)
        house.browser.__exit__(None, None, None)
        house.service.database.close()


@pytest.fixture
def house(open_house: Callable[..., House]) -> House:
    return open_house()
