"""The pages of `facts.py`, served with the policy each has, without anything behind them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from markupsafe import Markup

from gateway.rendering import Templates
from gateway.settings import Settings
from tests.browser import facts
from tests.browser.facts import CASES, Case
from tests.callers import PRIVATE_KEY, PUBLIC_KEY

TOKEN = "token-of-this-visitor"
FIELD = Markup('<input type="hidden" name="csrf_token" value="token-of-this-visitor">')


def settings(port: int) -> Settings:
    """A gateway's settings, as far as pages look at them."""
    return Settings(
        database_url="postgresql://nobody@127.0.0.1:1/none",
        public_url=f"http://127.0.0.1:{port}",
        workspaces_domain="workspaces.localhost",
        token_public_key=PUBLIC_KEY,
        signing_key=PRIVATE_KEY,
        cookie_key="k" * 40,
    )  # type: ignore[call-arg]  # the rest has defaults or comes from the environment


class Pages(BaseHTTPRequestHandler):
    """Renders a case; answers what pages ask for."""

    templates: Templates

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path.startswith("/static/"):
            asset = self.templates.assets.find(url.path)
            assert asset is not None
            return self._answer(200, asset.media_type, asset.body)
        if url.path == "/api/v1/workspaces/events":
            self._answer(200, "text/event-stream", b": nothing\n\n", keep=True)
            return None
        if url.path.startswith("/api/"):
            return self._answer(200, "application/json", b'{"status": "pending"}')
        case = CASES.get(query.get("case", ""))
        if case is None:
            return self._answer(200, "text/html", b"<!doctype html><html lang=en><title>x</title><p>frame</p>")
        text = render(self.templates, case, query["language"])
        headers = {"Content-Security-Policy": case.policy.text(self.templates.settings)}
        if case.who == "host":
            own = self.templates.settings.public_url
            headers["Content-Security-Policy"] = f"default-src 'none'; style-src {own}"
        return self._answer(200, "text/html; charset=utf-8", text.encode(), headers)

    def _answer(
        self, status: int, media_type: str, body: bytes, headers: dict[str, str] | None = None, *, keep: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if keep:
            self.wfile.flush()
            time.sleep(1.5)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the parent's own name
        """Quiet."""


def render(templates: Templates, case: Case, language: str) -> str:
    """As gateway.rendering.render does, without a request."""
    if case.who == "host":
        return templates.render(language, case.template, case.facts)
    session = None
    if case.who != "nobody":
        role = "member" if case.who == "member" else "admin"
        session = facts.session(role=role, staff=case.who == "staff", language=language)
    common = {
        "session": session, "csrf_token": TOKEN, "csrf_field": FIELD, "path": case.path, "now": facts.NOW,
        "done": case.done, "correlation_id": "0af7651916cd43dd8448eb211c80319c",
    }  # fmt: skip
    return templates.render(language, case.template, {**common, **case.facts})


@contextmanager
def served() -> Iterator[str]:
    """The site's address while it is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    Pages.templates = Templates(settings(server.server_port))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def address(site: str, name: str, language: str) -> str:
    """Where a case is shown: the path the page believes in, and which case it is."""
    path = CASES[name].path
    return f"{site}{path}{'&' if '?' in path else '?'}case={name}&language={language}"
