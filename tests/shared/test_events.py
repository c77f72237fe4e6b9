"""The contracts: committed schemas hold, building is strict, reading is lenient, and the envelope keeps everything."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deploy import catalogue as documents
from deploy.schema_rules import incompatibilities, wire_schema
from shared.events import Event, UnknownEvent, UnreadableEvent, catalogue, event_class
from shared.events.billing import PaymentFailed
from shared.events.identity import VerificationRequested
from shared.messaging.envelope import MAX_BYTES, Envelope

FAILED = {
    "company_id": "0198c0de-0000-7000-8000-000000000001",
    "payment_id": "0198c0de-0000-7000-8000-000000000002",
    "plan": "starter",
    "amount": {"minor": 99900, "currency": "TRY"},
    "reason": "declined",
    "reason_code": "6",
    "failed_at": "2026-03-01T12:00:00Z",
}


@pytest.mark.parametrize("type_", sorted(catalogue()))
def test_the_committed_schema_holds(type_: str) -> None:
    file = documents.ROOT / documents.SCHEMAS / f"{type_}.json"
    assert file.is_file(), "run `make docs` and commit the schema"
    committed = json.loads(file.read_text(encoding="utf-8"))
    assert incompatibilities(committed, wire_schema(catalogue()[type_].model_json_schema())) == []


def _remove(schema: dict[str, Any]) -> None:
    del schema["properties"]["plan"]


def _rename(schema: dict[str, Any]) -> None:
    schema["properties"]["plan_code"] = schema["properties"].pop("plan")


def _retype(schema: dict[str, Any]) -> None:
    schema["properties"]["failed_at"] = {"type": "integer"}


def _narrow(schema: dict[str, Any]) -> None:
    schema["properties"]["plan"]["maxLength"] = 10


def _widen(schema: dict[str, Any]) -> None:
    schema["properties"]["reason"]["enum"].append("another")


def _inner(schema: dict[str, Any]) -> None:
    del schema["properties"]["amount"]["properties"]["currency"]


def _require_new(schema: dict[str, Any]) -> None:
    schema["properties"]["bank"] = {"type": "string"}
    schema["required"].append("bank")


def _require_less(schema: dict[str, Any]) -> None:
    schema["required"].remove("plan")


@pytest.mark.parametrize("change", [_remove, _rename, _retype, _narrow, _widen, _inner, _require_new, _require_less])
def test_a_change_that_breaks_somebody_is_found(change: Callable[[dict[str, Any]], None]) -> None:
    old = wire_schema(PaymentFailed.model_json_schema())
    new = copy.deepcopy(old)
    change(new)
    assert incompatibilities(old, new)


def test_a_new_optional_field_and_other_words_are_fine() -> None:
    old = wire_schema(PaymentFailed.model_json_schema())
    new = copy.deepcopy(old)
    new["properties"]["bank"] = {"type": "string"}
    new["properties"]["amount"]["properties"]["rate"] = {"type": "number"}
    new["description"] = "in other words"
    assert incompatibilities(old, new) == []


def test_a_broken_promise_and_a_vanished_event_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / documents.SCHEMAS
    folder.mkdir(parents=True)
    schema = wire_schema(PaymentFailed.model_json_schema())
    for type_ in ("payment.failed", "payment.vanished"):
        (folder / f"{type_}.json").write_text(json.dumps(schema))
    changed = copy.deepcopy(schema)
    _remove(changed)
    faults = documents.broken_promises({"payment.failed": changed}, tmp_path)
    assert [fault.split(":")[0] for fault in faults] == ["payment.failed", "payment.vanished"]


def test_building_is_strict_and_reading_is_lenient() -> None:
    with pytest.raises(ValidationError):
        PaymentFailed.model_validate({**FAILED, "bank": "x"})
    assert PaymentFailed.read({**FAILED, "bank": "x"}) == PaymentFailed.read(FAILED)


def test_an_event_cannot_be_changed() -> None:
    event = PaymentFailed.read(FAILED)
    with pytest.raises(ValidationError):
        event.plan = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", sorted(FAILED))
def test_a_missing_field_makes_an_event_unreadable(name: str) -> None:
    with pytest.raises(UnreadableEvent, match=name):
        PaymentFailed.read({key: value for key, value in FAILED.items() if key != name})


def test_what_is_wrong_with_a_secret_is_said_without_it() -> None:
    with pytest.raises(UnreadableEvent) as caught:
        VerificationRequested.read({**FAILED, "link": {"https://x/very": "secret"}, "welcome": "https://x/very"})
    assert "https" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_unknown_type_is_said_so() -> None:
    with pytest.raises(UnknownEvent):
        event_class("no.such_event")


@pytest.mark.parametrize("event", catalogue().values(), ids=lambda event: event.type)
def test_every_event_names_its_subject_and_explains_itself(event: type[Event]) -> None:
    assert event.subject_field in event.model_fields
    assert event.__doc__
    assert event.__doc__ != Event.__doc__


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=64)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
zones = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
envelopes = st.builds(
    Envelope,
    id=st.uuids(),
    type=st.sampled_from(sorted(catalogue())),
    source=st.sampled_from(["billing", "identity"]),
    subject=texts,
    time=st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=zones),  # noqa: DTZ001  (given below)
    sequence=st.integers(1, 2**63 - 1),
    data=st.dictionaries(texts, values, max_size=5),
    correlation_id=st.none() | texts,
    causation_id=st.none() | texts,
    traceparent=st.none() | texts,
)


@given(envelopes)
def test_an_envelope_comes_back_as_it_went(envelope: Envelope) -> None:
    body = envelope.to_bytes()
    assert Envelope.from_bytes(body) == envelope
    message = orjson.loads(body)
    assert message["specversion"] == "1.0"
    assert UUID(message["id"]) == envelope.id


@given(envelopes, st.dictionaries(st.from_regex(r"x[a-z]{3,10}", fullmatch=True), values, max_size=3))
def test_extensions_nobody_knows_are_ignored(envelope: Envelope, extensions: dict[str, Any]) -> None:
    body = orjson.dumps({**orjson.loads(envelope.to_bytes()), **extensions})
    assert Envelope.from_bytes(body) == envelope


@given(st.binary(max_size=200) | values.map(orjson.dumps))
def test_whatever_comes_is_read_or_called_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableEvent):
        Envelope.from_bytes(body)


@given(envelopes, st.sampled_from(["id", "type", "time", "sequence", "data", "correlationid"]), values)
def test_a_field_of_any_other_kind_never_breaks_the_reader(envelope: Envelope, name: str, value: Any) -> None:
    body = orjson.dumps({**orjson.loads(envelope.to_bytes()), name: value})
    # Any other exception would stop the consumer for ever at this message.
    with contextlib.suppress(UnreadableEvent, UnknownEvent):
        assert Envelope.from_bytes(body).event().type in catalogue()


def test_a_message_larger_than_any_event_is_not_even_parsed() -> None:
    with pytest.raises(UnreadableEvent, match="bytes"):
        Envelope.from_bytes(b" " * (MAX_BYTES + 1))


def test_times_are_written_with_their_zone() -> None:
    envelope = Envelope(UUID(int=1), "payment.failed", "billing", "s", datetime(2026, 3, 1, tzinfo=UTC), 1, FAILED)
    assert orjson.loads(envelope.to_bytes())["time"] == "2026-03-01T00:00:00+00:00"
    assert isinstance(envelope.event(), PaymentFailed)
