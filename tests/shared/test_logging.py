"""One JSON object a line, with what is being done, without secrets."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from shared import logging as ours

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """What a configured process has written so far; the process's own logging comes back afterwards."""
    written = io.StringIO()
    root = logging.getLogger()
    before = root.handlers, root.level
    levels = {name: logger.level for name, logger in root.manager.loggerDict.items() if hasattr(logger, "level")}
    monkeypatch.setattr(sys, "stdout", written)
    ours.configure("little", "info")
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    structlog.reset_defaults()
    root.handlers, level = before
    root.setLevel(level)
    for name, known in levels.items():
        logging.getLogger(name).setLevel(known)


def test_our_lines_and_the_libraries(lines: Lines) -> None:
    ours.get_logger("a").info("it happened", count=3)
    logging.getLogger("another.package").warning("it said %s", "so\nand more")
    logging.getLogger("another.package").debug("not this")
    own, library = lines()
    assert (own["event"], own["count"], own["level"], own["service"]) == ("it happened", 3, "info", "little")
    assert own["timestamp"].endswith("Z")
    assert (library["event"], library["level"], library["service"]) == ("it said so\nand more", "warning", "little")


def test_secrets_are_masked_at_any_depth(lines: Lines) -> None:
    ours.get_logger("b").info(
        "careful", password="hidden", api_key="hidden", reset_link="hidden", Authorization="hidden",
        headers={"Cookie": "hidden", "accept": "shown", "more": [{"session_token": "hidden"}]}, plain="shown",
    )  # fmt: skip
    (line,) = lines()
    assert "hidden" not in json.dumps(line)
    assert (line["password"], line["plain"], line["headers"]["accept"]) == ("***", "shown", "shown")


def test_what_is_bound_is_on_every_line(lines: Lines) -> None:
    log = ours.get_logger("c")
    with ours.bound(correlation_id="outer-id", company_id=None):
        assert ours.correlation_id() == "outer-id"
        with ours.bound(event_id="e-1"):
            assert ours.causation_id() == "e-1"
            log.info("inside")
            logging.getLogger("library").warning("inside, too")
        log.info("after")
    log.info("outside")
    first, library, after, outside = lines()
    assert (first["correlation_id"], first["event_id"]) == ("outer-id", "e-1")
    assert (library["correlation_id"], library["event_id"]) == ("outer-id", "e-1")
    assert "company_id" not in first
    assert "event_id" not in after
    assert "correlation_id" not in outside


def test_own_context_forgets_what_was_bound_inside(lines: Lines) -> None:
    with ours.bound(correlation_id="outer-id"):
        with ours.own_context(correlation_id="inner-id"):
            ours.bind(company_id="c-1")
            ours.get_logger("d").info("inside")
        ours.get_logger("d").info("after")
    inside, after = lines()
    assert (inside["correlation_id"], inside["company_id"]) == ("inner-id", "c-1")
    assert after["correlation_id"] == "outer-id"
    assert "company_id" not in after


def test_exception_is_one_line(lines: Lines) -> None:
    try:
        raise ValueError("with\ntwo lines")
    except ValueError:
        ours.get_logger("e").exception("it broke")
        logging.getLogger("library").exception("there, too")
    for line in lines():
        assert "ValueError: with\ntwo lines" in line["exception"]


@pytest.mark.parametrize("odd", [object(), {1, 2}, b"\xff", "\ud800", float("nan"), {3: "x"}])
def test_no_value_breaks_a_line(lines: Lines, odd: object) -> None:
    ours.get_logger("f").info("odd", value=odd)
    assert [line["event"] for line in lines()] == ["odd"]
