"""The envelope: CloudEvents 1.0 in structured JSON, with the extensions correlationid, causationid and sequence.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from shared.events import Event, UnreadableEvent, event_class

CONTENT_TYPE = "application/cloudevents+json"
MAX_BYTES = 256 * 1024


@dataclass(frozen=True)
class Envelope:
    """One event on its way. `sequence` grows with each event of the same subject (not by one)."""

    id: UUID
    type: str
    source: str
    subject: str
    time: datetime
    sequence: int
    data: dict[str, Any]
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None

    def to_bytes(self) -> bytes:
        """The JSON that goes over the wire."""
        message = {
            "specversion": "1.0",
            "id": str(self.id),
            "type": self.type,
            "source": f"/{self.source}",
            "subject": self.subject,
            "time": self.time,
            "datacontenttype": "application/json",
            "dataschema": f"/schemas/{self.type}.json",
            "sequence": self.sequence,
            "correlationid": self.correlation_id,
            "causationid": self.causation_id,
            "traceparent": self.traceparent,
            "data": self.data,
        }
        return orjson.dumps({name: value for name, value in message.items() if value is not None})

    @classmethod
    def from_bytes(cls, body: bytes) -> Envelope:
        """Reads what came over the wire. Raises UnreadableEvent."""
        if len(body) > MAX_BYTES:
            raise UnreadableEvent(f"{len(body)} bytes are more than an event may have")
        try:
            message = orjson.loads(body)
            return cls(
                id=UUID(message["id"]),
                type=str(message["type"]),
                source=str(message["source"]).lstrip("/"),
                subject=str(message["subject"]),
                time=_moment(message["time"]),
                sequence=int(message["sequence"]),
                data=dict(message["data"]),
                correlation_id=_short(message.get("correlationid")),
                causation_id=_short(message.get("causationid")),
                traceparent=_short(message.get("traceparent")),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UnreadableEvent(f"not an event: {type(error).__name__}") from None

    def event(self) -> Event:
        """The data as its model. Raises UnknownEvent or UnreadableEvent."""
        return event_class(self.type).read(self.data)


def _moment(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment


def _short(value: object) -> str | None:
    """An id that follows an event around; the outbox has room for 64 characters, and none for NUL."""
    if value is None or (isinstance(value, str) and len(value) <= 64 and "\x00" not in value):
        return value
    raise ValueError("not an id")
