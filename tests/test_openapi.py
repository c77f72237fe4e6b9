"""The committed OpenAPI documents are what the routes say, and every operation names who may call it."""

from __future__ import annotations

import json

import pytest

from deploy import openapi


def test_the_committed_documents_are_current() -> None:
    stale = [path for path, text in openapi.documents().items() if (openapi.ROOT / path).read_text() != text]
    assert not stale, "run `make docs`"


@pytest.mark.parametrize("service", openapi.SERVICES)
def test_every_operation_names_who_may_call_it(service: str) -> None:
    document = json.loads((openapi.ROOT / openapi.FOLDER / f"{service}.json").read_text())
    unnamed = [
        (method, path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if operation["x-access"] == "anyone" and path != "/billing/callback"
    ]
    assert not unnamed
