"""One queue at RabbitMQ and its life on one channel after the other: declared, heard in batches, acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

from aiormq.abc import AbstractChannel, DeliveredMessage

from shared.events import catalogue
from shared.logging import get_logger
from shared.messaging.transport import Subscription

log = get_logger(__name__)

EXCHANGE = "events"
PREFETCH = 200
CONNECT_TIMEOUT = 10.0
REDELIVER_FIRST, REDELIVER_LAST = 1.0, 30.0
"""Seconds before a batch that could not be kept is given back, doubled each time."""
DELIVERY_LIMIT = 10_000
"""Deliveries without acknowledgement before the dead queue. Reached only by a message that kills its process each
time: a database away for a day is some thousands. RabbitMQ 3 knows no "unlimited", RabbitMQ 4 defaults to 20."""


class Hearer:
    """One queue and its life on one channel after the other."""

    def __init__(self, subscription: Subscription, queue: str, *, dead: bool = False) -> None:
        self.queue = queue
        self.listening = asyncio.Event()
        self.stopped = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._subscription = subscription
        self._dead = dead
        self._deliver = subscription.given_up if dead and subscription.given_up else subscription.deliver
        self._changed = asyncio.Event()
        self._pause = REDELIVER_FIRST

    @property
    def stopping(self) -> bool:
        return self.stopped.is_set()

    def stop(self) -> None:
        """The batch under way is the last."""
        self.stopped.set()
        self._changed.set()

    async def or_stopped(self, event: asyncio.Event) -> None:
        """Waits for `event` or for `stop`."""
        waits = {asyncio.create_task(event.wait()), asyncio.create_task(self.stopped.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def hear(self, channel: AbstractChannel) -> None:
        """Declares, consumes and delivers until the channel closes, the queue goes or `stop` is called."""
        arrived: deque[tuple[int, bytes]] = deque()
        over = False

        async def take(message: DeliveredMessage) -> None:
            arrived.append((message.delivery.delivery_tag or 0, message.body))  # type: ignore[union-attr]
            self._changed.set()

        def end(_: object) -> None:
            nonlocal over
            over = True
            self._changed.set()

        channel.closing.add_done_callback(end)
        channel.on_consumer_cancel_callbacks.add(end)
        queue = await self.declare(channel)
        await channel.basic_qos(prefetch_count=PREFETCH, timeout=CONNECT_TIMEOUT)
        consumer = await channel.basic_consume(queue, take, timeout=CONNECT_TIMEOUT)
        if self.listening.is_set() and self._subscription.on_gap and self._subscription.broadcast:
            await self._tell_gap(self._subscription.on_gap)
        self.listening.set()
        while not over and not self.stopping:
            if not arrived:
                self._changed.clear()
                await self._changed.wait()
                continue
            batch = [arrived.popleft() for _ in range(min(len(arrived), self._subscription.batch))]
            await self._hand_over(channel, batch)
        if not over and consumer.consumer_tag is not None:
            await channel.basic_cancel(consumer.consumer_tag, timeout=CONNECT_TIMEOUT)

    async def _hand_over(self, channel: AbstractChannel, batch: list[tuple[int, bytes]]) -> None:
        last = batch[-1][0]
        try:
            await self._deliver([body for _, body in batch])
        except Exception as error:
            log.warning("delivery failed and comes again", queue=self.queue, count=len(batch), error=repr(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopped.wait(), self._pause)
            self._pause = min(self._pause * 2, REDELIVER_LAST)
            await channel.basic_nack(last, multiple=True, requeue=True, wait=False)
        else:
            self._pause = REDELIVER_FIRST
            await channel.basic_ack(last, multiple=True, wait=False)

    async def _tell_gap(self, on_gap: Any) -> None:
        try:
            await on_gap()
        except Exception:
            # Nothing may be believed that was heard before the gap; the channel is opened again until this succeeds.
            log.exception("a gap could not be filled", queue=self.queue)
            raise TimeoutError("the gap is still open") from None

    async def declare(self, channel: AbstractChannel) -> str:
        """Declares the queue, its dead queue and its bindings; returns the queue's name."""
        await channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True, timeout=CONNECT_TIMEOUT)
        if self._subscription.broadcast:
            declared = await channel.queue_declare("", exclusive=True, auto_delete=True, timeout=CONNECT_TIMEOUT)
            name = str(declared.queue)
        elif self._dead:
            name = await _declare_dead(channel, self.queue)
        else:
            name = self.queue
            dead = await _declare_dead(channel, f"{name}.dead")
            arguments: dict[str, Any] = {
                "x-queue-type": "quorum",
                "x-delivery-limit": DELIVERY_LIMIT,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": dead,
                # Without these two a message on its way to the dead queue can be lost with the node.
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }
            await channel.queue_declare(name, durable=True, arguments=arguments, timeout=CONNECT_TIMEOUT)
            # Types that an older release heard; unbinding what is not bound does nothing.
            for type_ in sorted(catalogue().keys() - self._subscription.types):
                await channel.queue_unbind(name, EXCHANGE, type_, timeout=CONNECT_TIMEOUT)
        for type_ in sorted(self._subscription.types) if not self._dead else ():
            await channel.queue_bind(name, EXCHANGE, type_, timeout=CONNECT_TIMEOUT)
        return name


def hearers(subscription: Subscription) -> list[Hearer]:
    """The subscription's own hearer last; before it the one of its dead queue, where somebody takes what is there."""
    own = Hearer(subscription, subscription.queue)
    if subscription.broadcast or subscription.given_up is None:
        return [own]
    return [Hearer(subscription, f"{subscription.queue}.dead", dead=True), own]


async def _declare_dead(channel: AbstractChannel, name: str) -> str:
    arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
    await channel.queue_declare(name, durable=True, arguments=arguments, timeout=CONNECT_TIMEOUT)
    return name
