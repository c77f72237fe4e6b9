"""Cursors lead from page to page; what is no cursor of ours is the client's mistake."""

from __future__ import annotations

import contextlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Invalid
from shared.pagination import after, page


@given(st.lists(st.uuids(), unique=True, max_size=30), st.integers(1, 10))
def test_pages_show_every_row_once(rows: list[UUID], limit: int) -> None:
    rows.sort()
    seen: list[UUID] = []
    cursor = None
    while True:
        last = after(cursor)
        fetched = [row for row in rows if last is None or row > last][: limit + 1]
        shown = page(fetched, limit, lambda row: row, lambda row: row)
        assert len(shown.items) <= limit
        seen += shown.items
        cursor = shown.next
        if cursor is None:
            break
        assert len(cursor) <= 64
    assert seen == rows


@given(st.uuids())
def test_cursor_names_the_last_row_seen(last: UUID) -> None:
    cursor = page([last, UUID(int=0)], 1, lambda row: row, str).next
    assert after(cursor) == last


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "=", "A" * 23, "é" * 22, "null", "\x00"])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid) as caught:
        after(cursor)
    assert [error.field for error in caught.value.errors] == ["cursor"]


@given(st.text(max_size=64))
def test_nothing_else_is_ever_raised(cursor: str) -> None:
    with contextlib.suppress(Invalid):
        assert isinstance(after(cursor), UUID)
