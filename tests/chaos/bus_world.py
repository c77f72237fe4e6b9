"""The bus as it runs in production, to be broken: processes, an own PostgreSQL, an own RabbitMQ, cables between."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aio_pika
import psutil
from sqlalchemy import text

from deploy.local import postgres, processes, rabbitmq
from shared.db import Database, DatabaseUnavailable
from shared.messaging.migration import create_kernel_tables
from tests.callers import PUBLIC_KEY
from tests.chaos.bus_process import POINTS
from tests.chaos.cable import Cable
from tests.chaos.nursery import Born, Nursery
from tests.chaos.record import Record
from tests.infrastructure import TestDatabase
from tests.journeys.platform import eventually

PATIENCE = 120.0
"""Seconds anything may take on a busy machine. Nothing waits this long when all is well."""
QUEUE_SETTLES = 8.0
"""Seconds until a new quorum queue's log is on disk: Erlang writes the list of logs some seconds later, and a broker
killed before that forgets the queue's content."""
T = TypeVar("T")


@dataclass
class Broker:
    """An own RabbitMQ behind a cable."""

    server: rabbitmq.RabbitServer
    cable: Cable
    declared: float = field(default_factory=time.monotonic)

    @property
    def url(self) -> str:
        """Its address at the cable's near end."""
        return self.server.url.replace(f":{self.server.port}/", f":{self.cable.port}/")

    def settled(self) -> None:
        """Returns when what the queues hold would survive a kill."""
        time.sleep(max(0.0, self.declared + QUEUE_SETTLES - time.monotonic()))

    def by_hand(self, act: Callable[[Any], Any]) -> Any:
        """What a person does with a channel of their own."""

        async def go() -> Any:
            async with await aio_pika.connect(self.server.url) as connection:
                return await act(await connection.channel())

        return asyncio.run(go())

    def lengths(self, *queues: str) -> list[int]:
        """How many messages lie ready in each of the queues; -1 alone where one is not there at the moment."""

        async def count(channel: Any) -> list[int]:
            try:
                declared = [await channel.declare_queue(queue, passive=True) for queue in queues]
            except aio_pika.exceptions.ChannelNotFoundEntity:
                return [-1]
            return [queue.declaration_result.message_count for queue in declared]

        found: list[int] = self.by_hand(count)
        return found

    def delete(self, queue: str) -> None:
        """Deletes a queue."""
        self.by_hand(lambda channel: channel.queue_delete(queue))
        self.declared = time.monotonic()


class OwnPostgres:
    """A PostgreSQL that tests may kill; what it says is committed survives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server = postgres.start(folder)
        self.cable = Cable(self.server.port)

    def kill(self) -> None:
        """SIGKILL to the server and each of its children, as the kernel does when memory is short."""
        main = psutil.Process(self.server.pid)
        for process in [main, *main.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.restart()

    def restart(self) -> None:
        """Ends it where it runs, and starts it again with the data it had."""
        self.server.stop()
        self.server = postgres.start(self._folder, port=self.server.port)

    def near(self, url: str) -> str:
        """A service's URL by way of the cable."""
        return url.replace(f":{self.server.port}/", f":{self.cable.port}/")


Crash = tuple[str, int]
"""A point, and at which passing of it the process ends."""
RETRYING = "in a retry"
TELLER_DIES = "before the teller's commit"


@dataclass
class Child:
    """One process of the bus, and the crashes that its lives still have before them."""

    name: str
    arguments: list[str]
    process: Born
    crashes: list[Crash]


class BusWorld:
    """Processes under a supervisor that starts again what was killed, and fails when one ends by itself."""

    def __init__(self, folder: Path, database: OwnPostgres, broker: Broker | None, record: Record) -> None:
        self.record = record
        self.broker = broker
        self.postgres = database
        self._folder = folder
        self._nursery = Nursery("tests.chaos.bus_process", folder)
        self._children: dict[str, Child] = {}
        made = TestDatabase(database.server, f"bus_{os.urandom(4).hex()}")
        self.billing, self.notifier = (Database(made(name), name) for name in ("billing", "notifier"))
        for each in (self.billing, self.notifier):
            with each.engine.begin() as connection:
                create_kernel_tables(connection)
                connection.execute(text("create table effects (position serial, word text)"))
                connection.execute(text("create table told (word text, company text)"))
                connection.execute(text("create table closed (reason text)"))
        self._environment = {
            "BILLING": database.near(made("billing")),
            "NOTIFIER": database.near(made("notifier")),
            "TOKEN_PUBLIC_KEY": PUBLIC_KEY,
            **({"AMQP_URL": broker.url} if broker else {}),
        }

    def spawn(self, name: str, arguments: list[str], crashes: Sequence[Crash] = ()) -> None:
        """Starts a process under a name; it ends itself at the first of `crashes`, its successor at the next."""
        armed = {"CRASH_POINT": crashes[0][0], "CRASH_PASSING": str(crashes[0][1])} if crashes else {}
        process = self._nursery.start(arguments, self._environment | armed, self._folder / f"{name}.log")
        self._children[name] = Child(name, arguments, process, list(crashes))

    def kill(self, name: str) -> None:
        """SIGKILL now; another one takes its place."""
        self.supervise()
        child = self._children[name]
        child.process.kill()
        self.record.kills("process, at any moment")
        self.spawn(name, child.arguments, child.crashes)

    def end_in_order(self, name: str) -> None:
        """SIGTERM once it serves; it must end with 0, and another one takes its place."""
        self.until(lambda: self._serves(name), f"{name} serves")
        child = self._children[name]
        child.process.send_signal(signal.SIGTERM)
        code = child.process.wait(PATIENCE)
        if code == -signal.SIGKILL and child.crashes:
            self.supervise()  # on its way out it came to the point it was armed with
            return
        assert code == 0, self._story(child)
        self.record.kills("process, in order")
        self.spawn(name, child.arguments, child.crashes)

    def crashes_left(self) -> bool:
        """Whether a process still has a crash before it that new events bring about."""
        return any(RETRYING not in point for child in self._children.values() for point, _ in child.crashes)

    def pause(self, name: str) -> None:
        """Holds a process (SIGSTOP); `go_on` lets it run again."""
        self._children[name].process.send_signal(signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """Lets a held process run again."""
        self._children[name].process.send_signal(signal.SIGCONT)

    def supervise(self) -> None:
        """Starts again what ended at its armed point. Fails when anything else has ended."""
        for child in list(self._children.values()):
            code = child.process.poll()
            if code is None or (code == 0 and child.name == "teller"):
                continue
            assert code == -signal.SIGKILL, self._story(child)
            if child.name == "teller":
                self.record.kills(TELLER_DIES)
                self.spawn("teller", [*child.arguments[:-1], "0"])
                continue
            assert child.crashes, self._story(child)
            self.record.kills(child.crashes[0][0])
            self.spawn(child.name, child.arguments, child.crashes[1:])

    def until(self, look: Callable[[], T], what: str) -> T:
        """Asks again and again, and keeps the processes alive meanwhile."""

        def once() -> T | None:
            self.supervise()
            with contextlib.suppress(DatabaseUnavailable):
                return look()
            return None

        return eventually(once, what, PATIENCE)

    def rows(self, database: Database, statement: str) -> list[Any]:
        """The first column of what a statement returns."""
        with database.unit_of_work() as session:
            return list(session.execute(text(statement)).scalars())

    def execute(self, statement: str, database: Database | None = None) -> None:
        """Runs a statement in the notifier's schema, or another's, and commits."""
        with (database or self.notifier).unit_of_work() as session:
            session.execute(text(statement))

    def told(self) -> int:
        """How many events have been told and committed."""
        return int(self.rows(self.billing, "select count(*) from told")[0])

    def close(self) -> None:
        """Ends every process."""
        self._nursery.close()
        for database in (self.billing, self.notifier):
            database.close()

    def _serves(self, name: str) -> bool:
        log = (self._folder / f"{name}.log").read_text()
        return f'"process": {self._children[name].process.pid},' in log

    def _story(self, child: Child) -> str:
        log = processes.log_tail(self._folder / f"{child.name}.log", 30)
        return f"{child.name} ended by itself with {child.process.poll()}:\n{log}"


Step = tuple[int, str, str]
"""After how many told events, what is done, and to which process where it is done to one."""


def plan(lots: random.Random, events: int, acts: list[str], kills: int, crew: list[str]) -> list[Step]:
    """Each of `acts`, and `kills` signals to processes, in an order and at moments of the seed."""
    wanted = [(act, "") for act in acts]
    wanted += [(lots.choice(["kill", "kill", "kill", "end in order"]), lots.choice(crew)) for _ in range(kills)]
    lots.shuffle(wanted)
    moments = sorted(lots.randrange(events // 20, events) for _ in wanted)
    return [(moment, *step) for moment, step in zip(moments, wanted, strict=True)]


def crashes(lots: random.Random, times: int, crew: list[str]) -> dict[str, list[Crash]]:
    """`times` crashes at each point, dealt to the lives of the crew's processes."""
    dealt: dict[str, list[Crash]] = {name: [] for name in crew}
    for point in [*POINTS] * times:
        # Only the notifier has handlers that fail.
        able = [name for name in crew if "notifier" in name or RETRYING not in point]
        dealt[lots.choice(able)].append((point, lots.randint(1, 3)))
    for lives in dealt.values():
        lots.shuffle(lives)
        # Last, since retries are sure to come when everything has been told; nothing waits behind them.
        lives.sort(key=lambda crash: RETRYING in crash[0])
    return dealt


@contextlib.contextmanager
def held(world: BusWorld, name: str) -> Iterator[None]:
    """The process stands still for as long as the block lasts."""
    world.pause(name)
    try:
        yield
    finally:
        world.go_on(name)
