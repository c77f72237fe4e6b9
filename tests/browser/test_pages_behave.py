"""What the pages' own scripts do: live states, one thing for a double click, dialogs, keys, the payment's dialog."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser import facts
from tests.browser.facts import CASES, OPENED, Case, payment, result, workspace
from tests.browser.pages_server import address

pytestmark = pytest.mark.e2e
EVENTS = "**/api/v1/workspaces/events"


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    made = chromium.new_page(viewport={"width": 1280, "height": 800}, locale="en-US")
    made.set_default_timeout(10_000)
    yield made
    made.close()


def tell(page: Page, changed: dict[str, Any]) -> None:
    """What the stream of workspaces says."""
    body = f"retry: 60000\nevent: workspace\ndata: {json.dumps(changed)}\n\n"
    page.route(EVENTS, lambda route: route.fulfill(content_type="text/event-stream", body=body))


def show_next(page: Page, site: str, name: str) -> None:
    """From now on this case is what the server renders for scripts that ask."""
    there = address(site, name, "en")
    page.route("**/*", lambda route: route.continue_(url=there) if asks_for_page(route) else route.fallback())


def asks_for_page(route: Route) -> bool:
    """A script's fetch of the page itself."""
    request = route.request
    return request.resource_type == "fetch" and request.method == "GET" and "/api/" not in request.url


def test_a_state_changes_on_the_page_by_itself(page: Page, pages_site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    later = facts.page(workspace(1, "calm-otter", "stopped"), workspace(2, "mavi-turna", "running", 5))
    monkeypatch.setitem(CASES, "later", Case("dashboard.html", "/dashboard", {**facts.DASHBOARD, "workspaces": later}))
    show_next(page, pages_site, "later")
    tell(page, workspace(2, "mavi-turna", "running", 5))
    page.goto(address(pages_site, "dashboard", "en"))
    row = page.locator(f'[data-workspace="{facts.ID % 2}"]')
    expect(row).to_contain_text("Running", timeout=2_000)
    expect(row.locator('a[href$="/open"]')).to_have_attribute("target", "_blank")
    expect(page.locator("#said")).to_contain_text("mavi-turna: Running")


def test_what_is_known_is_not_asked_again(page: Page, pages_site: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.resource_type == "fetch" else None)
    tell(page, workspace(2, "mavi-turna", "starting", 2))
    page.goto(address(pages_site, "dashboard", "en"))
    page.wait_for_timeout(500)
    assert not asked


def test_a_new_workspace_that_runs_offers_its_editor(page: Page, pages_site: str) -> None:
    show_next(page, pages_site, "workspace-running")
    tell(page, workspace(2, "mavi-turna", "running", 5))
    page.goto(address(pages_site, "workspace-starting", "en"))
    opener = page.get_by_role("link", name="Open the editor")
    expect(opener).to_be_visible(timeout=2_000)
    expect(opener).to_be_focused()


def test_a_double_click_sends_once_and_back_unlocks(page: Page, pages_site: str) -> None:
    sent: list[str | None] = []

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            sent.append(route.request.post_data)
            route.fulfill(status=204)  # stays on the page
        else:
            route.fallback()

    page.route("**/forgot*", answer)
    page.goto(address(pages_site, "forgot", "en"))
    page.fill("#email", "isil@ornek.com.tr")
    button = page.get_by_role("button", name="Send the link")
    button.dblclick()
    expect(button).to_be_disabled()
    assert len(sent) == 1
    assert "email=isil%40ornek.com.tr" in str(sent[0])
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(button).to_be_enabled()


def test_a_button_that_says_what_still_says_it(page: Page, pages_site: str) -> None:
    sent: list[str | None] = []
    page.route("**/billing/cancel", lambda route: (sent.append(route.request.post_data), route.fulfill(status=204)))
    page.goto(address(pages_site, "billing", "en"))
    page.get_by_text("Cancel the subscription").click()
    page.get_by_role("button", name="Cancel at the end").click()
    page.wait_for_timeout(200)
    assert "at=period_end" in str(sent)


def test_a_deletion_is_asked_twice_and_says_until_when_it_can_be_undone(page: Page, pages_site: str) -> None:
    sent: list[str] = []
    page.route("**/delete", lambda route: (sent.append(route.request.url), route.fulfill(status=204)))
    page.goto(address(pages_site, "workspace-failed", "en"))
    first = page.locator("summary", has_text="Delete")
    first.focus()
    page.keyboard.press("Enter")
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("It can be undone for 7 days, until Nov 29, 2026, 12:30\u202fPM.")
    page.keyboard.press("Escape")
    expect(asked).to_have_count(0)
    expect(first).to_be_focused()
    assert sent == []
    page.keyboard.press("Enter")
    asked.get_by_role("button", name="Delete").focus()
    page.keyboard.press("Enter")
    expect(asked.get_by_role("button", name="Delete")).to_be_disabled()
    assert len(sent) == 1


def test_a_workspaces_further_actions_need_no_mouse(page: Page, pages_site: str) -> None:
    page.goto(address(pages_site, "dashboard", "en"))
    more = page.get_by_label("More for calm-otter")
    more.focus()
    page.keyboard.press("Enter")
    for name in ("Restart", "Rename", "Delete"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent.trim()") == name
    page.keyboard.press("Escape")
    expect(page.locator("details.menu[open]")).to_have_count(0)
    expect(more).to_be_focused()
    more.click()
    page.get_by_label("More for bright-falcon").click()
    expect(page.locator("details.menu[open]")).to_have_count(1)
    page.locator("h1").click()
    expect(page.locator("details.menu[open]")).to_have_count(0)


def test_an_open_menu_stays_open_when_the_list_changes(
    page: Page, pages_site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = facts.page(workspace(1, "renamed-otter", "running", 5), workspace(2, "mavi-turna", "running", 5))
    monkeypatch.setitem(CASES, "later", Case("dashboard.html", "/dashboard", {**facts.DASHBOARD, "workspaces": later}))
    page.goto(address(pages_site, "dashboard", "en"))
    page.get_by_label("More for calm-otter").click()
    show_next(page, pages_site, "later")
    tell(page, workspace(1, "renamed-otter", "running", 5))
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(page.get_by_label("More for renamed-otter")).to_be_focused()
    expect(page.locator("details.menu[open]")).to_contain_text("Restart")


def test_another_name_and_a_deletion_are_seen_in_every_tab(
    page: Page, pages_site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = workspace(2, "kuzey-yildizi", "failed", 3, cause=facts.MEMORY)
    monkeypatch.setitem(CASES, "later", Case("workspace.html", facts.WORKSPACE, facts.one_workspace(renamed)))
    show_next(page, pages_site, "later")
    tell(page, renamed)
    page.goto(address(pages_site, "workspace-failed", "en"))
    expect(page.locator("h1")).to_have_text("kuzey-yildizi")
    expect(page).to_have_title(re.compile("kuzey-yildizi"))
    gone = facts.deleted(2, "kuzey-yildizi", 0)
    monkeypatch.setitem(CASES, "later", Case("workspace.html", facts.WORKSPACE, facts.one_workspace(gone)))
    tell(page, gone)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(page.get_by_role("button", name="Bring back")).to_be_visible()
    expect(page.get_by_role("button", name="Start")).to_have_count(0)


def test_a_question_somebody_answers_is_not_taken_away(
    page: Page, pages_site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.goto(address(pages_site, "workspace-failed", "en"))
    page.locator("summary", has_text="Rename").click()
    page.get_by_label("New name").fill("half typed")
    changed = workspace(2, "by-somebody-else", "running", 5)
    monkeypatch.setitem(CASES, "later", Case("workspace.html", facts.WORKSPACE, facts.one_workspace(changed)))
    show_next(page, pages_site, "later")
    tell(page, changed)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(page.locator("h1")).to_have_text("by-somebody-else")
    expect(page.get_by_label("New name")).to_have_value("half typed")


def test_what_was_brought_back_elsewhere_leaves_the_list(
    page: Page, pages_site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = facts.page(*facts.DELETED["items"][1:])
    case = Case("workspaces_deleted.html", "/workspaces/deleted", {"deleted": left, "quota": facts.QUOTA})
    monkeypatch.setitem(CASES, "later", case)
    show_next(page, pages_site, "later")
    tell(page, workspace(6, "silinen-deneme", "stopped"))
    page.goto(address(pages_site, "workspaces-deleted", "en"))
    expect(page.get_by_label("Bring silinen-deneme back")).to_have_count(0)
    expect(page.get_by_label("Bring last-hours back")).to_be_visible()


def test_the_slash_searches(page: Page, pages_site: str) -> None:
    page.goto(address(pages_site, "admin-users", "en"))
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    assert page.input_value("#q") == ""


def test_rules_of_a_password_are_shown_as_they_are_met(page: Page, pages_site: str) -> None:
    page.goto(address(pages_site, "sign-up", "en"))
    rules = page.locator("#password-rules li.met")
    expect(rules).to_have_count(0)
    page.fill("#email", "isil@ornek.com.tr")
    page.fill("#password", "isil@ornek.com.tr")
    expect(page.locator('li[data-rule="own"]')).not_to_have_class("met")
    page.fill("#password", "password12345")
    expect(page.locator('li[data-rule="common"].met')).to_have_count(0)
    page.fill("#password", "kuzey yildizi 7 deniz")
    expect(rules).to_have_count(3)
    page.get_by_role("button", name="Show the password").click()
    expect(page.locator("#password")).to_have_attribute("type", "text")


def test_a_name_is_suggested_and_typed_over(page: Page, pages_site: str) -> None:
    page.goto(address(pages_site, "workspace-new", "en"))
    first = page.input_value("#name")
    assert "-" in first
    page.get_by_role("button", name="Suggest another").click()
    page.fill("#name", "mine")
    page.goto(address(pages_site, "workspace-new-full", "en"))
    assert page.input_value("#name") == "six", "what was typed is kept"


def test_the_payment_is_named_before_the_card(page: Page, pages_site: str) -> None:
    sent: list[Any] = []

    def open_payment(route: Route) -> None:
        sent.append(route.request)
        route.fulfill(status=201, json={**OPENED, "iframe_url": pages_site + "/frame"})

    page.route("**/billing/subscribe/team*", open_payment)
    page.goto(address(pages_site, "billing", "en"))
    page.get_by_role("button", name="Choose Team").dblclick()
    dialog = page.locator("#pay")
    expect(dialog).to_contain_text("₺2,475.00")
    expect(dialog).to_contain_text("₺495.00")
    expect(dialog).to_contain_text("₺2,970.00")
    expect(dialog).to_contain_text("Test mode")
    expect(page.locator("#paytriframe")).to_be_visible()
    assert len(sent) == 1
    assert sent[0].headers["x-csrf-token"]
    assert sent[0].headers["accept"] == "application/json"
    inside = page.frame_locator("#paytriframe").locator("body")
    inside.evaluate("parent.postMessage('[iFrameSizer]paytriframe:1234:600:init', '*')")
    expect(page.locator("#paytriframe")).to_have_css("height", "1234px")
    page.evaluate("postMessage('[iFrameSizer]paytriframe:4321:600:init', '*')")
    page.wait_for_timeout(100)
    expect(page.locator("#paytriframe")).to_have_css("height", "1234px")
    page.keyboard.press("Escape")
    expect(page.locator("#paytriframe")).to_have_count(0)


def test_a_refused_payment_says_why_and_what_to_do(page: Page, pages_site: str) -> None:
    problem = {"type": "/problems/payment-provider-unavailable", "title": "x", "correlation_id": "abc123"}
    page.route("**/billing/subscribe/*", lambda route: route.fulfill(status=503, json=problem))
    page.goto(address(pages_site, "billing", "en"))
    page.get_by_role("button", name="Choose Team").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was charged. Try again in a few minutes.")
    expect(page.get_by_role("alert")).to_contain_text("abc123")
    page.unroute("**/billing/subscribe/*")
    page.keyboard.press("Escape")
    page.route("**/billing/subscribe/*", lambda route: route.abort())
    page.get_by_role("button", name="Choose Team").click()
    expect(page.get_by_role("alert")).to_contain_text("We cannot be reached.")


def test_a_payment_is_shown_as_it_is_known(page: Page, pages_site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pending = Case("payment_result.html", "/billing/payment/success", result(payment("pending")))
    monkeypatch.setitem(CASES, "turning", pending)
    page.route("**/api/v1/payments/*", lambda route: route.fulfill(json={"status": "pending"}))
    page.goto(address(pages_site, "turning", "en"))
    expect(page.locator("h1")).to_have_text("Waiting for the bank's word")
    page.wait_for_timeout(300)
    assert "received" not in page.locator("main").inner_text()
    monkeypatch.setitem(CASES, "turning", Case(pending.template, pending.path, result(payment("paid"))))
    page.route("**/api/v1/payments/*", lambda route: route.fulfill(json={"status": "paid"}))
    expect(page.locator("h1")).to_have_text("Payment received")


def test_the_way_back_from_the_card_leaves_its_frame(page: Page, pages_site: str) -> None:
    page.goto(f"{pages_site}/frame")
    framed = address(pages_site, "payment-framed", "en")
    frame = "document.body.append(Object.assign(document.createElement('iframe'), { src: url }))"
    page.evaluate(f"url => {{ {frame}; }}", framed)
    page.wait_for_url(f"{pages_site}{facts.HERE}")
