"""RabbitMQ as the transport: one topic exchange, one durable quorum queue a hearer.

Two loops own all of it. One keeps the connection and the publishing channel; each subscription has one that keeps a
channel of its own, declares what it needs, and hands over batches. Whatever breaks, a lost connection, a restarted
broker or a queue deleted by hand, ends a channel, and the loop opens the next and declares everything again.

aio-pika's robust connection is not used: it restores objects behind the caller's back, and neither tells a gap to a
broadcast hearer nor notices that a queue was deleted.

Nothing is lost: a publish counts when the broker confirmed it, a delivery is acknowledged after `deliver` returned.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq import spec
from aiormq.abc import AbstractChannel as RawChannel

from shared.logging import get_logger
from shared.messaging.envelope import CONTENT_TYPE
from shared.messaging.rabbitmq_queue import CONNECT_TIMEOUT, EXCHANGE, Hearer, hearers
from shared.messaging.transport import Message, NotTaken, Subscription

log = get_logger(__name__)

HEARTBEAT = 15
"""Seconds; a broker that vanished without a word is noticed after three."""
CONFIRM_TIMEOUT = 20.0
"""Seconds a publish waits; below the relay's lease, so that no other relay sends the row meanwhile."""
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to connect or to open a channel; the last is repeated."""

BROKEN = (Exception, asyncio.CancelledError)
"""What a broker that is away, or a channel that just closed, makes aio-pika raise: it fails what waits on a closing
channel with CancelledError, too, so `_not_ours` tells that from a cancellation of the waiting task."""


class RabbitMQ:
    """A connection to one broker that stays, with its subscriptions."""

    def __init__(self, url: str) -> None:
        """`url` is `amqp://user:password@host:port/vhost` or `amqps://…`, with aio-pika's query parameters."""
        self._url = url
        self._connection: AbstractConnection | None = None
        self._publisher: RawChannel | None = None
        self._connected = asyncio.Event()
        self._stopping = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._hearers: list[Hearer] = []

    async def start(self) -> None:
        """Connects; waits for a broker that is not there yet, as long as it takes."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="rabbitmq connection")
        await self._connected.wait()

    async def subscribe(self, subscription: Subscription) -> None:
        """Returns when the queue exists and is bound: what is published from now on will be delivered."""
        for hearer in hearers(subscription):
            self._hearers.append(hearer)
            hearer.task = asyncio.create_task(self._hear(hearer), name=f"hearer {hearer.queue}")
        await self._hearers[-1].listening.wait()

    async def declare(self, subscription: Subscription) -> None:
        """Makes the subscription's queue and bindings without hearing: from now on its events are kept for it."""
        if self._connection is None:
            raise NotTaken("not connected to the broker")
        channel = await self._connection.channel(publisher_confirms=False)
        await Hearer(subscription, subscription.queue).declare(await channel.get_underlay_channel())
        await channel.close()

    async def publish(self, messages: Sequence[Message]) -> list[Exception | None]:
        """Publishes all at once and waits for every confirm; never raises."""
        channel = self._publisher
        if channel is None or channel.is_closed:
            return [NotTaken("not connected to the broker")] * len(messages)
        sending = [asyncio.create_task(_send(channel, message)) for message in messages]
        if sending:
            try:
                _, late = await asyncio.wait(sending, timeout=CONFIRM_TIMEOUT)
            except asyncio.CancelledError:
                late = set(sending)
                raise
            finally:
                for task in late:
                    task.cancel()
            if late:
                await asyncio.wait(late)
        return [_outcome(task) for task in sending]

    async def stop_consuming(self) -> None:
        """Takes nothing new; returns when every delivery under way has ended and is acknowledged."""
        for hearer in self._hearers:
            hearer.stop()
        await asyncio.gather(*(hearer.task for hearer in self._hearers if hearer.task), return_exceptions=True)
        self._hearers.clear()

    async def stop(self) -> None:
        """Stops consuming, then disconnects."""
        await self.stop_consuming()
        self._stopping.set()
        if self._keeper is not None:
            if self._connection is None:
                self._keeper.cancel()  # it may be waiting for a broker that never comes
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None

    async def ready(self) -> bool:
        """Whether a message could be published now."""
        return self._publisher is not None and not self._publisher.is_closed

    async def _keep(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            try:
                await self._connect()
                attempt = 0
                await self._until_lost()
            except BROKEN as error:
                _not_ours(error)
                log.warning("no connection to the broker", error=type(error).__name__, attempt=attempt + 1)
            finally:
                await self._disconnect()
            if not self._stopping.is_set():
                await _pause(attempt, self._stopping)
                attempt += 1

    async def _connect(self) -> None:
        extra: dict[str, Any] = {} if "heartbeat=" in self._url else {"heartbeat": HEARTBEAT}
        self._connection = await aio_pika.connect(self._url, timeout=CONNECT_TIMEOUT, **extra)
        channel = await self._connection.channel(on_return_raises=False)
        raw = await channel.get_underlay_channel()
        await raw.exchange_declare(EXCHANGE, exchange_type="topic", durable=True, timeout=CONNECT_TIMEOUT)
        self._publisher = raw
        self._connected.set()
        log.info("connected to the broker")

    async def _until_lost(self) -> None:
        """A lost connection closes its channels, and without this channel the connection is of no use."""
        if self._publisher is None:
            return
        lost = self._publisher.closing
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({lost, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not self._stopping.is_set():
            log.warning("the connection to the broker was lost")

    async def _disconnect(self) -> None:
        self._connected.clear()
        self._publisher = None
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(connection.close(), 5)

    async def _hear(self, hearer: Hearer) -> None:
        attempt = 0
        while not hearer.stopping:
            channel: AbstractChannel | None = None
            try:
                await hearer.or_stopped(self._connected)
                if hearer.stopping or self._connection is None:
                    continue
                channel = await self._connection.channel(publisher_confirms=False)
                await hearer.hear(await channel.get_underlay_channel())
                attempt = 0
            except BROKEN as error:
                _not_ours(error)
                log.warning("queue cannot be heard", queue=hearer.queue, error=repr(error))
                await _pause(attempt, hearer.stopped)
                attempt += 1
            finally:
                if channel is not None:
                    # Closing returns to the queue what was fetched ahead and not yet handled.
                    with contextlib.suppress(Exception):
                        await asyncio.wait_for(channel.close(), 5)


async def _send(channel: RawChannel, message: Message) -> None:
    properties = spec.Basic.Properties(
        message_id=message.id,
        message_type=message.type,
        content_type=CONTENT_TYPE,
        delivery_mode=2,
        timestamp=datetime.now(UTC),
    )
    answer = await channel.basic_publish(
        message.body,
        exchange=EXCHANGE,
        routing_key=message.type,
        properties=properties,
        mandatory=message.mandatory,
    )
    if not isinstance(answer, spec.Basic.Ack):
        raise NotTaken(f"nobody hears {message.type}")


def _outcome(task: asyncio.Task[None]) -> Exception | None:
    """A task that was cancelled, by us or by the closing channel, may have sent its message: it is sent again."""
    if task.cancelled():
        return NotTaken("the broker did not confirm")
    error = task.exception()
    if error is None or isinstance(error, NotTaken):
        return error
    return NotTaken(repr(error))


def _not_ours(error: BaseException) -> None:
    """Raises a cancellation that was meant for this very task."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


async def _pause(attempt: int, stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), PAUSES[min(attempt, len(PAUSES) - 1)])
