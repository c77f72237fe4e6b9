"""What a transport promises; RabbitMQ and the in-process one keep the same contract and pass the same tests.

- A message whose outcome is `None` has been taken: it is on disk at the broker, or every local hearer has committed.
- Each subscription sees each message of its types at least once, also when it was away at the time.
- A batch counts as received when `deliver` returns; when it raises, all of it comes again.
- After `stop`, no `deliver` is running and none will be called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Deliver = Callable[[Sequence[bytes]], Awaitable[None]]


@dataclass(frozen=True)
class Message:
    """An event ready for the wire. `mandatory`: somebody must hear it, else it counts as not taken."""

    id: str
    type: str
    body: bytes
    mandatory: bool


@dataclass(frozen=True)
class Subscription:
    """Who wants which types. `queue` names the hearer: replicas with the same name share the work.

    `broadcast`: every process hears each message while it is there, and nothing is kept for one that is away;
    for caches that are filled anew at start. `on_gap` is called when messages of a broadcast may have been missed
    (after each reconnect), before any that follow are delivered; where it raises it is called again.

    `given_up` gets what a broker stopped delivering because it killed its process again and again.
    """

    queue: str
    types: frozenset[str]
    deliver: Deliver
    broadcast: bool = False
    batch: int = 100
    on_gap: Callable[[], Awaitable[None]] | None = None
    given_up: Deliver | None = None


class NotTaken(Exception):
    """The transport could not take a message; it is to be sent again later."""


class Transport(Protocol):
    """Carries messages from relays to subscriptions."""

    async def start(self) -> None:
        """Connects. Waits for a broker that is not there yet."""

    async def subscribe(self, subscription: Subscription) -> None:
        """From now on `subscription.deliver` is called with batches, one call at a time."""

    async def declare(self, subscription: Subscription) -> None:
        """From now on the subscription's messages are kept for it, though nobody hears them yet."""

    async def publish(self, messages: Sequence[Message]) -> list[Exception | None]:
        """Sends all, then tells the outcome of each; never raises."""

    async def stop_consuming(self) -> None:
        """Takes nothing new and waits for deliveries under way."""

    async def stop(self) -> None:
        """Stops consuming, then disconnects."""

    async def ready(self) -> bool:
        """Whether messages can be published now."""
