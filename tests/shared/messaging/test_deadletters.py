"""Events that were refused: tried again, never twice at once, parked with their story, replayed or dropped."""

from __future__ import annotations

import threading
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.db import Database
from shared.errors import NotFound
from shared.events import Event
from shared.events.identity import VerificationRequested
from shared.messaging import deadletters, outbox, retry
from shared.messaging.consumer import Consumer, Context
from shared.messaging.deadletters import BACK_OFF
from shared.messaging.housekeeping import BATCH, Housekeeper
from shared.messaging.retry import Retrier, retry_one
from tests.shared.messaging.bus import (
    PATIENCE,
    effects,
    execute,
    hearer,
    leave_effect,
    looping,
    rows,
    tell,
    trial,
    until,
    verification,
    wire,
)

pytestmark = pytest.mark.anyio

DUE_NOW = "update failed_deliveries set due_at = now() where due_at is not null"
KEPT = "select count(*) from failed_deliveries"


class Moody:
    """A handler that leaves its effect and tells an event, then fails as long as it is `ill`."""

    def __init__(self) -> None:
        self.ill = True

    def __call__(self, session: Session, event: Event, context: Context) -> None:
        leave_effect(session, event, context)  # type: ignore[arg-type]
        outbox.add(session, trial("told"), context.now)
        if self.ill:
            raise RuntimeError("not today\nand the details")


def parked_ids(database: Database) -> list[UUID]:
    with database.unit_of_work() as session:
        return [letter.id for letter in deadletters.parked(session)]


def test_a_failed_try_leaves_nothing_and_the_one_that_succeeds_everything_once(notifier: Database) -> None:
    moody = Moody()
    consumer = hearer(notifier, moody)
    consumer.receive([wire(trial("a"))])
    assert not retry_one(consumer), "its time has not come"
    for attempts in (2, 3):
        execute(notifier, DUE_NOW)
        assert retry_one(consumer)
        assert rows(notifier, "select attempts from failed_deliveries") == [attempts]
        assert effects(notifier) == []
        assert rows(notifier, "select count(*) from outbox") == [0]
        assert rows(notifier, "select count(*) from inbox") == [0]
    moody.ill = False
    execute(notifier, DUE_NOW)
    assert retry_one(consumer)
    assert not retry_one(consumer)
    assert effects(notifier) == ["a"]
    assert rows(notifier, "select count(*) from outbox") == [1]
    assert rows(notifier, KEPT) == [0]


def test_waits_grow_and_a_poison_event_ends_parked_with_its_story(notifier: Database) -> None:
    consumer = hearer(notifier, Moody())
    body = wire(trial("a"))
    consumer.receive([body])
    waits = rows(notifier, "select due_at - last_failed_at from failed_deliveries")
    for _ in BACK_OFF:
        execute(notifier, DUE_NOW)
        assert retry_one(consumer)
        waits += rows(notifier, "select due_at - last_failed_at from failed_deliveries")
    assert waits == [*BACK_OFF, None]
    with notifier.unit_of_work() as session:
        (letter,) = deadletters.parked(session)
        assert deadletters.count(session) == (0, 1)
    assert letter.attempts == len(BACK_OFF) + 1
    assert letter.type == "trial.started"
    assert letter.handler.endswith("Moody")
    assert letter.error.startswith("RuntimeError: not today (__call__:")
    assert "details" not in letter.error
    assert letter.first_failed_at < letter.last_failed_at
    assert not retry_one(consumer), "a parked event is left alone"
    consumer.receive([body])  # and a late second copy changes nothing
    assert rows(notifier, KEPT) == [1]


def test_a_parked_event_can_be_replayed_or_dropped_and_only_a_parked_one(notifier: Database) -> None:
    moody = Moody()
    consumer = hearer(notifier, moody)
    consumer.receive([wire(trial("replayed")), wire(trial("dropped"))])
    waiting = rows(notifier, "select id from failed_deliveries")
    for operation in (deadletters.replay, deadletters.drop):
        for id_ in (waiting[0], uuid4()):
            with pytest.raises(NotFound), notifier.unit_of_work() as session:
                operation(session, id_)
    execute(notifier, "update failed_deliveries set due_at = null")
    replayed, dropped = parked_ids(notifier)
    with notifier.unit_of_work() as session:
        deadletters.replay(session, replayed)
        deadletters.drop(session, dropped)
    moody.ill = False
    assert retry_one(consumer)
    assert not retry_one(consumer)
    assert len(effects(notifier)) == 1
    assert rows(notifier, KEPT) == [0]


def test_an_event_that_took_effect_meanwhile_is_not_doubled_by_its_retry(notifier: Database) -> None:
    moody = Moody()
    consumer = hearer(notifier, moody)
    body = wire(trial("a"))
    consumer.receive([body])
    moody.ill = False
    consumer.receive([body])  # delivered again, and this time it went well
    execute(notifier, DUE_NOW)
    assert retry_one(consumer)
    assert effects(notifier) == ["a"]
    assert rows(notifier, KEPT) == [0]


def test_two_replicas_never_try_the_same_event_at_once(notifier: Database) -> None:
    inside, may_end = threading.Event(), threading.Event()
    hearer(notifier, Moody()).receive([wire(trial("a"))])
    execute(notifier, DUE_NOW)

    def slow(session: Session, event: Event, context: Context) -> None:
        inside.set()
        assert may_end.wait(PATIENCE)
        leave_effect(session, event, context)  # type: ignore[arg-type]

    first = threading.Thread(target=retry_one, args=(hearer(notifier, slow),))
    first.start()
    assert inside.wait(PATIENCE)
    assert retry_one(hearer(notifier)) is False
    may_end.set()
    first.join()
    assert effects(notifier) == ["a"]


def test_what_the_database_says_only_at_the_commit_is_a_failed_try_and_not_a_row_that_blocks_all(
    notifier: Database,
) -> None:
    execute(notifier, "create table once (word text unique deferrable initially deferred)")
    execute(notifier, "insert into once values ('a')")

    def insert(session: Session, event: Event, context: Context) -> None:
        session.execute(text("insert into once values (:word)"), {"word": event.plan})  # type: ignore[attr-defined]

    consumer = hearer(notifier, insert)
    consumer.receive([wire(trial("a")), wire(trial("b"))])
    assert sorted(rows(notifier, "select word from once")) == ["a", "b"]
    execute(notifier, DUE_NOW)
    assert retry_one(consumer)
    assert rows(notifier, "select attempts from failed_deliveries") == [2]
    assert not retry_one(consumer)


def test_the_story_of_a_sensitive_event_quotes_nothing(notifier: Database, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(session: Session, event: VerificationRequested, context: Context) -> None:
        raise ValueError(f"no mail to {event.email} with {event.link}")

    consumer = Consumer(notifier, {VerificationRequested: refuse}, hearer(notifier)._clock)
    consumer.receive([wire(verification("https://x/very-secret"))])
    execute(notifier, DUE_NOW)
    assert retry_one(consumer)
    (story,) = rows(notifier, "select error from failed_deliveries")
    assert story.startswith("ValueError: ")
    assert "secret" not in story
    assert "example.com" not in story
    assert "very-secret" not in "".join(capfd.readouterr())


async def test_the_retrier_tries_what_is_due_and_counts_the_rest(
    notifier: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "POLL", 0.01)
    monkeypatch.setattr(retry, "COUNT_EVERY", 0.0)
    moody = Moody()
    consumer = hearer(notifier, moody)
    consumer.receive([wire(trial(word)) for word in ("due", "waits", "parked")])
    moody.ill = False
    execute(notifier, "update failed_deliveries set due_at = now() + interval '1 hour'")
    first, _, last = rows(notifier, "select id from failed_deliveries order by id")
    execute(notifier, f"update failed_deliveries set due_at = now() where id = '{first}'")  # noqa: S608
    execute(notifier, f"update failed_deliveries set due_at = null where id = '{last}'")  # noqa: S608

    def gauge(name: str) -> float | None:
        return REGISTRY.get_sample_value(name, {"service": "notifier"})

    async with looping(Retrier(consumer).run, Retrier(consumer).run):
        await until(lambda: effects(notifier) == ["due"])
        await until(lambda: (gauge("event_retries_waiting"), gauge("dead_letters")) == (1.0, 1.0))


def test_housekeeping_removes_what_is_old_and_nothing_else_in_batches(notifier: Database) -> None:
    execute(
        notifier,
        "insert into inbox (event_id, handled_at) select gen_random_uuid(), now() - interval '31 days'"  # noqa: S608
        f" from generate_series(1, {BATCH + 5})",
    )
    execute(notifier, "insert into inbox (event_id, handled_at) values (gen_random_uuid(), now() - interval '29 days')")
    for key, hours in (("old", 25), ("young", 23)):
        execute(
            notifier,
            "insert into idempotency_keys (caller, key, request, created_at)"  # noqa: S608
            f" values ('c', '{key}', 'r', now() - interval '{hours} hours')",
        )
    keeper = Housekeeper(notifier)
    assert [keeper.clean() for _ in range(3)] == [BATCH + 1, 5, 0]
    assert rows(notifier, "select count(*) from inbox") == [1]
    assert rows(notifier, "select key from idempotency_keys") == ["young"]


async def test_housekeeping_measures_the_outbox(billing: Database) -> None:
    tell(billing, trial(), trial())
    execute(billing, "update outbox set written_at = now() - interval '90 seconds'")
    async with looping(Housekeeper(billing).run):
        await until(lambda: REGISTRY.get_sample_value("outbox_depth", {"service": "billing"}) == 2)
    age = REGISTRY.get_sample_value("outbox_age_seconds", {"service": "billing"})
    assert age is not None
    assert 90 <= age < 90 + PATIENCE
