"""Every page in a real browser, in both languages, on a phone and on a desk, in light and in dark.

Nothing sticks out, nothing is refused by our own policy, everything can be read and has a name, and it is light.
`SHOTS=folder` keeps a picture of each.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from gateway.headers import Policy
from gateway.rendering import Templates
from tests.browser import facts
from tests.browser.facts import CASES
from tests.browser.pages_server import FIELD, address, render, settings

SIZES = {"phone": (390, 844), "desk": (1280, 800)}
LIGHTEST = 150_000
EVERY = (("tr", "phone", "light"), ("en", "desk", "dark"), ("tr", "desk", "light"), ("en", "phone", "dark"))
PARTS = ("base", "public", "inside", "macros", "words", "icons", "places", "stages", "admin_ways", "editor_picture")
MEASURE = (Path(__file__).parent / "measure.js").read_text()


def visit(browser: Browser, site: str, name: str, language: str, size: str, scheme: str, faults: list[str]) -> Page:
    """Opens a case and listens for what the browser complains about."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.on("console", lambda told: faults.append(told.text) if told.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.route("**/*", lambda route: route.continue_() if route.request.url.startswith(site) else route.abort())
    page.goto(address(site, name, language), wait_until="load")
    return page


@pytest.mark.e2e
@pytest.mark.parametrize("name", CASES)
def test_every_page_can_be_read_everywhere(chromium: Browser, pages_site: str, name: str) -> None:
    wrong: list[str] = []
    folder = os.environ.get("SHOTS")
    for language, size, scheme in EVERY if folder else EVERY[:2]:
        faults: list[str] = []
        page = visit(chromium, pages_site, name, language, size, scheme, faults)
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
    pale = '<p style="color:#aaa;width:900px">Pale</p>'
    page.set_content(f'<main>{pale}<input name="x"><a href="/"></a><b id="i"></b><b id="i"></b></main>')
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
    forms = re.findall(r'<form[^>]*method="post".*?</form>', text, re.DOTALL)
    assert all(str(FIELD) in form for form in forms)
    assert len(re.findall(r'method="post"', text)) == len(forms)
    refused = r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*\ssrc=)"
    assert not re.search(refused, text), "our own policy would refuse this"


def test_a_policy_for_every_kind_of_page() -> None:
    assert {case.policy for case in CASES.values()} >= {Policy.PAGE, Policy.PAYMENT, Policy.PAYMENT_RESULT}


def test_every_template_is_looked_at() -> None:
    folder = Path(facts.__file__).parents[2] / "gateway" / "templates"
    parts = {f"{name}.html" for name in PARTS}
    assert {path.name for path in folder.glob("*.html")} - parts == {case.template for case in CASES.values()}
