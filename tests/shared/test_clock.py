"""A clock that a file shifts: the same for all who watch it, and never a crash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.clock import ManualClock, ShiftedClock
from tests.callers import START

DAY = timedelta(days=1)


def days_ahead(clock: ShiftedClock) -> int:
    """The shift, in whole days."""
    return round((clock.now() - datetime.now(UTC)) / DAY)


def test_all_who_watch_the_file_see_the_shift(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    first, second = ShiftedClock(file), ShiftedClock(file)
    assert (days_ahead(first), days_ahead(second)) == (0, 0)
    for days in (14, 400, -3):
        file.write_text(str(days * 86_400))
        assert (days_ahead(first), days_ahead(second), days_ahead(ShiftedClock(file))) == (days, days, days)
    file.unlink()
    assert days_ahead(first) == 0


def test_shifted_time_is_aware_and_utc(tmp_path: Path) -> None:
    assert ShiftedClock(tmp_path / "none").now().tzinfo is UTC


@pytest.mark.parametrize("odd", [b"", b"   ", b"12 days", b"\xff\xfe", b"nan", b"inf", b"1e30", b"-1e11", b"1.2.3"])
def test_what_cannot_be_read_leaves_time_as_it_was(tmp_path: Path, odd: bytes) -> None:
    file = tmp_path / "clock"
    file.write_bytes(odd)
    clock = ShiftedClock(file)
    assert days_ahead(clock) == 0
    file.write_text(str(7 * 86_400))
    assert days_ahead(clock) == 7
    file.write_bytes(odd)
    assert days_ahead(clock) == 7


def test_folder_in_the_files_place_does_no_harm(tmp_path: Path) -> None:
    assert days_ahead(ShiftedClock(tmp_path)) == 0


@given(content=st.binary(max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_makes_it_raise(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "clock"
    file.write_bytes(content)
    assert ShiftedClock(file).now().tzinfo is UTC


def test_manual_clock_goes_where_it_is_told() -> None:
    clock = ManualClock(START)
    assert clock.advance(DAY) == clock.now() == START + DAY
    assert clock.advance(-2 * DAY) == START - DAY
