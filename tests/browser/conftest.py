"""A browser, and the pages to look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.pages_server import served


@pytest.fixture(scope="module")
def pages_site() -> Iterator[str]:
    """The address of the pages of `facts.py`."""
    with served() as address:
        yield address


@pytest.fixture(scope="module")
def chromium(chromium_path: str) -> Iterator[Browser]:
    """A real browser without a window."""
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()
