"""The in-process transport: all services in one process, no broker, the same contract.

A message has been taken when every local hearer has committed, so the outbox row is the queue: a crash anywhere
before that leaves the row where it is, and the inboxes drop what had taken effect already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shared.logging import get_logger
from shared.messaging.transport import Message, NotTaken, Subscription

log = get_logger(__name__)


class InProcess:
    """Hands messages straight to the subscriptions of this process."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []
        self._turns: dict[int, asyncio.Lock] = {}
        self._open = False

    async def start(self) -> None:
        """Ready at once."""
        self._open = True

    async def subscribe(self, subscription: Subscription) -> None:
        """Adds a hearer; two with the same queue in one process would both be called, and are refused."""
        if not subscription.broadcast and any(s.queue == subscription.queue for s in self._subscriptions):
            raise ValueError(f"{subscription.queue} is heard already")
        self._turns[id(subscription)] = asyncio.Lock()
        self._subscriptions.append(subscription)

    async def declare(self, subscription: Subscription) -> None:
        """Nothing to do: the tellers' outboxes keep what nobody hears yet."""

    async def publish(self, messages: Sequence[Message]) -> list[Exception | None]:
        """Delivers to all hearers at once; a message is taken when each of them has kept it."""
        if not self._open:
            return [NotTaken("the bus has stopped") for _ in messages]
        hearers = [s for s in self._subscriptions if any(m.type in s.types for m in messages)]
        failures = await asyncio.gather(*(self._deliver(s, messages) for s in hearers))
        return [self._outcome(message, list(zip(hearers, failures, strict=True))) for message in messages]

    async def stop_consuming(self) -> None:
        """Takes nothing new; returns when every delivery under way has ended."""
        self._open = False
        for turn in self._turns.values():
            async with turn:
                pass

    async def stop(self) -> None:
        """There is nothing to disconnect from."""
        await self.stop_consuming()

    async def ready(self) -> bool:
        """Whether messages are taken."""
        return self._open

    async def _deliver(self, subscription: Subscription, messages: Sequence[Message]) -> Exception | None:
        bodies = [message.body for message in messages if message.type in subscription.types]
        try:
            async with self._turns[id(subscription)]:
                for start in range(0, len(bodies), subscription.batch):
                    if not self._open:  # stopped while this waited for its turn
                        return NotTaken("the bus has stopped")
                    await subscription.deliver(bodies[start : start + subscription.batch])
        except Exception as error:
            log.warning("hearer could not take events", queue=subscription.queue, error=repr(error))
            return error
        return None

    def _outcome(self, message: Message, results: list[tuple[Subscription, Exception | None]]) -> Exception | None:
        heard = [(s, failure) for s, failure in results if message.type in s.types]
        if message.mandatory and not heard:
            return NotTaken(f"nobody hears {message.type}")
        return next((failure for s, failure in heard if failure is not None and not s.broadcast), None)
