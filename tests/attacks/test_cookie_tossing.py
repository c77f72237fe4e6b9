"""A workspace runs what its owner likes, also against the platform's cookies. In a real browser, whose rules decide."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import sync_playwright

PLATFORM, WORKSPACE = "youarecoder.localhost", "evil.workspaces.localhost"
"""As `make up` names them."""
DOMAINS = ("localhost", ".localhost", PLATFORM, f".{PLATFORM}", "workspaces.localhost", "")
NAMES = ("session", "__Host-session", "guest", "device", "language")


class Sites(BaseHTTPRequestHandler):
    """Both sites on one port: the platform with its own cookie, the workspace with its attack."""

    seen: list[str]

    def do_GET(self) -> None:  # the standard library's name
        here = self.headers["Host"].partition(":")[0]
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        if here == PLATFORM:
            self.seen.append(self.headers.get("Cookie", ""))
            if self.path == "/log-in":
                self.send_header("Set-Cookie", "session=mine; Path=/; HttpOnly; SameSite=lax")
        else:
            for name in NAMES:
                for domain in DOMAINS:
                    self.send_header("Set-Cookie", f"{name}=planted; Path=/" + (f"; Domain={domain}" if domain else ""))
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>x</title>")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def sites() -> Iterator[tuple[int, list[str]]]:
    """The port, and the Cookie header of each request to the platform."""
    seen: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Sites,), {"seen": seen}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("order", ["before log-in", "after log-in"])
def test_a_workspaces_page_plants_no_cookie_at_the_platform(chromium_path: str, order: str) -> None:
    plant = "; ".join(
        f"document.cookie = '{name}=planted; path=/{path}' + '{f'; domain={domain}' if domain else ''}'"
        for name in NAMES
        for domain in DOMAINS
        for path in ("", "account")
    )
    with sites() as (port, seen), sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        visits = [f"http://{PLATFORM}:{port}/log-in", f"http://{WORKSPACE}:{port}/"]
        for address in visits if order == "after log-in" else reversed(visits):
            page.goto(address)
            if WORKSPACE in address:
                page.evaluate(plant)
                assert "planted" in page.evaluate("document.cookie"), "its own host's cookies are its own business"
        page.goto(f"http://{PLATFORM}:{port}/account")
        browser.close()
    assert seen[-1] == "session=mine"
