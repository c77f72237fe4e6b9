"""Routes through a real Traefik: who gets where on a workspace's host."""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import processes, traefik
from services.provisioner.routes_file import traefik_settings
from tests.provisioner.remembering_engine import RememberingEngine
from tests.provisioner.world import World, until

pytestmark = pytest.mark.e2e


class _Gateway(http.server.BaseHTTPRequestHandler):
    """Nobody may enter, and it says so in words a test can tell from an editor's."""

    def do_GET(self) -> None:
        body = b"gateway " + self.path.encode()
        self.send_response(401 if self.path == "/auth" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the parent's name for it)
        """Says nothing."""


@pytest.fixture
def gateway() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Gateway) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def edge(tmp_path: Path, gateway: str) -> Iterator[traefik.TraefikServer]:
    port = processes.free_port()
    server = traefik.start(tmp_path / "traefik", tmp_path / "routes", host="127.0.0.1", port=port)
    middlewares = {
        "workspace-auth": {"forwardAuth": {"address": f"{gateway}/auth"}},
        "from-outside": {"headers": {"customRequestHeaders": {"X-Probe": ""}}},
    }
    unknown = {"rule": "PathPrefix(`/`)", "priority": 1, "service": "gateway"}
    services = {"gateway": {"loadBalancer": {"servers": [{"url": gateway}]}}}
    content = {"http": {"routers": {"unknown": unknown}, "services": services, "middlewares": middlewares}}
    traefik.write_routes(tmp_path / "routes" / "platform.yml", content)
    yield server
    server.stop()


def get(edge: traefik.TraefikServer, host: str, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(edge.host, edge.port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": host, **{k.replace("_", "-"): v for k, v in headers.items()}})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_who_gets_where(
    edge: traefik.TraefikServer, new_world: Callable[..., World], remembering: RememberingEngine
) -> None:
    secret = "a-secret-only-the-provisioner-knows"
    url = f"http://{edge.host}:{edge.port}"
    world = new_world(remembering, subnet=remembering.subnet, traefik_url=url, probe_secret=secret)
    world.entitle()
    world.run()
    id_ = world.create()
    row = world.wait(id_, "running")
    host = f"{row.host}.workspaces.localhost"
    assert remembering.heard, "the editor was asked through its route"
    assert not [heard for heard in remembering.heard if any(name.lower() == "x-probe" for name in heard)]

    assert get(edge, host, "/") == (401, "gateway /auth")
    assert get(edge, host, "/healthz") == (401, "gateway /auth")
    assert get(edge, host, "/healthz", X_Probe="guess") == (401, "gateway /auth")
    assert get(edge, host, "/healthz/../", X_Probe=secret)[0] in (400, 401)
    assert get(edge, host, "/", X_Probe=secret) == (401, "gateway /auth")
    assert get(edge, host, "/healthz", X_Probe=secret)[0] == 200
    assert get(edge, host, "/.youarecoder/ticket?t=1") == (200, "gateway /.youarecoder/ticket?t=1")

    world.call("POST", f"/workspaces/{id_}/stop")
    world.wait(id_, "stopped")
    until(lambda: get(edge, host, "/") == (200, "gateway /"), 5)


def test_an_answer_of_another_route_is_not_taken_for_the_editors(
    edge: traefik.TraefikServer, new_world: Callable[..., World], remembering: RememberingEngine
) -> None:
    """The gateway answers 200 for every unknown host. Until Traefik has the route, that says nothing."""
    url = f"http://{edge.host}:{edge.port}"
    elsewhere = edge.routes_dir.parent / "elsewhere"
    world = new_world(
        remembering, subnet=remembering.subnet, traefik_url=url, routes_directory=elsewhere, start_seconds=0.5
    )
    world.entitle()
    world.run()
    id_ = world.create()
    assert world.wait(id_, "failed").cause == "route-missing"


def test_no_route_is_no_section() -> None:
    assert traefik_settings([], "workspaces.localhost", "secret") == {}
