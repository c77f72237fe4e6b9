"""The doors as they are: a real Traefik with our fixed routes, the gateway over sockets, something as the editor."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from deploy import certificates
from deploy.local import processes, traefik
from gateway.traefik import platform_routes
from shared.events.provisioner import WorkspaceRequested
from shared.service import HttpServer
from tests.gateway.conftest import House

pytestmark = pytest.mark.e2e


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells what reached the container."""
    if scope["type"] == "http":
        told = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})


@dataclass
class Edge:
    """Traefik's port and the house behind it."""

    house: House
    port: int

    def get(self, host: str, path: str = "/", method: str = "GET", **headers: str) -> httpx.Response:
        """One request from outside to a host."""
        told = {"host": f"{host}:{self.port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.request(method, f"http://127.0.0.1:{self.port}{path}", headers=told, timeout=10)


@pytest.fixture(params=["over TLS and HTTP/2", "over plain HTTP"])
def edge(request: pytest.FixtureRequest, open_house: Callable[..., House], tmp_path: Path) -> Iterator[Edge]:
    port = processes.free_port()
    internal = {}
    if request.param == "over TLS and HTTP/2":
        internal = {"auth_certificate": tmp_path / "auth.pem", "auth_key": tmp_path / "auth-key.pem"}
        certificates.ensure(*internal.values(), ["127.0.0.1"])
    house = open_house(public_url=f"http://youarecoder.localhost:{port}", trusted_proxies="127.0.0.1", **internal)
    ports: dict[str, int] = {}
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        servers = {"gateway": HttpServer(house.service.app, "127.0.0.1", 0), "editor": HttpServer(echo, "127.0.0.1", 0)}
        for name, server in servers.items():
            ports[name] = await server.begin()
        ready.set()
        await asyncio.to_thread(stop.wait)
        for server in servers.values():
            await server.end()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    assert ready.wait(20)
    routes = tmp_path / "routes"
    routes.mkdir()
    settings: Any = house.service.settings
    auth = f"127.0.0.1:{house.service.app.state.auth_port}"
    gateway = f"http://127.0.0.1:{ports['gateway']}"
    traefik.write_routes(routes / "platform.yml", platform_routes(settings, gateway, auth))
    traefik.write_routes(routes / "workspaces.yml", provisioned(ports["editor"]))
    server = traefik.start(tmp_path / "traefik", routes, host="127.0.0.1", port=port)
    made = Edge(house, port)
    try:
        for _ in range(100):
            if made.get("youarecoder.localhost", accept="text/html").status_code == 200:
                break
            threading.Event().wait(0.05)
        yield made
    finally:
        server.stop()
        stop.set()
        thread.join(20)


def provisioned(port: int) -> dict[str, Any]:
    """What the provisioner writes for one workspace (the contract's two routers)."""
    rule = "Host(`box.workspaces.localhost`)"
    routers = {
        "box": {"rule": rule, "service": "box", "middlewares": ["workspace-auth@file"]},
        "box-door": {"rule": f"{rule} && PathPrefix(`/.youarecoder/`)", "service": "gateway@file"},
    }
    return {
        "http": {
            "routers": routers,
            "services": {"box": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}}},
        }
    }


def test_from_the_dashboard_to_the_editor_and_what_it_gets_to_see(edge: Edge) -> None:
    world = edge.house.world
    owner = world.somebody("a@example.com")
    workspace = world.workspace(owner, "box")
    facts = {"company_id": owner.company_id, "workspace_id": workspace, "owner_id": owner.user_id}
    edge.house.hear(WorkspaceRequested(**facts, name="box", host="box", template="plain"))
    session = f"session={world.log_in(owner)[0]}"

    shut = edge.get("box.workspaces.localhost", "/x", accept="text/html", sec_fetch_mode="navigate")
    assert shut.status_code == 302
    assert shut.headers["location"] == f"http://youarecoder.localhost:{edge.port}/workspaces/enter?host=box&to=%2Fx"
    path = shut.headers["location"].partition(f":{edge.port}")[2]
    ticket = edge.get("youarecoder.localhost", path, cookie=session).headers["location"]
    assert ticket.startswith(f"http://box.workspaces.localhost:{edge.port}/.youarecoder/enter?")
    entered = edge.get("box.workspaces.localhost", ticket.partition(f":{edge.port}")[2])
    assert entered.headers["location"] == "/x"
    cookie = entered.headers["set-cookie"].partition(";")[0]

    inside = edge.get(
        "box.workspaces.localhost", "/x", cookie=f"mine=1; {cookie}; {session}", authorization="Bearer platform's"
    )
    seen = dict(inside.json())
    assert seen["cookie"] == "mine=1"
    assert "authorization" not in seen
    only_ours = edge.get("box.workspaces.localhost", "/", cookie=cookie)
    assert "cookie" not in dict(only_ours.json())


def test_nobody_talks_past_the_door(edge: Edge) -> None:
    owner = edge.house.world.somebody("a@example.com")
    workspace = edge.house.world.workspace(owner, "box")
    facts = {"company_id": owner.company_id, "workspace_id": workspace, "owner_id": owner.user_id}
    edge.house.hear(WorkspaceRequested(**facts, name="box", host="box", template="plain"))
    smuggled = {"x_forwarded_host": "other.workspaces.localhost", "x_forwarded_method": "GET", "x_forwarded_uri": "/"}
    host = "box.workspaces.localhost"
    assert edge.get(host, accept="*/*", **smuggled).status_code == 401
    assert edge.get(host, method="POST", **smuggled).status_code == 401
    assert edge.get(host, connection="upgrade", upgrade="websocket", sec_websocket_key="x").status_code == 401
    assert edge.get(host, "/.youarecoder/../x").status_code in (400, 401, 404)
    assert edge.get(host, "/.youarecoder/%2e%2e/x", accept="*/*").status_code in (400, 401, 404, 503)


def test_hosts_without_a_workspace_and_other_names(edge: Edge) -> None:
    gone = edge.get("nobody.workspaces.localhost", accept="text/html")
    assert gone.status_code == 404
    assert "csrf" not in gone.text
    other = edge.get("127.0.0.1", "/team")
    assert other.headers["location"] == f"http://youarecoder.localhost:{edge.port}/team"
    assert edge.get("127.0.0.1", "/billing/callback", method="POST").text == "OK"


def test_the_client_is_who_traefik_saw(edge: Edge) -> None:
    who = edge.house.world.somebody("a@example.com")
    cookie = f"session={edge.house.world.log_in(who)[0]}"
    told = edge.get(
        "youarecoder.localhost", "/api/v1/me", cookie=cookie, x_forwarded_for="9.9.9.9", x_real_ip="9.9.9.9"
    )
    assert told.json()["user"]["ip"] == "127.0.0.1"
