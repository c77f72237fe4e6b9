"""Ids are UUIDs of version 7 and sort by the millisecond they were made in."""

from __future__ import annotations

import time
from uuid import RFC_4122

import pytest

from shared import ids
from shared.ids import new_id


def test_version_variant_and_time() -> None:
    before = time.time_ns() // 1_000_000
    made = [new_id() for _ in range(1_000)]
    after = time.time_ns() // 1_000_000
    assert {id_.version for id_ in made} == {7}
    assert {id_.variant for id_ in made} == {RFC_4122}
    assert all(before <= id_.int >> 80 <= after for id_ in made)
    assert len(set(made)) == len(made)


def test_later_milliseconds_sort_later(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for millisecond in (0, 1, 255, 256, 1_795_339_800_000, 1_795_339_800_001, 2**48 - 1):
        monkeypatch.setattr(ids.time, "time_ns", lambda now=millisecond: now * 1_000_000)
        made.append(new_id())
    assert made == sorted(made)
    assert [str(id_) for id_ in made] == sorted(str(id_) for id_ in made)


def test_ids_of_one_millisecond_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_795_339_800_000_000_000)
    made = {new_id() for _ in range(10_000)}
    assert len(made) == 10_000
    assert len({id_.int >> 80 for id_ in made}) == 1
