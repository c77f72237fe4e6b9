"""The whole story in a real browser: sign up, confirm by mail, a workspace that starts before one's eyes, VS Code,
a file written in its terminal that survives stop and start, then the Team plan paid in PayTR's frame.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.journeys.person import PASSWORD
from tests.journeys.platform import RunningPlatform, eventually
from tests.journeys.test_first_workspace import run_inside

pytestmark = pytest.mark.e2e

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
LOCALE = {"embedded": "tr-TR", "separate": "en-GB"}
PATIENCE = 60_000
"""Milliseconds; the machine may be busy with other tests."""


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(request: pytest.FixtureRequest, browser: Browser, platform: RunningPlatform) -> Iterator[BrowserContext]:
    """A new visitor with an empty profile, who reads Turkish on the one shape and English on the other."""
    context = browser.new_context(
        locale=LOCALE[platform.shape], base_url=platform.url, viewport={"width": 1280, "height": 900}
    )
    context.set_default_timeout(PATIENCE)
    failed = request.session.testsfailed
    yield context
    if request.session.testsfailed > failed:
        for number, page in enumerate(context.pages):
            page.screenshot(path=f"test-results/{request.node.name}-{number}.png")
    context.close()


def fill(page: Page, action: str, **fields: str) -> None:
    """Types into the fields of a form and presses its button."""
    form = page.locator(f'form[action="{action}"]').first
    for name, value in fields.items():
        form.locator(f'[name="{name}"]').fill(value)
    form.locator('button:not([type="button"])').last.click()


def sign_up(page: Page, platform: RunningPlatform, email: str) -> None:
    """From the landing page to the dashboard, through the mail."""
    page.goto("/")
    page.locator('a[href^="/sign-up"]').first.click()
    fill(page, "/sign-up", company_name="Martı Yazılım", name="İpek Şahin", email=email, password=PASSWORD)
    expect(page.locator("body")).to_contain_text(email)
    mail = platform.mail(email, "")
    link = re.search(r"https?://\S+/verify\?token=\S+", mail["text"])
    assert link
    page.goto(link[0])
    fill(page, "/verify")
    page.wait_for_url("**/dashboard*")


def open_editor(page: Page, visitor: BrowserContext) -> Page:
    """Presses “open”; the editor comes in a tab of its own, or in this one."""
    opener = page.locator('a[href$="/open"]').first
    expect(opener).to_be_visible(timeout=PATIENCE)
    if opener.get_attribute("target") == "_blank":
        with visitor.expect_page() as opened:
            opener.click()
        editor = opened.value
    else:
        opener.click()
        editor = page
    editor.wait_for_selector(".monaco-workbench", timeout=PATIENCE)
    return editor


def type_in_terminal(editor: Page, command: str) -> None:
    """Opens VS Code's terminal and types a command."""
    terminal = editor.locator(".xterm:visible").first

    def opened() -> bool:
        # The workbench shows before it listens to keys.
        editor.locator(".monaco-workbench .part.editor").click()
        editor.keyboard.press("Control+Shift+Backquote")
        with contextlib.suppress(PlaywrightTimeout):
            terminal.wait_for(timeout=10_000)
        return terminal.is_visible()

    eventually(opened, "the terminal opens", patience=150)
    editor.wait_for_timeout(1_000)  # the shell's prompt
    terminal.locator(".xterm-helper-textarea").focus()
    editor.keyboard.type(command + "\n", delay=20)


def ask(page: Page, path: str) -> dict[str, Any]:
    """What the API says to the page's own session."""
    answer: dict[str, Any] = page.evaluate("async path => (await fetch(path)).json()", path)
    return answer


def test_from_landing_page_to_editor_to_paid_plan(
    visitor: BrowserContext, platform: RunningPlatform, docker_engine: docker.DockerClient
) -> None:
    email = f"browser-{secrets.token_hex(5)}@example.com"
    page = visitor.new_page()
    sign_up(page, platform, email)

    page.locator('a[href="/workspaces/new"]').first.click()
    fill(page, "/workspaces/new", name="deniz-feneri")
    page.wait_for_url(re.compile(r"/workspaces/[0-9a-f-]{36}"))
    workspace_id = re.findall(r"/workspaces/([0-9a-f-]{36})", page.url)[0]

    editor = open_editor(page, visitor)
    assert ".workspaces.localhost" in editor.url
    assert all(cookie["name"] not in ("session", "__Host-session") for cookie in visitor.cookies(editor.url))
    type_in_terminal(editor, "echo kept > ~/kept.txt")
    eventually(
        lambda: "kept" in run_inside(docker_engine, workspace_id, ["sh", "-c", "cat ~/kept.txt 2>/dev/null || true"]),
        "the file written in the terminal exists",
    )
    if editor is not page:
        editor.close()

    page.goto(f"/workspaces/{workspace_id}")
    page.locator(f'form[action="/workspaces/{workspace_id}/stop"] button:visible').first.click()
    eventually(
        lambda: ask(page, f"/api/v1/workspaces/{workspace_id}")["state"] == "stopped", "the workspace has stopped"
    )
    start = page.locator(f'form[action="/workspaces/{workspace_id}/start"] button:visible').first
    expect(start).to_be_visible(timeout=PATIENCE)  # the page learnt it by itself
    start.click()
    eventually(
        lambda: ask(page, f"/api/v1/workspaces/{workspace_id}")["state"] == "running", "the workspace runs again"
    )
    assert run_inside(docker_engine, workspace_id, ["sh", "-c", "cat ~/kept.txt"]).strip() == "kept"

    page.goto("/billing/")
    page.locator('form[action="/billing/subscribe/team"] button:visible').first.click()
    expect(page.locator("body")).to_contain_text(re.compile(r"2[.,]970[.,]00"))
    frame = page.frame_locator("#paytriframe")
    frame.locator("button.main").click(timeout=PATIENCE)
    frame.locator("form button").first.click(timeout=PATIENCE)
    page.wait_for_url("**/billing/payment/success*", timeout=PATIENCE)
    eventually(lambda: ask(page, "/api/v1/subscription")["status"] == "active", "the plan is active")
    page.goto("/dashboard")
    expect(page.locator("body")).to_contain_text("20")
    expect(page.locator("body")).to_contain_text("Team")
    platform.mail(email, "2.970,00" if platform_language(page) == "tr" else "2,970.00")


def platform_language(page: Page) -> str:
    """The language the page is written in."""
    return page.locator("html").get_attribute("lang") or ""
