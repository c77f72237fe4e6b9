"""The bus under load while its processes, its broker and its database are killed: each effect exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import aio_pika
import pytest

from deploy.local import rabbitmq
from shared.messaging.deadletters import BACK_OFF
from shared.messaging.rabbitmq import EXCHANGE
from tests import infrastructure
from tests.chaos.bus_process import LATE, POINTS, POISON, tell, word_of
from tests.chaos.bus_world import Broker, BusWorld, OwnPostgres, crashes, held, plan
from tests.chaos.cable import Cable
from tests.chaos.record import LONG, Record

pytestmark = pytest.mark.xdist_group("chaos-bus")

EVENTS, SECONDS, CRASHES, KILLS = (10_000, 240.0, 12, 40) if LONG else (200, 6.0, 1, 3)
"""How many events, over how long they are told, crashes at each point, and signals at any moment."""


@pytest.fixture(scope="module")
def own_postgres(own_folder: Path) -> Iterator[OwnPostgres]:
    """A database server these tests may kill."""
    (own_folder / "postgres").mkdir(mode=0o711)
    own = OwnPostgres(own_folder / "postgres")
    yield own
    own.cable.close()
    own.server.stop()


@pytest.fixture(scope="module")
def own_broker(own_folder: Path) -> Iterator[Broker]:
    """A broker these tests may kill."""
    infrastructure.need(rabbitmq.available(), "RabbitMQ is not installed here (apt-get install rabbitmq-server)")
    server = rabbitmq.start(own_folder / "broker")
    broker = Broker(server, Cable(server.port))
    yield broker
    broker.cable.close()
    server.stop()


@pytest.fixture(params=["in-process", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def world(
    request: pytest.FixtureRequest, own_folder: Path, own_postgres: OwnPostgres, record: Record
) -> Iterator[BusWorld]:
    """Two replicas of everything, on one bus and then on the other."""
    broker = request.getfixturevalue("own_broker") if request.param == "rabbitmq" else None
    (own_folder / request.param).mkdir()
    made = BusWorld(own_folder / request.param, own_postgres, broker, record)
    yield made
    made.close()


def poison_by_hand(world: BusWorld) -> None:
    """Something that is no event of ours, where an event belongs."""
    if world.broker is None:
        world.execute(
            "insert into outbox (id, type, subject, time, data)"
            " values (gen_random_uuid(), 'trial.started', 'nobody', now(), '{\"nonsense\": 1}')",
            world.billing,
        )
        return

    async def publish(channel: aio_pika.abc.AbstractChannel) -> None:
        exchange = await channel.get_exchange(EXCHANGE)
        await exchange.publish(aio_pika.Message(b"\x00 no event", delivery_mode=2), "trial.started")

    world.broker.by_hand(publish)


def delete_a_queue(world: BusWorld) -> None:
    """Nothing lies in it, since what a deleted queue holds is gone; what is told until it is back must wait."""
    assert world.broker is not None
    with held(world, "teller"):
        world.until(lambda: at_rest(world), "everything told so far is handled")
        world.broker.delete("notifier")


def at_rest(world: BusWorld) -> bool:
    """Whether every told event has had its first try, and nothing is on its way."""
    tried = world.rows(
        world.notifier,
        "select (select count(*) from inbox) + (select count(*) from failed_deliveries where type = 'trial.started')",
    )
    empty = not any(world.rows(database, "select 1 from outbox") for database in (world.billing, world.notifier))
    return empty and tried[0] >= world.told() and (world.broker is None or world.broker.lengths("notifier") == [0])


def restart_broker(world: BusWorld, *, kill: bool) -> None:
    """An own RabbitMQ goes away under load and comes back."""
    assert world.broker is not None
    world.broker.settled()
    if kill:
        world.broker.server.kill()
    world.broker.server.restart()


ACTS: dict[str, Callable[[BusWorld], object]] = {
    "PostgreSQL killed": lambda world: world.postgres.kill(),
    "PostgreSQL restarted": lambda world: world.postgres.restart(),
    "connections to PostgreSQL cut": lambda world: world.postgres.cable.pull(),
    "message that is no event": poison_by_hand,
    "RabbitMQ killed": lambda world: restart_broker(world, kill=True),
    "RabbitMQ restarted": lambda world: restart_broker(world, kill=False),
    "connections to RabbitMQ cut": lambda world: world.broker and world.broker.cable.pull(),
    "queue deleted by hand": delete_a_queue,
}


def acts_of(world: BusWorld) -> list[str]:
    """What is broken beside processes; in the short form what takes longest is broken once."""
    once = [act for act in ACTS if world.broker or not ("RabbitMQ" in act or "queue" in act)]
    if LONG:
        return [act for act in once for _ in range(3)]
    return [act for act in once if "restarted" not in act]


def test_each_effect_exactly_once_whatever_is_killed(world: BusWorld, record: Record) -> None:
    lots = record.lots("bus", "rabbitmq" if world.broker else "in-process")
    # In-process, one process is all services; the database is what its replicas share.
    services = ["billing", "notifier"] if world.broker else ["billing,notifier"]
    crew = [f"{names.replace(',', '+')} {replica}" for names in services for replica in (1, 2)]
    steps = plan(lots, EVENTS, acts_of(world), KILLS, crew)
    lives = crashes(lots, CRASHES, crew)
    teller = ["teller", str(EVENTS), str(SECONDS), f"{record.seed}", str(lots.randrange(EVENTS // 10, EVENTS))]

    world.execute("insert into closed values ('what the late ones need is away')")
    for name in crew:
        world.spawn(name, ["services", name.partition(" ")[0].replace("+", ",")], lives[name])
    world.spawn("teller", teller)
    for at, act, whom in steps:
        world.until(lambda at=at: world.told() >= at, f"{at} events are told")  # type: ignore[misc]
        if whom:
            (world.kill if act == "kill" else world.end_in_order)(whom)
        else:
            ACTS[act](world)
            record.kills(act)
    world.until(lambda: world.told() == EVENTS, "all events are told")
    events = EVENTS + tell_until_all_points_were_passed(world)
    world.until(lambda: at_rest(world), "all events are tried")
    an_hour_passes(world, events)
    world.execute("delete from closed")
    world.execute("update failed_deliveries set due_at = now() where due_at is not null")
    waiting = "select 1 from failed_deliveries where due_at is not null"
    world.until(lambda: not world.rows(world.notifier, waiting), "what was late is handled, what is poison is parked")

    expected = [word for word in map(word_of, range(events)) if not word.startswith(POISON)]
    world.until(lambda: len(world.rows(world.billing, "select word from effects")) >= len(expected), "the second hop")
    world.until(lambda: at_rest(world), "nothing is on its way any more")
    told = world.rows(world.billing, "select word from told")
    assert Counter(told) == Counter(map(word_of, range(events)))
    record.holds("event told once", len(told))
    assert Counter(world.rows(world.notifier, "select word from effects")) == Counter(expected)
    record.holds("effect exactly once", len(expected))
    companies = world.rows(world.billing, f"select company from told where word not like '{POISON}%'")  # noqa: S608
    assert Counter(world.rows(world.billing, "select word from effects")) == Counter(companies)
    record.holds("effect of the second hop exactly once", len(companies))
    parked_as_they_should_be(world, events)
    assert not [point for point in POINTS if not record.killed[point]]
    if world.broker:
        assert world.broker.lengths("notifier", "billing", "notifier.dead", "billing.dead") == [0, 0, 0, 0]
        record.holds("queue empty in the end", 4)


def tell_until_all_points_were_passed(world: BusWorld) -> int:
    """On a quick machine all is told before each process has come to its crashes. Returns how many more were told."""
    more = 0

    def one_more() -> bool:
        nonlocal more
        if not world.crashes_left():
            return True
        with world.billing.unit_of_work() as session:
            tell(session, EVENTS + more)
        more += 1
        return False

    world.until(one_more, "each process has come to its crashes")
    return more


def an_hour_passes(world: BusWorld, events: int) -> None:
    """All waits of a back-off but the last, without waiting: 51 minutes of failed tries, then the last wait begins.

    Processes end themselves in the middle of the retries.
    """
    waiting = "select count(*) from failed_deliveries where due_at is not null"
    in_the_hour = f"due_at is not null and attempts < {len(BACK_OFF)}"
    sooner = f"update failed_deliveries set due_at = now() where {in_the_hour}"  # noqa: S608
    left = f"select count(*) from failed_deliveries where {in_the_hour}"  # noqa: S608
    many = world.rows(world.notifier, waiting)[0]
    assert many == sum(word.startswith((POISON, LATE)) for word in map(word_of, range(events)))

    def pass_time() -> bool:
        world.execute(sooner)
        return world.rows(world.notifier, left) == [0]

    world.until(pass_time, "every failing event is tried for an hour")
    world.record.holds("handler failing for an hour, then working", many)


def parked_as_they_should_be(world: BusWorld, events: int) -> None:
    """Poison is parked, each event once, and nothing else is."""
    poison = sum(word.startswith(POISON) for word in map(word_of, range(events)))
    parked = Counter(world.rows(world.notifier, "select type from failed_deliveries"))
    strangers = world.record.killed["message that is no event"]
    # One that no event can be read from is known by its bytes: the same again is the same one.
    unreadable = min(strangers, 1) if world.broker else strangers
    assert parked == {"trial.started": poison, "unreadable": unreadable}
    assert world.rows(world.billing, "select 1 from failed_deliveries") == []
    world.record.holds("poison parked once", poison + unreadable)
