"""Processes of the scheduler and the notifier are killed, the clock jumps, the mail server fails: each thing once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from deploy.local.processes import log_tail
from services.notifier import mailing
from services.notifier.app import build as build_notifier
from services.notifier.models import Mail
from services.notifier.settings import Settings as NotifierSettings
from services.scheduler import rules, timers
from services.scheduler.app import build as build_scheduler
from services.scheduler.settings import Settings as SchedulerSettings
from shared.events.billing import TrialStarted
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from shared.messaging.envelope import Envelope
from shared.messaging.tables import outbox
from shared.migrate import migrate
from shared.service import Service
from tests.callers import PUBLIC_KEY
from tests.chaos.nursery import Born, Nursery
from tests.chaos.record import LONG, Record
from tests.infrastructure import Databases
from tests.journeys.platform import eventually
from tests.notifier.stand_ins import Mailbox, mailbox_server
from tests.notifier.stories import Story

pytestmark = pytest.mark.xdist_group("chaos-timers-and-mail")

ROUNDS = 20 if LONG else 1
COMPANIES = 60 if LONG else 25
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def nursery(own_folder: Path) -> Iterator[Nursery]:
    made = Nursery("tests.chaos.service_process", own_folder)
    yield made
    made.close()


class Replicas:
    """Two background processes of one service on one database and one clock; killed ones are started again."""

    def __init__(self, nursery: Nursery, record: Record, service: Service, clock_file: Path, **more: str) -> None:
        self.record, self.service, self.clock = record, service, service.settings.clock
        self._nursery, self._folder, self._clock_file = nursery, clock_file.parent, clock_file
        url = service.settings.database_url.get_secret_value()
        given = {f"{service.name.upper()}_DATABASE_URL": url, "TOKEN_PUBLIC_KEY": PUBLIC_KEY}
        self._environment = given | {"CLOCK_FILE": str(clock_file)} | more
        self._born: dict[str, Born] = {}
        self._may_die: dict[str, list[int]] = {}
        self.died = 0

    def start(self, name: str, steps: list[int]) -> None:
        """Starts one; it ends at the first of `steps`, its successor at the next, and the last one lives."""
        armed = {"CRASH_STEP": str(steps[0])} if steps else {}
        command = [self.service.package, "worker"]
        log = self._folder / f"{self.service.name}-{name}.log"
        self._born[name] = self._nursery.start(command, self._environment | armed, log)
        self._may_die[name] = steps

    def supervise(self) -> None:
        """Starts again what came to its step. Fails when anything else has ended."""
        for name, born in list(self._born.items()):
            if (code := born.poll()) is not None:
                log = self._folder / f"{self.service.name}-{name}.log"
                assert (code, bool(self._may_die[name])) == (-9, True), log_tail(log, 30)
                self.record.kills(f"{self.service.name} before {log_tail(log, 1)}")
                self.died += 1
                self.start(name, self._may_die[name][1:])

    def stop(self) -> None:
        """SIGKILL to both."""
        for born in self._born.values():
            if born.poll() is None:
                born.kill()
        self._born.clear()

    def until(self, look: Callable[[], object], what: str) -> None:
        """Waits, and keeps the processes alive meanwhile."""

        def once() -> object:
            self.supervise()
            return look()

        eventually(once, what)

    def move_clock(self, by: timedelta) -> None:
        """Sets every process's clock on, or back."""
        shift = float(self._clock_file.read_text()) + by.total_seconds()
        new = self._clock_file.with_suffix(".new")
        new.write_text(str(shift))
        new.replace(self._clock_file)

    def rows(self, statement: Any) -> list[Any]:
        """What a statement returns."""
        with self.service.database.unit_of_work() as session:
            return list(session.connection().execute(statement).all())

    def execute(self, statement: str) -> None:
        """Runs a statement and commits."""
        with self.service.database.unit_of_work() as session:
            session.execute(text(statement))


@pytest.fixture
def clock_file(tmp_path: Path) -> Path:
    (tmp_path / "clock").write_text("0")
    return tmp_path / "clock"


@pytest.fixture
def schedulers(databases: Databases, nursery: Nursery, record: Record, clock_file: Path) -> Iterator[Replicas]:
    made = databases.new()
    settings = SchedulerSettings(database_url=made("scheduler"), token_public_key=PUBLIC_KEY, clock_file=clock_file)
    service = build_scheduler(settings)
    migrate(service.database, service.package)
    replicas = Replicas(nursery, record, service, clock_file)
    yield replicas
    replicas.stop()
    service.database.close()
    databases.drop(made)


def steps(record: Record, *of: object) -> list[int]:
    """Where a process and its successors die: anywhere from the first look to the announcements' commit."""
    lots = record.lots(*of)
    return [lots.randint(2, 10 + COMPANIES), lots.randint(2, 10 + COMPANIES)]


def test_three_days_down_two_at_once_and_a_clock_set_back(schedulers: Replicas, record: Record) -> None:
    for number in range(ROUNDS):
        lots = record.lots("timers", number)
        now = schedulers.clock.now()
        # A reminder seven days before each end falls into the next three days, one three days before into later ones.
        ends = {new_id(): now + 7 * DAY + HOUR + lots.random() * (3 * DAY - 2 * HOUR) for _ in range(COMPANIES)}
        for company, end in ends.items():
            plan_trial(schedulers, company, end)
        schedulers.move_clock(3 * DAY)  # while nobody runs
        schedulers.start("one", steps(record, number, "late"))
        schedulers.until(lambda ends=ends: len(announced(schedulers, 7, ends)) >= len(ends), "what is late is told")
        in_order = sorted(ends, key=lambda company: ends[company])
        assert announced(schedulers, 7, ends) == in_order
        record.holds("timer late by up to three days fired once, in order", len(ends))

        for name in ("one", "two"):
            schedulers.stop()
            schedulers.move_clock(2 * DAY)
            for replica in ("one", "two"):
                schedulers.start(replica, steps(record, number, name, replica))
            marker(schedulers)
        assert Counter(announced(schedulers, 3, ends)) == Counter(list(ends))
        record.holds("timer fired once by two schedulers", len(ends))

        before = len(schedulers.rows(select(outbox.c.position)))
        schedulers.move_clock(-HOUR)
        marker(schedulers)
        schedulers.move_clock(2 * HOUR)
        marker(schedulers)
        told = schedulers.rows(select(outbox.c.type, outbox.c.data).order_by(outbox.c.position).offset(before))
        again = [row.data["company_id"] for row in told if row.type == "trial.expiring" and row.data["days_left"] > 1]
        assert not set(again) & set(map(str, ends))
        record.holds("clock set back and on again, nothing fired twice")
        schedulers.stop()
        schedulers.execute("delete from outbox")
        schedulers.execute("update timers set cancelled_at = now() where fired_at is null")


def plan_trial(schedulers: Replicas, company: UUID, end: datetime) -> None:
    """What hearing of a trial does."""
    now = schedulers.clock.now()
    trial = TrialStarted(company_id=company, plan="team", started_at=now, ends_at=end)
    with schedulers.service.database.unit_of_work() as session:
        timers.plan(session, company, end, rules.of_trial(trial), now)


def announced(schedulers: Replicas, days: int, ends: dict[UUID, datetime]) -> list[UUID]:
    """Whose trial was announced to end in so many days, in the order it was told."""
    told = schedulers.rows(select(outbox.c.data).where(outbox.c.type == "trial.expiring").order_by(outbox.c.position))
    found = [UUID(row.data["company_id"]) for row in told if row.data["days_left"] == days]
    return [company for company in found if company in ends]


def marker(schedulers: Replicas) -> None:
    """Returns when everything that is due by now has been fired: this timer is the youngest of it."""
    company = new_id()
    plan_trial(schedulers, company, schedulers.clock.now() + DAY)
    waiting = "select 1 from timers where fired_at is null and cancelled_at is null and due_at <= :now"

    def none_due() -> bool:
        with schedulers.service.database.unit_of_work() as session:
            return session.execute(text(waiting), {"now": schedulers.clock.now()}).first() is None

    schedulers.until(none_due, "all that is due is told")
    assert schedulers.rows(select(outbox.c.id).where(outbox.c.subject == str(company)))


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A real SMTP server, aiosmtpd, that misbehaves as it is told."""
    with mailbox_server() as made:
        yield made


@pytest.fixture
def notifiers(
    databases: Databases, nursery: Nursery, record: Record, clock_file: Path, mailbox: Mailbox
) -> Iterator[Replicas]:
    made = databases.new()
    mail = {"smtp_url": f"smtp://127.0.0.1:{mailbox.port}", "mail_from": "YouAreCoder <no-reply@mail.example.com>"}
    settings = NotifierSettings(
        database_url=made("notifier"), token_public_key=PUBLIC_KEY, clock_file=clock_file, **mail
    )
    service = build_notifier(settings)
    migrate(service.database, service.package)
    more = {name.upper(): value for name, value in mail.items()} | {"NOTIFIER_SMTP_TIMEOUT": "PT1S"}
    replicas = Replicas(nursery, record, service, clock_file, **more)
    yield replicas
    replicas.stop()
    service.database.close()
    databases.drop(made)


TROUBLES = ("tempfail", "slow", "drop-mid-message", "lost-reply", "down")


def test_each_mail_once_while_the_mail_server_fails_and_senders_are_killed(
    notifiers: Replicas, mailbox: Mailbox, record: Record
) -> None:
    for number in range(ROUNDS):
        lots = record.lots("mail", number)
        mailbox.clear()
        stories = [Story("en") for _ in range(12)]
        refused = stories[-1].email
        died = notifiers.died
        for name in ("one", "two"):
            notifiers.start(name, [lots.randint(10, 60), lots.randint(10, 60)])
        for trouble in lots.sample(TROUBLES, len(TROUBLES)):
            # 2 s are twice what the notifier waits for an answer.
            mailbox.misbehave(trouble, seconds=2)
            queue(notifiers, *[stories.pop(0) for _ in range(2)])
            notifiers.until(lambda: tried(notifiers), f"each mail is tried while the server is {trouble}")
            record.kills(f"mail server {trouble}")
            mailbox.behave()
        mailbox.misbehave("reject", towards=refused)
        queue(notifiers, *stories)
        notifiers.until(lambda: concluded(notifiers), "each mail is sent or given up")
        notifiers.stop()

        mails = notifiers.rows(select(Mail.recipient, Mail.status, Mail.attempts))
        assert {mail.recipient: mail.attempts for mail in mails if mail.status == "failed"} == {refused: 1}
        arrived = mailbox.mails
        ids = {(mail["to"][0], header(mail, "message-id")) for mail in arrived}
        assert sorted(to for to, _ in ids) == sorted(mail.recipient for mail in mails if mail.recipient != refused)
        # A second copy bears the id of the first, by which mail servers drop it. A counted try makes one copy at most,
        # and so does one that ended with its process.
        copies = Counter(mail["to"][0] for mail in arrived)
        for mail in mails:
            assert copies[mail.recipient] <= mail.attempts + notifiers.died - died
        record.holds("mail delivered once", len(ids))
        record.holds("refused address given up at once")
        notifiers.execute("delete from mails")


sequence = count(100)


def queue(notifiers: Replicas, *stories: Story) -> None:
    """The notifier hears what each company is to be told."""
    service = notifiers.service
    consumer = Consumer(service.database, service.handlers, notifiers.clock, service.settings)
    for story in stories:
        for event in (*story.beginning(), story.event("workspace_ready")):
            envelope = Envelope(
                new_id(), event.type, event.publisher(), event.subject, notifiers.clock.now(), next(sequence),
                event.model_dump(mode="json"),
            )  # fmt: skip
            consumer.receive([envelope.to_bytes()])


def tried(notifiers: Replicas) -> bool:
    """Whether no mail is still before its first try. A lease that a killed process left is over."""
    end_leases_of_the_dead(notifiers)
    return not notifiers.rows(select(Mail.id).where(Mail.status == "waiting", Mail.attempts == 0))


def concluded(notifiers: Replicas) -> bool:
    """Whether every mail is sent or given up; time passes until it is."""
    waiting = notifiers.rows(select(Mail.id).where(Mail.status == "waiting"))
    if waiting:
        end_leases_of_the_dead(notifiers)
        notifiers.move_clock(mailing.BACK_OFF[1])
    return not waiting


def end_leases_of_the_dead(notifiers: Replicas) -> None:
    """Time passes for leases, too, which go by the database's clock: only those older than a try can take."""
    limit = mailing.LEASE - timedelta(seconds=10)
    with notifiers.service.database.unit_of_work() as session:
        session.execute(
            text("update mails set leased_until = now() where leased_until < now() + :limit"), {"limit": limit}
        )


def header(mail: dict[str, Any], name: str) -> str:
    """A header of an arrived mail."""
    found = {key.lower(): value for key, value in dict(mail["headers"]).items()}
    return str(found[name])
