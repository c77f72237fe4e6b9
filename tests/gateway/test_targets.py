"""Where a browser may be sent: open redirects, three times over seven years elsewhere (lessons S7)."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.targets import HOME, safe_path
from tests.gateway.conftest import House, log_in

BASE = "https://youarecoder.example"


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "https://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/x//evil.example",
        "/%2f/evil.example",
        "/%5cevil.example",
        "/a/../../evil",
        "/..",
        "/%2e%2e/evil",
        "/\u2028/x",
        "/ x",
        "/" + "a" * 600,
        "",
        None,
        "?x",
        "@evil.example",
        "/\x00",
    ],
)
def test_tricks_lead_home(target: str | None) -> None:
    assert safe_path(target) == HOME


@pytest.mark.parametrize("target", ["/", "/team", "/billing/?year=2026", "/workspaces/enter?host=a&to=%2Fx", "/a#b"])
def test_our_own_paths_pass(target: str) -> None:
    assert safe_path(target) == target


HOSTILE = st.text(alphabet=st.sampled_from("/\\:@?#.%25fFcC \t\r\n\0aevil.example;&=é\u2028[]"), max_size=40)


@given(st.one_of(HOSTILE, st.text(max_size=40), HOSTILE.map(lambda tail: "/" + tail)))
def test_whatever_is_given_the_browser_stays_here(text: str) -> None:
    target = safe_path(text)
    assert target.startswith("/")
    # As browsers read addresses: tabs and line ends vanish, a backslash is a slash.
    read = "".join(c for c in target if c not in "\t\r\n").replace("\\", "/")
    assert not read.startswith("//")
    assert urlsplit(urljoin(BASE, read)).netloc == "youarecoder.example"


def test_log_in_and_the_language_switch_lead_nowhere_else(house: House) -> None:
    house.world.somebody("a@example.com")
    assert log_in(house.browser, "a@example.com", next="//evil.example").headers["location"] == HOME
    browser = house.new_browser()
    assert "evil" not in browser.get("/log-in?next=https://evil.example").text
    from tests.gateway.conftest import token_in

    token = token_in(browser.get("/log-in").text)
    answer = browser.post("/language", data={"language": "tr", "next": "//evil.example", "csrf_token": token})
    assert answer.headers["location"] == "/"
