"""Every page in a real browser, in both languages, on a phone and on a desk, in light and in dark.

Nothing sticks out, nothing is refused by our own policy, everything can be read and has a name, and it is light.
`SHOTS=folder` keeps a picture of each.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from markupsafe import Markup
from playwright.sync_api import Browser, Page, sync_playwright

from gateway.headers import Policy
from gateway.rendering import Templates
from gateway.settings import Settings
from tests.browser import facts
from tests.browser.facts import CASES, Case
from tests.callers import PRIVATE_KEY, PUBLIC_KEY

TOKEN = "token-of-this-visitor"
FIELD = Markup('<input type="hidden" name="csrf_token" value="token-of-this-visitor">')
SIZES = {"phone": (390, 844), "desk": (1280, 800)}
LIGHTEST = 150_000
EVERY = (("tr", "phone", "light"), ("en", "desk", "dark"), ("tr", "desk", "light"), ("en", "phone", "dark"))
MEASURE = (Path(__file__).parent / "measure.js").read_text()


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
            return
        if url.path.startswith("/api/"):
            return self._answer(200, "application/json", b'{"status": "pending"}')
        case = CASES.get(query.get("case", ""))
        if case is None:
            return self._answer(200, "text/html", b"<!doctype html><html lang=en><title>x</title><p>frame</p>")
        text = render(self.templates, case, query["language"])
        headers = {"Content-Security-Policy": case.policy.text(self.templates.settings)}
        if case.who == "host":
            own = self.templates.settings.public_url
            headers["Content-Security-Policy"] = f"default-src 'none'; style-src {own}; base-uri 'none'; form-action 'none'"
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


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    Pages.templates = Templates(settings(server.server_port))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def chromium(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


def visit(browser: Browser, site: str, name: str, language: str, size: str, scheme: str, faults: list[str]) -> Page:
    """Opens a case and listens for what the browser complains about."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
    )
    page = context.new_page()
    page.on("console", lambda told: faults.append(told.text) if told.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.route("**/*", lambda route: route.continue_() if route.request.url.startswith(site) else route.abort())
    page.goto(f"{site}{CASES[name].path}{'&' if '?' in CASES[name].path else '?'}case={name}&language={language}", wait_until="load")
    return page


@pytest.mark.e2e
@pytest.mark.parametrize("name", CASES)
def test_every_page_can_be_read_everywhere(chromium: Browser, site: str, name: str) -> None:
    if name == "payment-framed":
        pytest.skip("leaves its frame at once; the browser's story walks that way")
    wrong: list[str] = []
    folder = os.environ.get("SHOTS")
    for language, size, scheme in EVERY if folder else EVERY[:2]:
        faults: list[str] = []
        page = visit(chromium, site, name, language, size, scheme, faults)
        found: list[str] = page.evaluate(MEASURE)
        wrong += [f"{language} {size} {scheme}: {fault}" for fault in faults + found]
        if page.locator("html").get_attribute("lang") != language:
            wrong.append("the page does not say its language")
        if folder:
            page.screenshot(path=f"{folder}/{name}-{language}-{size}-{scheme}.png", full_page=True)
        page.context.close()
    assert not wrong, "\n".join(dict.fromkeys(wrong))


@pytest.mark.e2e
def test_the_look_finds_what_is_wrong(chromium: Browser) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 800})
    page.set_content('<main><p style="color:#aaa;width:900px">Pale</p><input name="x"><a href="/"></a><b id="i"></b><b id="i"></b></main>')
    found = "\n".join(page.evaluate(MEASURE))
    page.close()
    for fault in ("hard to read", "sticks out", "no label: x", "no name", "id twice: i", "0 first headings"):
        assert fault in found


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("language", ["tr", "en"])
def test_every_page_is_light_and_every_form_has_its_token(name: str, language: str) -> None:
    templates = Templates(settings(1))
    text = render(templates, CASES[name], language)
    urls = set(re.findall(r'"(?:http://127\.0\.0\.1:1)?(/static/[^"]+)"', text))
    assets = [templates.assets.find(url) for url in urls]
    assert all(assets), "a page names a file that is not there"
    assert len(text.encode()) + sum(len(asset.body) for asset in assets if asset) < LIGHTEST
    forms = re.findall(r'<form[^>]*method="post".*?</form>', text, re.S)
    assert all(str(FIELD) in form for form in forms)
    assert len(re.findall(r'method="post"', text)) == len(forms)
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*\ssrc=)", text), "our own policy would refuse this"


def test_a_policy_for_every_kind_of_page() -> None:
    assert {case.policy for case in CASES.values()} >= {Policy.PAGE, Policy.PAYMENT, Policy.PAYMENT_RESULT}


def test_every_template_is_looked_at() -> None:
    folder = Path(facts.__file__).parents[2] / "gateway" / "templates"
    parts = {"base.html", "public.html", "inside.html", "macros.html", "words.html", "icons.html", "places.html", "stages.html", "admin_ways.html", "editor_picture.html"}
    assert {path.name for path in folder.glob("*.html")} - parts == {case.template for case in CASES.values()}
