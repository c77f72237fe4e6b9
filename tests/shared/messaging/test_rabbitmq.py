"""What only a broker can do to us: be away, restart, lose connections, have a queue deleted, give a message up."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import aio_pika
import pytest
from aiormq.abc import AbstractChannel as RawChannel

from deploy.local import processes, rabbitmq
from shared.db import Database
from shared.messaging.rabbitmq import EXCHANGE, RabbitMQ
from shared.messaging.relay import Relay
from shared.messaging.transport import NotTaken, Subscription
from tests import infrastructure
from tests.shared.messaging.bus import (
    PATIENCE,
    Collector,
    effects,
    hearer,
    looping,
    message,
    rows,
    running,
    tell,
    trial,
    until,
    wire,
)

pytestmark = [pytest.mark.anyio, pytest.mark.rabbitmq]

TYPES = frozenset({"trial.started"})


@pytest.fixture(scope="module")
def own_broker() -> Iterator[rabbitmq.RabbitServer]:
    """A broker that these tests may break."""
    infrastructure.need(rabbitmq.available(), "RabbitMQ is not installed here (apt-get install rabbitmq-server)")
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    server = rabbitmq.start(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def by_hand(url: str) -> AsyncIterator[RawChannel]:
    """A channel of a person with their hands in the broker."""
    connection = await aio_pika.connect(url)
    try:
        channel = await connection.channel()
        yield await channel.get_underlay_channel()
    finally:
        await connection.close()


def cut(bus: RabbitMQ) -> None:
    """Ends the bus's TCP connection without a word, as a network does."""
    connection = bus._connection
    assert connection is not None
    assert connection.transport is not None
    writer = connection.transport.connection._writer_task  # type: ignore[attr-defined]
    writer.cancel()


async def publish_until_taken(bus: RabbitMQ, type_: str, word: str) -> None:
    """What a relay does."""
    for _ in range(3000):
        if await bus.publish([message(word, type_=type_)]) == [None]:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the message was never taken")


async def test_start_waits_for_a_broker_that_is_not_there_yet(own_broker: rabbitmq.RabbitServer, queue: str) -> None:
    own_broker.kill()
    bus, got = RabbitMQ(own_broker.url), Collector()
    starting = asyncio.create_task(bus.start())
    await asyncio.sleep(0.5)
    assert not starting.done()
    assert not await bus.ready()
    await asyncio.to_thread(own_broker.restart)
    async with running(bus):
        await asyncio.wait_for(starting, PATIENCE)
        await bus.subscribe(Subscription(queue, TYPES, got))
        assert await bus.publish([message("a")]) == [None]
        await until(lambda: got.words == ["a"])


async def test_stop_does_not_wait_for_a_broker_that_never_comes() -> None:
    bus = RabbitMQ(f"amqp://nobody:x@127.0.0.1:{processes.free_port()}/")
    starting = asyncio.create_task(bus.start())
    await asyncio.sleep(0.2)
    await asyncio.wait_for(bus.stop(), 5)
    starting.cancel()


@pytest.mark.parametrize("how", ["killed", "stopped in order"])
async def test_a_broker_restarted_under_load_loses_nothing_and_doubles_nothing(
    own_broker: rabbitmq.RabbitServer, queue: str, billing: Database, notifier: Database, how: str
) -> None:
    bus = RabbitMQ(own_broker.url)
    words = [str(number) for number in range(1500)]

    async def tell_all() -> None:
        for start in range(0, 1500, 10):
            await asyncio.to_thread(tell, billing, *map(trial, words[start : start + 10]))

    async with running(bus):
        await bus.subscribe(replace(hearer(notifier).subscription(), queue=queue))
        # A broker killed in the first seconds of a quorum queue's life forgets the queue's log: Erlang writes the
        # directory of logs some seconds later. A restart in order has it written now.
        await asyncio.to_thread(own_broker.restart)
        async with looping(Relay(billing, bus).run):
            telling = asyncio.create_task(tell_all())
            await until(lambda: len(effects(notifier)) > 100)
            if how == "killed":
                await asyncio.to_thread(own_broker.kill)
            await asyncio.to_thread(own_broker.restart)
            await telling
            await until(lambda: len(effects(notifier)) >= 1500)
            await until(lambda: rows(billing, "select count(*) from outbox") == [0])
    assert sorted(effects(notifier), key=int) == words
    assert rows(notifier, "select count(*) from failed_deliveries") == [0]


async def test_a_connection_that_is_cut_comes_back_and_tells_broadcasts_of_the_gap(
    rabbitmq_server: str, queue: str
) -> None:
    bus, got, cached, gaps = RabbitMQ(rabbitmq_server), Collector(), Collector(), 0

    async def on_gap() -> None:
        nonlocal gaps
        gaps += 1
        if gaps == 1:
            raise OSError("what fills the cache is away, too")

    async with running(bus):
        await bus.subscribe(Subscription(queue, TYPES, got))
        await bus.subscribe(Subscription(queue, TYPES, cached, broadcast=True, on_gap=on_gap))
        await bus.publish([message("before")])
        await until(lambda: got.words == cached.words == ["before"])
        assert gaps == 0
        cut(bus)
        await until(lambda: gaps == 2)
        await publish_until_taken(bus, "trial.started", "after")
        await until(lambda: "after" in got.words and "after" in cached.words)


async def test_a_queue_deleted_by_hand_is_declared_again(rabbitmq_server: str, queue: str) -> None:
    bus, got = RabbitMQ(rabbitmq_server), Collector()
    async with running(bus):
        await bus.subscribe(Subscription(queue, frozenset({f"own.{queue}"}), got))
        async with by_hand(rabbitmq_server) as hand:
            await hand.queue_delete(queue)
        # Until the queue is back nobody hears the type, and what must be heard is not taken.
        await publish_until_taken(bus, f"own.{queue}", "a")
        await until(lambda: "a" in got.words)


async def test_an_exchange_deleted_by_hand_is_declared_again_with_its_bindings(
    own_broker: rabbitmq.RabbitServer, queue: str
) -> None:
    bus, got = RabbitMQ(own_broker.url), Collector()
    async with running(bus):
        await bus.subscribe(Subscription(queue, frozenset({f"own.{queue}"}), got))
        async with by_hand(own_broker.url) as hand:
            await hand.exchange_delete(EXCHANGE)
        await publish_until_taken(bus, f"own.{queue}", "a")
        await until(lambda: "a" in got.words)


async def test_types_no_longer_heard_are_unbound(rabbitmq_server: str, queue: str) -> None:
    old, new, got = RabbitMQ(rabbitmq_server), RabbitMQ(rabbitmq_server), Collector()
    async with running(old):
        await old.subscribe(Subscription(queue, TYPES | {"user.verified"}, got))
    async with running(new):
        await new.subscribe(Subscription(queue, TYPES, got))
        outcome = (await new.publish([message("a", type_="user.verified")]))[0]
        assert isinstance(outcome, NotTaken)


async def test_messages_wait_for_a_hearer_that_is_away(rabbitmq_server: str, queue: str) -> None:
    first, second, got = RabbitMQ(rabbitmq_server), RabbitMQ(rabbitmq_server), Collector()
    types = frozenset({f"own.{queue}"})
    async with running(first):
        await first.subscribe(Subscription(queue, types, got))
        await first.stop_consuming()
        assert await first.publish([message("while away", type_=f"own.{queue}")]) == [None]
    assert got.words == []
    async with running(second):
        await second.subscribe(Subscription(queue, types, got))
        await until(lambda: got.words == ["while away"])


async def test_replicas_share_a_queue(rabbitmq_server: str, queue: str) -> None:
    one, two, first, second = RabbitMQ(rabbitmq_server), RabbitMQ(rabbitmq_server), Collector(), Collector()
    types = frozenset({f"own.{queue}"})
    async with running(one, two):
        await one.subscribe(Subscription(queue, types, first, batch=5))
        await two.subscribe(Subscription(queue, types, second, batch=5))
        await one.publish([message(str(n), type_=f"own.{queue}") for n in range(600)])
        await until(lambda: len(first.words) + len(second.words) >= 600)
        assert sorted([*first.words, *second.words], key=int) == [str(n) for n in range(600)]
        assert first.words
        assert second.words


async def test_what_is_sent_is_persistent_and_says_what_it_is(rabbitmq_server: str, queue: str) -> None:
    bus = RabbitMQ(rabbitmq_server)
    sent = message("x", type_=f"own.{queue}")
    async with running(bus):
        await bus.subscribe(Subscription(queue, frozenset({sent.type}), Collector()))
        await bus.stop_consuming()
        await bus.publish([sent])
        async with by_hand(rabbitmq_server) as hand:
            got = await hand.basic_get(queue)
            properties = got.header.properties
            await hand.basic_ack(got.delivery.delivery_tag or 0)
    assert (properties.delivery_mode, properties.message_id) == (2, sent.id)
    assert properties.content_type == "application/cloudevents+json"


async def test_a_message_the_broker_gives_up_is_parked_in_the_hearers_database(
    rabbitmq_server: str, queue: str, notifier: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each delivery ends like a process that dies: nothing is acknowledged, nothing is kept."""
    monkeypatch.setattr("shared.messaging.rabbitmq_queue.DELIVERY_LIMIT", 3)
    monkeypatch.setattr("shared.messaging.rabbitmq_queue.REDELIVER_FIRST", 0.001)
    consumer, deliveries = hearer(notifier), 0

    async def dies(bodies: Sequence[bytes]) -> None:
        nonlocal deliveries
        deliveries += 1
        raise RuntimeError("killed")

    bus = RabbitMQ(rabbitmq_server)
    async with running(bus):
        await bus.subscribe(replace(consumer.subscription(), queue=queue, deliver=dies))
        body = wire(trial("a"))
        assert await bus.publish([replace(message(""), body=body)]) == [None]
        await until(lambda: rows(notifier, "select count(*) from failed_deliveries where due_at is null") == [1])
    assert deliveries == 4
    assert rows(notifier, "select body from failed_deliveries")[0].tobytes() == body
    assert "never acknowledged" in rows(notifier, "select error from failed_deliveries")[0]
