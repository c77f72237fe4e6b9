"""How fast a committed fact takes effect elsewhere: the kernel's own path, against real servers.

    python -m bench.events [--events 5000] [--runs 3] [--rate 100]

    business commit → outbox → relay → RabbitMQ (quorum queue, confirms) → inbox and effect, committed

Three processes as in production: producers here, the relay's service and the hearer's service in two others. First
all events as fast as they can be written (events/s from the first commit to the last effect), then `--rate` a second
(latency from the business commit to the effect's commit, by one clock). PostgreSQL and RabbitMQ are started for it,
with fsync as in production.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import shutil
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import uvloop
from sqlalchemy import text

from deploy import database as databases
from deploy.local import postgres, rabbitmq
from shared.clock import SystemClock
from shared.db import Database
from shared.events.billing import TrialStarted
from shared.ids import new_id
from shared.logging import configure
from shared.messaging import outbox
from shared.messaging.consumer import Consumer, Context
from shared.messaging.inprocess import InProcess
from shared.messaging.migration import create_kernel_tables
from shared.messaging.rabbitmq import RabbitMQ
from shared.messaging.relay import Relay
from shared.messaging.transport import Transport

CLOCK = SystemClock()
PRODUCERS = 2
_BUSINESS = text("insert into business (id, word) values (:id, :word)")
_EFFECT = text("insert into effects (id) values (:id)")


def handle(session: Any, event: TrialStarted, context: Context) -> None:
    """One row an event."""
    session.connection().execute(_EFFECT, {"id": event.company_id})


def publish(url: str, amqp: str) -> None:
    """The publishing service's worker."""
    _run(_relay(Database(url, "billing"), RabbitMQ(amqp)))


def hear(url: str, amqp: str) -> None:
    """The hearing service's worker."""
    _run(_consume(Database(url, "notifier"), RabbitMQ(amqp)))


def both(publisher: str, hearer: str) -> None:
    """Both in one process, without a broker."""

    async def run() -> None:
        bus = InProcess()
        await asyncio.gather(_consume(Database(hearer, "notifier"), bus), _relay(Database(publisher, "billing"), bus))

    _run(run())


async def _relay(database: Database, bus: Transport) -> None:
    await bus.start()
    await Relay(database, bus).run(_stopped())
    await bus.stop()


async def _consume(database: Database, bus: Transport) -> None:
    await bus.start()
    await bus.subscribe(Consumer(database, {TrialStarted: handle}, CLOCK).subscription())
    await _stopped().wait()
    await bus.stop()


def _stopped() -> asyncio.Event:
    stop = asyncio.Event()
    previous = signal.getsignal(signal.SIGTERM)
    loop = asyncio.get_running_loop()

    def end(*arguments: Any) -> None:
        loop.call_soon_threadsafe(stop.set)
        if callable(previous):
            previous(*arguments)

    signal.signal(signal.SIGTERM, end)
    return stop


def _run(coroutine: Any) -> None:
    configure("bench", "error")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(coroutine)


def produce(database: Database, count: int, pause: float = 0.0) -> None:
    """`count` transactions, each a business row and the fact that tells it; one every `pause` seconds."""
    began = time.perf_counter()
    for number in range(count):
        if pause:
            time.sleep(max(0.0, began + number * pause - time.perf_counter()))
        now = CLOCK.now()
        with database.unit_of_work() as session:
            company = new_id()
            session.connection().execute(_BUSINESS, {"id": company, "word": "x" * 64})
            event = TrialStarted(company_id=company, plan="starter", started_at=now, ends_at=now)
            outbox.add(session, event, now)


def throughput(publisher: Database, hearer: Database, events: int) -> float:
    """Events a second from the first commit to the last effect."""
    _clear(publisher, hearer)
    threads = [threading.Thread(target=produce, args=(publisher, events // PRODUCERS)) for _ in range(PRODUCERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = time.perf_counter() - began
    _wait_for(hearer, events // PRODUCERS * PRODUCERS)
    seconds = time.perf_counter() - began
    print(f"  {events / seconds:7.0f} events/s   (written alone: {events / written:.0f}/s)")
    return events / seconds


def latency(publisher: Database, hearer: Database, events: int, rate: float) -> list[float]:
    """Milliseconds from commit to commit, sorted."""
    _clear(publisher, hearer)
    produce(publisher, events, 1 / rate)
    _wait_for(hearer, events)
    told, done = _commits(publisher, "business"), _commits(hearer, "effects")
    return sorted((moment - told[id_]).total_seconds() * 1000 for id_, moment in done.items())


def _commits(database: Database, table: str) -> dict[UUID, datetime]:
    """When each row's transaction committed, by PostgreSQL's own record of it."""
    with database.unit_of_work() as session:
        rows = session.execute(text(f"select id, pg_xact_commit_timestamp(xmin) from {table}"))  # noqa: S608
        return {row[0]: row[1] for row in rows}


def _clear(publisher: Database, hearer: Database) -> None:
    for database, tables in ((publisher, "business"), (hearer, "effects, inbox")):
        with database.unit_of_work() as session:
            session.execute(text(f"truncate {tables}"))


def _wait_for(hearer: Database, events: int) -> None:
    while True:
        with hearer.unit_of_work() as session:
            if session.execute(text("select count(*) from effects")).scalar_one() >= events:
                return
        time.sleep(0.02)


@contextlib.contextmanager
def servers() -> Iterator[tuple[str, str, str]]:
    """The publisher's URL, the hearer's URL, and the broker's."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o711)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        cluster = postgres.start(folder / "postgres")
        stack.callback(lambda: cluster.stop())
        with (
            Database(cluster.admin_dsn, "public")
            .engine.connect()
            .execution_options(isolation_level="AUTOCOMMIT") as connection
        ):
            connection.execute(text("alter system set track_commit_timestamp = on"))
        cluster.stop()
        cluster = postgres.start(folder / "postgres")
        broker = rabbitmq.start(folder / "rabbitmq")
        stack.callback(broker.stop)
        urls = databases.create(cluster.admin_dsn, "bench", {"billing": "bench", "notifier": "bench"})
        for service, table in (
            ("billing", "create table business (id uuid primary key, word text)"),
            ("notifier", "create table effects (id uuid primary key)"),
        ):
            database = Database(urls[service], service)
            with database.engine.begin() as connection:
                create_kernel_tables(connection)
                connection.execute(text(table))
            database.close()
        yield urls["billing"], urls["notifier"], broker.url


@contextlib.contextmanager
def workers(*targets: tuple[Any, tuple[str, ...]]) -> Iterator[None]:
    """Runs each in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    running = [spawn.Process(target=target, args=arguments) for target, arguments in targets]
    for process in running:
        process.start()
    try:
        yield
    finally:
        for process in running:
            process.terminate()
            process.join(20)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.events", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=100.0)
    chosen = parser.parse_args()
    configure("bench", "error")
    with servers() as (publisher_url, hearer_url, amqp):
        publisher, hearer = Database(publisher_url, "billing"), Database(hearer_url, "notifier")
        for name, processes in (
            ("RabbitMQ", [(publish, (publisher_url, amqp)), (hear, (hearer_url, amqp))]),
            ("in-process", [(both, (publisher_url, hearer_url))]),
        ):
            with workers(*processes):
                produce(publisher, 50)  # everything connected and every statement compiled
                _wait_for(hearer, 50)
                print(f"{name}: {chosen.events} events at once, {os.cpu_count()} cores")
                rates = [throughput(publisher, hearer, chosen.events) for _ in range(chosen.runs)]
                print(f"  median {statistics.median(rates):.0f} events/s")
                print(f"{name}: {chosen.rate:.0f} a second")
                for _ in range(chosen.runs):
                    times = latency(publisher, hearer, int(chosen.rate * 5), chosen.rate)
                    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
                    print(f"  p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {times[-1]:.1f} ms")
            _clear(publisher, hearer)
        publisher.close()
        hearer.close()


if __name__ == "__main__":
    main()
