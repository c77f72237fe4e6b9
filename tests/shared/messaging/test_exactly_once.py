"""From a committed change to its effect, with a crash at every point in between; real PostgreSQL, both buses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.db import Database, DatabaseUnavailable
from shared.events import Event
from shared.logging import bound
from shared.messaging import outbox, relay
from shared.messaging.consumer import Consumer, Context
from shared.messaging.inprocess import InProcess
from shared.messaging.relay import Relay
from shared.messaging.transport import Deliver, Message, NotTaken, Subscription, Transport
from tests.shared.messaging.bus import (
    NOW,
    PATIENCE,
    effects,
    execute,
    hearer,
    leave_effect,
    looping,
    rows,
    running,
    tell,
    trial,
    until,
    verification,
    wire,
)

pytestmark = pytest.mark.anyio

MakeTransport = Callable[[], Transport]
LEFT = "select count(*) from outbox"


def listen(consumer: Consumer, queue: str, deliver: Deliver | None = None) -> Subscription:
    """The consumer's subscription under a queue name of this test alone."""
    own = consumer.subscription()
    return replace(own, queue=queue, deliver=deliver or own.deliver)


class Recorder:
    """A bus that takes everything and remembers it; `refuse` makes it take nothing."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.refuse = False

    async def publish(self, messages: Sequence[Message]) -> list[Exception | None]:
        if self.refuse:
            return [NotTaken("away") for _ in messages]
        self.bodies += [message.body for message in messages]
        return [None] * len(messages)


def test_nothing_is_told_when_the_transaction_rolls_back(billing: Database) -> None:
    def tell_and_fail() -> None:
        with billing.unit_of_work() as session:
            outbox.add(session, trial(), NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        tell_and_fail()
    assert rows(billing, LEFT) == [0]


async def test_what_was_committed_takes_effect_once(
    make_transport: MakeTransport, queue: str, billing: Database, notifier: Database
) -> None:
    """In the outbox's order, too, where no broker stands between: a broker's returned message comes again later."""
    bus = make_transport()
    words = [str(number) for number in range(450)]
    async with running(bus):
        await bus.subscribe(listen(hearer(notifier), queue))
        async with looping(Relay(billing, bus).run):
            tell(billing, *map(trial, words[:250]))
            tell(billing, *map(trial, words[250:]))
            await until(lambda: len(effects(notifier)) >= 450)
            await until(lambda: rows(billing, LEFT) == [0])
    assert sorted(effects(notifier)) == sorted(words)
    if isinstance(bus, InProcess):
        assert effects(notifier) == words


async def test_the_relay_is_woken_by_the_commit_and_not_by_its_poll(
    billing: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "POLL", 3600.0)
    bus = Recorder()
    async with looping(Relay(billing, bus).run):
        for count in range(1, 4):
            tell(billing, trial())
            await until(lambda count=count: len(bus.bodies) == count)


async def test_the_relay_listens_again_when_its_connection_was_cut(
    billing: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "POLL", 3600.0)
    bus = Recorder()
    listening = "select pid from pg_stat_activity where query like 'listen %' and datname = current_database()"
    async with looping(Relay(billing, bus).run):
        await until(lambda: rows(billing, listening))
        before = rows(billing, listening)
        execute(billing, f"select pg_terminate_backend({before[0]})")
        tell(billing, trial())  # perhaps while nobody listens
        await until(lambda: rows(billing, listening) not in ([], before))
        tell(billing, trial())
        await until(lambda: len(bus.bodies) == 2)


async def test_a_killed_relay_loses_nothing_another_sends_its_rows_after_the_lease(billing: Database) -> None:
    tell(billing, trial("a"), trial("b"))
    assert len(Relay(billing, Recorder())._claim()) == 2  # and here its process ends
    bus = Recorder()
    assert await Relay(billing, bus).drain() == (0, 0)
    execute(billing, "update outbox set leased_until = now() - interval '1 second'")
    assert await Relay(billing, bus).drain() == (2, 2)
    assert rows(billing, LEFT) == [0]


async def test_relays_side_by_side_send_each_row_once(billing: Database) -> None:
    tell(billing, *(trial(str(number)) for number in range(1000)))
    bus = Recorder()
    async with looping(*(Relay(billing, bus).run for _ in range(3))):
        await until(lambda: rows(billing, LEFT) == [0])
    assert len(bus.bodies) == len(set(bus.bodies)) == 1000


async def test_what_the_bus_does_not_take_stays_and_goes_later(billing: Database) -> None:
    bus = Recorder()
    bus.refuse = True
    tell(billing, trial())
    async with looping(Relay(billing, bus).run):
        await until(lambda: rows(billing, "select count(*) from outbox where leased_until is not null") == [1])
        bus.refuse = False
        await until(lambda: rows(billing, LEFT) == [0])
    assert len(bus.bodies) == 1


async def test_a_claim_is_never_larger_than_a_batch(billing: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "BATCH", 10)
    tell(billing, *(trial(str(number)) for number in range(35)))
    execute(billing, "analyze outbox")
    bus = Recorder()
    sizes = [(await Relay(billing, bus).drain())[0] for _ in range(5)]
    assert sizes == [10, 10, 10, 5, 0]


async def test_crash_between_publish_and_the_rows_removal_the_second_copy_is_dropped(
    make_transport: MakeTransport, queue: str, billing: Database, notifier: Database
) -> None:
    bus = make_transport()
    async with running(bus):
        await bus.subscribe(listen(hearer(notifier), queue))
        tell(billing, trial("once"), trial("twice"))
        dying = Relay(billing, bus)
        dying._settle = lambda taken, left: None  # type: ignore[method-assign]
        await dying.drain()
        await until(lambda: len(effects(notifier)) == 2)
        execute(billing, "update outbox set leased_until = null")
        assert await Relay(billing, bus).drain() == (2, 2)
        tell(billing, trial("marker"))
        await Relay(billing, bus).drain()
        await until(lambda: "marker" in effects(notifier))
    assert effects(notifier) == ["once", "twice", "marker"]


async def test_crash_between_the_handlers_commit_and_the_acknowledgement_is_dropped(
    make_transport: MakeTransport, queue: str, billing: Database, notifier: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("shared.messaging.rabbitmq_queue.REDELIVER_FIRST", 0.01)
    monkeypatch.setattr(relay, "RETRY", relay.timedelta(milliseconds=10))
    bus, consumer, calls = make_transport(), hearer(notifier), 0

    async def deliver_and_crash_once(bodies: Sequence[bytes]) -> None:
        nonlocal calls
        await consumer.deliver(bodies)
        calls += 1
        if calls == 1:
            raise RuntimeError("the process ends before it can acknowledge")

    async with running(bus):
        await bus.subscribe(listen(consumer, queue, deliver_and_crash_once))
        async with looping(Relay(billing, bus).run):
            tell(billing, trial("a"))
            await until(lambda: calls >= 2)
            await until(lambda: rows(billing, LEFT) == [0])
    assert effects(notifier) == ["a"]


async def test_one_bad_event_of_a_batch_waits_alone(billing: Database, notifier: Database) -> None:
    consumer = hearer(notifier)
    bodies = [wire(trial(word)) for word in ("a", "poison", "b")]
    await consumer.deliver(bodies)
    assert effects(notifier) == ["a", "b"]
    kept = rows(notifier, "select error from failed_deliveries where due_at is not null")
    assert len(kept) == 1
    assert kept[0].startswith("ValueError: this one cannot be handled (leave_effect:")
    await consumer.deliver(bodies)  # all of it comes again
    assert effects(notifier) == ["a", "b"]
    assert rows(notifier, "select count(*) from failed_deliveries") == [1]


async def test_the_same_event_twice_in_one_batch_takes_effect_once(notifier: Database) -> None:
    body = wire(trial("a"))
    await hearer(notifier).deliver([body, body])
    assert effects(notifier) == ["a"]


async def test_replicas_with_the_same_events_do_not_double_them(notifier: Database) -> None:
    bodies = [wire(trial(str(number))) for number in range(50)]
    consumers = [hearer(notifier) for _ in range(4)]
    orders = [bodies, bodies[::-1], bodies[25:] + bodies[:25], bodies]
    await asyncio.gather(*(c.deliver(order) for c, order in zip(consumers, orders, strict=True)))
    assert sorted(effects(notifier), key=int) == [str(number) for number in range(50)]
    assert rows(notifier, "select count(*) from failed_deliveries") == [0]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"not json", b"[]", b"{}", b"null", b"\xff\xfe", b"[" * 5000,
        wire(trial(), type="no.such_event"),
        wire(trial(), type="no\x00such"),
        wire(trial(), data={"company_id": "nonsense"}),
        wire(trial(), correlation_id="x" * 65),
        wire(trial()).replace(b'"time":"2026-03-01T12:00:00+00:00"', b'"time":"2026-03-01T12:00:00"'),
        b'{"padding":"' + b"x" * 300_000 + b'"}',
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
async def test_an_unreadable_message_is_parked_once_and_the_rest_of_the_batch_is_handled(
    notifier: Database, body: bytes
) -> None:
    consumer = hearer(notifier)
    for _ in range(2):
        await consumer.deliver([body, wire(trial("good"), id=UUID(int=7))])
    assert effects(notifier) == ["good"]
    assert rows(notifier, "select type from failed_deliveries where due_at is null") == ["unreadable"]


async def test_an_unknown_field_is_ignored(notifier: Database) -> None:
    event = trial("a")
    await hearer(notifier).deliver([wire(event, data=event.model_dump(mode="json") | {"new": {"in": ["v9"]}})])
    assert effects(notifier) == ["a"]


async def test_a_type_that_nobody_here_hears_any_more_leaves_nothing(notifier: Database) -> None:
    await hearer(notifier).deliver([wire(verification("https://x/secret"))])
    assert rows(notifier, "select count(*) from inbox") == [0]
    assert rows(notifier, "select count(*) from failed_deliveries") == [0]


async def test_a_database_that_is_away_makes_the_whole_batch_come_again() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken and not listening: every connection is refused
        away = Database(f"postgresql://notifier@127.0.0.1:{nobody.getsockname()[1]}/x", "notifier")
        with pytest.raises(DatabaseUnavailable):
            await hearer(away).deliver([wire(trial("a"))])
        away.close()


async def test_an_event_whose_connection_was_cut_is_kept_for_another_try(notifier: Database) -> None:
    def cut_off(session: Session, event: Event, context: Context) -> None:
        mine = session.execute(text("select pg_backend_pid()")).scalar_one()
        execute(notifier, f"select pg_terminate_backend({mine})")
        session.execute(text("select 1"))

    body = wire(trial("a"))
    await hearer(notifier, cut_off).deliver([body])
    # The server answers again: what broke was one event's connection, so it waits for its next try.
    assert rows(notifier, "select count(*) from failed_deliveries") == [1]
    assert rows(notifier, "select count(*) from inbox") == [0]


async def test_a_secret_is_nowhere_after_its_delivery(
    make_transport: MakeTransport, queue: str, billing: Database, notifier: Database,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    got: list[str] = []
    event = verification("https://x/very-secret")

    def handler(session: Session, told: Event, context: Context) -> None:
        if not got:
            got.append("refused")
            raise ValueError(f"cannot mail {told.link}")  # type: ignore[attr-defined]
        got.append(told.link)  # type: ignore[attr-defined]

    bus = make_transport()
    consumer = Consumer(notifier, {type(event): handler}, hearer(notifier)._clock)
    # The second time round, when the batch failed, each event is tried alone: it succeeds.
    async with running(bus):
        await bus.subscribe(listen(consumer, queue))
        async with looping(Relay(billing, bus).run):
            tell(billing, event)
            await until(lambda: len(got) == 2)
            await until(lambda: rows(billing, LEFT) == [0])
    assert got == ["refused", "https://x/very-secret"]
    for database in (billing, notifier):
        for table in ("outbox", "inbox", "failed_deliveries"):
            assert not rows(database, f"select 1 from {table} t where t::text like '%very-secret%'")  # noqa: S608
    assert "very-secret" not in "".join(capfd.readouterr())


async def test_the_correlation_and_the_cause_travel_into_the_next_outbox_row(
    make_transport: MakeTransport, queue: str, billing: Database, notifier: Database
) -> None:
    def tell_on(session: Session, event: Event, context: Context) -> None:
        outbox.add(session, trial("next"), context.now)

    bus = make_transport()
    async with running(bus):
        await bus.subscribe(listen(hearer(notifier, tell_on), queue))
        with bound(correlation_id="one-click"):
            tell(billing, trial("first"))
        first = rows(billing, "select id from outbox")[0]
        async with looping(Relay(billing, bus).run):
            await until(lambda: rows(notifier, LEFT) == [1])
    assert rows(notifier, "select correlation_id from outbox") == ["one-click"]
    assert rows(notifier, "select causation_id from outbox") == [str(first)]


async def test_a_graceful_stop_lets_the_handler_finish_and_its_commit_counts(
    make_transport: MakeTransport, queue: str, billing: Database, notifier: Database
) -> None:
    began, may_end = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(session: Session, event: Event, context: Context) -> None:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result(PATIENCE)
        leave_effect(session, event, context)  # type: ignore[arg-type]

    bus = make_transport()
    async with running(bus):
        await bus.subscribe(listen(hearer(notifier, slow), queue))
        async with looping(Relay(billing, bus).run):
            tell(billing, trial("under way"))
            await asyncio.wait_for(began.wait(), PATIENCE)
            stopping = asyncio.create_task(bus.stop_consuming())
            await asyncio.sleep(0.05)
            assert not stopping.done()
            may_end.set()
            await asyncio.wait_for(stopping, PATIENCE)
            assert effects(notifier) == ["under way"]
            await until(lambda: rows(billing, LEFT) == [0])


async def test_two_hearers_each_have_their_own_fate(
    make_transport: MakeTransport, queue: str, billing: Database, notifier: Database
) -> None:
    """One hearer's failure neither hides the event from the other nor doubles it there."""
    bus = make_transport()
    async with running(bus):
        await bus.subscribe(listen(hearer(notifier), f"{queue}-1"))
        await bus.subscribe(listen(hearer(billing), f"{queue}-2"))
        tell(billing, trial("poison"), trial(f"good-{uuid4().hex}"))
        async with looping(Relay(billing, bus).run):
            await until(lambda: rows(billing, LEFT) == [0])
            for database in (billing, notifier):
                await until(lambda database=database: len(effects(database)) == 1)
                await until(lambda database=database: rows(database, "select count(*) from failed_deliveries") == [1])
