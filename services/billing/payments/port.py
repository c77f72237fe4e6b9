"""What billing needs of a payment provider, in billing's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from shared.money import Money


class Refused(Exception):
    """The provider said no: nothing was opened. The reason is for our logs, never for the buyer."""


class OutcomeUnknown(Exception):
    """No answer, or none that can be read: the call may or may not have had its effect."""


class BadNotification(Exception):
    """Not a genuine notification. `why` is for our logs; the sender is told nothing."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class Order:
    """What a card form is opened for. The texts are cut to the provider's lengths by the client."""

    number: str
    amount: Money
    title: str
    email: str
    buyer_ip: str
    buyer_name: str
    buyer_address: str
    buyer_phone: str
    language: str
    ok_url: str
    fail_url: str
    minutes: int
    test_mode: bool


@dataclass(frozen=True)
class CardForm:
    """Where the buyer's browser finds the form. `url` holds the token: never stored, never logged."""

    url: str = field(repr=False)
    resizer_url: str


@dataclass(frozen=True)
class Collected:
    """What the provider says it collected. None is "not said"; `unclear` names fields that said two things."""

    total_minor: int
    payment_minor: int | None
    currency: str | None
    test_mode: bool | None
    merchant_id: str | None = None
    unclear: tuple[str, ...] = ()


@dataclass(frozen=True)
class Notice:
    """A genuine notification. Only number, status and total are signed."""

    order_number: str
    status: Literal["success", "failed"]
    collected: Collected
    reason_code: str


class Provider(Protocol):
    """A payment provider."""

    merchant_id: str

    async def open_form(self, order: Order) -> CardForm:
        """Registers the order. Raises Refused or OutcomeUnknown; after either the number is spent."""
        ...

    async def look_up(self, order_number: str) -> Collected | None:
        """What was collected for an order; None: nothing so far, which is not a failure. Raises OutcomeUnknown."""
        ...

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """Reads and authenticates a notification from its headers (lower case) and raw body. Raises BadNotification."""
        ...

    async def close(self) -> None:
        """Closes connections."""
        ...


Reason = Literal[
    "declined", "authentication", "security", "abandoned", "card_not_supported", "fraud", "technical", "unknown"
]
