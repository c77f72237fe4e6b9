"""The contract of shared/messaging/transport.py, on every transport there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest

from shared.messaging.transport import NotTaken, Subscription, Transport
from tests.shared.messaging.bus import PATIENCE, Collector, message, running, until

pytestmark = pytest.mark.anyio

TYPES = frozenset({"trial.started"})
MakeTransport = Callable[[], Transport]


async def test_what_is_published_is_delivered_in_order_and_outcomes_are_none(
    make_transport: MakeTransport, queue: str
) -> None:
    bus, got = make_transport(), Collector()
    async with running(bus):
        await bus.subscribe(Subscription(queue, TYPES, got))
        words = [str(number) for number in range(500)]
        outcomes = await bus.publish([message(word) for word in words])
        assert outcomes == [None] * 500
        await until(lambda: len(got.words) >= 500)
        assert got.words == words


async def test_batches_are_bounded_and_deliveries_come_one_at_a_time(make_transport: MakeTransport, queue: str) -> None:
    bus, got = make_transport(), Collector()
    async with running(bus):
        await bus.subscribe(Subscription(queue, TYPES, got, batch=7))
        await asyncio.gather(*(bus.publish([message(f"{n}-{m}") for m in range(30)]) for n in range(5)))
        await until(lambda: len(got.words) >= 150)
        assert max(got.batches) <= 7
        assert got.most_at_once == 1
        assert len(set(got.words)) == 150


async def test_every_queue_gets_each_message_of_its_types_and_no_other(
    make_transport: MakeTransport, queue: str
) -> None:
    bus, trials, mails, both = make_transport(), Collector(), Collector(), Collector()
    async with running(bus):
        await bus.subscribe(Subscription(f"{queue}-1", TYPES, trials))
        await bus.subscribe(Subscription(f"{queue}-2", frozenset({"mail.sent"}), mails))
        await bus.subscribe(Subscription(f"{queue}-3", TYPES | {"mail.sent"}, both))
        await bus.publish([message("a"), message("b", type_="mail.sent")])
        await until(lambda: trials.words and mails.words and len(both.words) == 2)
        assert (trials.words, mails.words, both.words) == (["a"], ["b"], ["a", "b"])


async def test_a_mandatory_message_nobody_hears_is_not_taken(make_transport: MakeTransport) -> None:
    bus, heard = make_transport(), Collector()
    nobody = f"nobody.{uuid4().hex}"
    async with running(bus):
        await bus.subscribe(Subscription(uuid4().hex, TYPES, heard))
        outcomes = await bus.publish(
            [message("lost", type_=nobody), message("told", type_=nobody, mandatory=False), message("heard")]
        )
        assert isinstance(outcomes[0], NotTaken)
        assert outcomes[1:] == [None, None]


async def test_a_delivery_that_raises_comes_again_whole(
    make_transport: MakeTransport, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.rabbitmq_queue.REDELIVER_FIRST", 0.01)
    bus, got = make_transport(), Collector()
    got.failures.append(RuntimeError("the database is away"))
    async with running(bus):
        await bus.subscribe(Subscription(queue, TYPES, got))
        messages = [message("a"), message("b")]
        outcomes = await bus.publish(messages)
        while again := [m for m, outcome in zip(messages, outcomes, strict=True) if outcome]:
            outcomes = await bus.publish(again)  # what a relay does with what was not taken
            messages = again
        await until(lambda: len(got.words) >= 2)
        assert sorted(got.words) == ["a", "b"]


async def test_stop_consuming_lets_the_delivery_under_way_end_and_starts_no_other(
    make_transport: MakeTransport, queue: str
) -> None:
    bus, got = make_transport(), Collector()
    got.gate = asyncio.Event()
    async with running(bus):
        await bus.subscribe(Subscription(queue, TYPES, got, batch=1))
        publishing = asyncio.create_task(bus.publish([message("first"), message("second")]))
        await until(lambda: got.at_once)
        stopping = asyncio.create_task(bus.stop_consuming())
        await asyncio.sleep(0.05)
        assert not stopping.done()
        got.gate.set()
        await asyncio.wait_for(stopping, PATIENCE)
        await asyncio.wait_for(publishing, PATIENCE)
        assert got.words == ["first"]
        await bus.publish([message("third", mandatory=False)])
        assert got.words == ["first"]


async def test_ready_only_between_start_and_stop(make_transport: MakeTransport) -> None:
    bus = make_transport()
    assert not await bus.ready()
    assert all(isinstance(outcome, NotTaken) for outcome in await bus.publish([message("early")]))
    async with running(bus):
        assert await bus.ready()
    assert not await bus.ready()
    assert all(isinstance(outcome, NotTaken) for outcome in await bus.publish([message("late")]))


async def test_a_broadcast_reaches_every_hearer_and_counts_as_heard(make_transport: MakeTransport, queue: str) -> None:
    bus, one, two = make_transport(), Collector(), Collector()
    type_ = f"only.broadcast.{uuid4().hex}"
    async with running(bus):
        await bus.subscribe(Subscription(queue, frozenset({type_}), one, broadcast=True))
        await bus.subscribe(Subscription(queue, frozenset({type_}), two, broadcast=True))
        assert await bus.publish([message("a", type_=type_)]) == [None]
        await until(lambda: one.words and two.words)
        assert (one.words, two.words) == (["a"], ["a"])


async def test_publishing_nothing_is_nothing(make_transport: MakeTransport) -> None:
    bus = make_transport()
    async with running(bus):
        assert await bus.publish([]) == []


async def test_an_empty_and_a_large_body_arrive_as_they_were(make_transport: MakeTransport, queue: str) -> None:
    bus, got = make_transport(), Collector()
    large = "x" * 300_000  # several frames
    async with running(bus):
        await bus.subscribe(Subscription(queue, TYPES, got))
        assert await bus.publish([message(""), message(large)]) == [None, None]
        await until(lambda: len(got.words) == 2)
        assert got.words == ["", large]
