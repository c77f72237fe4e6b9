"""The event catalogue is what the code says, and no event is told by nobody or heard by nobody without a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy import catalogue as documents
from shared.events import catalogue

EVERY_TYPE = sorted(catalogue())


def test_the_committed_documents_are_what_the_code_says() -> None:
    assert documents.stale() == [], "run `make docs`"


@pytest.mark.parametrize("type_", EVERY_TYPE)
def test_every_event_is_told_by_its_publisher(type_: str) -> None:
    assert documents.publishers()[type_], f"nothing in services/{catalogue()[type_].publisher()} builds it"


@pytest.mark.parametrize("type_", EVERY_TYPE)
def test_every_event_is_heard_or_says_why_not(type_: str) -> None:
    heard, reason = documents.hearers().get(type_, {}), catalogue()[type_].unread_because
    assert bool(heard) != bool(reason), f"heard by {sorted(heard)}, and the reason for silence is {reason!r}"


def test_every_committed_schema_is_of_an_event() -> None:
    committed = {file.stem for file in (documents.ROOT / documents.SCHEMAS).glob("*.json")}
    assert committed == set(EVERY_TYPE)


def test_asyncapi_references_lead_somewhere() -> None:
    document = json.loads((documents.ROOT / documents.ASYNCAPI).read_text(encoding="utf-8"))
    for operation in document["operations"].values():
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in document["channels"]
    for channel in document["channels"].values():
        for message in channel["messages"].values():
            assert message["$ref"].removeprefix("#/components/messages/") in document["components"]["messages"]


def test_the_check_fails_where_a_document_is_stale_and_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, content in documents.documents().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    told = documents.publishers()
    monkeypatch.setattr(documents, "publishers", lambda: told)
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    assert documents.main(["--check"]) == 0
    (tmp_path / documents.EVENTS).write_text("old")
    assert documents.main(["--check"]) == 1
    assert documents.EVENTS in capsys.readouterr().err
    assert documents.main([]) == 0
    assert documents.main(["--check"]) == 0
