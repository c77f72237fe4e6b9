"""The committed table of who may what is what the routes say."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy import access_table, openapi


def test_the_committed_table_is_current() -> None:
    assert (access_table.ROOT / access_table.FILE).read_text(encoding="utf-8") == access_table.document(), (
        "run `make docs`"
    )


def test_the_check_fails_where_the_table_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_table, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    assert access_table.main(["--check"]) == 1
    assert access_table.main([]) == 0
    assert access_table.main(["--check"]) == 0


def test_every_operation_of_every_service_is_in_it() -> None:
    """The table and the OpenAPI documents are read from the routes in two ways, and agree."""
    listed = {(line.room, line.method.lower(), line.path): line.who for line in access_table.lines()}
    for name in openapi.SERVICES:
        for (method, path), who in openapi.access(openapi.application(name)).items():
            assert listed[name, method, path] == who
