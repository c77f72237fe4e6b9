"""The contracts: what services tell each other. One module a publisher, one frozen model an event.

A publisher's module is the only place its events are declared, and only that publisher builds them. Built
strictly, read leniently: an unknown field is a fault when we write and nothing when we read, so an optional
field can be added at any time. A new meaning is a new type (`payment.succeeded.v2`), never a changed one.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PUBLISHERS = ("identity", "billing", "provisioner", "notifier", "scheduler")

Text = Annotated[str, Field(max_length=1_000)]
Language = Annotated[str, Field(pattern="^(tr|en)$")]


class UnknownEvent(Exception):
    """A type string that no module declares."""


class UnreadableEvent(Exception):
    """The data does not fit the event's model."""


class Event(BaseModel):
    """A fact, in the past tense, told by its owner. Its docstring says what is now true and what it does not say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ClassVar[str]
    subject_field: ClassVar[str]
    """The field that names the entity the fact is about; `sequence` orders facts of one subject."""
    sensitive: ClassVar[bool] = False
    """Carries a secret: never logged, kept nowhere after it was delivered."""
    unread_because: ClassVar[str | None] = None
    """Why no service hears it. Without a reason an unheard event is a mistake, at rest and on the wire."""

    @property
    def subject(self) -> str:
        """The id of the entity this fact is about."""
        return str(getattr(self, self.subject_field))

    @classmethod
    def publisher(cls) -> str:
        """The service that tells it: the name of the module it is declared in."""
        return cls.__module__.rsplit(".", 1)[-1]

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """From the wire, leniently. Raises UnreadableEvent, without the data: it may be secret."""
        try:
            return cls.model_validate(data, extra="ignore")
        except ValidationError as error:
            faults = ", ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
            raise UnreadableEvent(f"{cls.type}: {faults}") from None


class CompanyEvent(Event):
    """An event that concerns one company."""

    company_id: UUID


@cache
def catalogue() -> dict[str, type[Event]]:
    """Every declared event by its type string."""
    found: dict[str, type[Event]] = {}
    for publisher in PUBLISHERS:
        module = import_module(f"shared.events.{publisher}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Event) and value.__module__ == module.__name__:
                if "type" not in vars(value):
                    continue  # an abstract parent
                if value.type in found:
                    raise TypeError(f"{value.type} is declared twice")
                found[value.type] = value
    return found


def event_class(type_: str) -> type[Event]:
    """The model of a type string. Raises UnknownEvent."""
    try:
        return catalogue()[type_]
    except KeyError:
        raise UnknownEvent(type_[:100]) from None
