"""What the migration makes is what the models say."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from services.identity.models import Base
from shared.migrate import is_current
from tests.identity.conftest import House


def test_tables_are_what_the_models_say(house: House) -> None:
    def ours(_: Any, name: str | None, kind: str, *__: Any) -> bool:
        return kind != "table" or name in Base.metadata.tables

    with house.service.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert is_current(house.service.database, house.service.package)
