"""The embedded platform is stopped or killed in the middle of a story, started again, and the story goes on."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import docker
import psycopg2
import pytest

from deploy import database
from deploy.local import postgres
from services.notifier import mailing
from shared.messaging import relay
from tests.chaos.record import LONG, Record
from tests.journeys.person import PASSWORD, Person
from tests.journeys.platform import RunningPlatform, eventually, remove_containers

pytestmark = pytest.mark.e2e

ROUNDS = 10 if LONG else 1
MOMENTS = ("sign-up", "workspace starting", "card form open", "payment under way", "workspace stopping")
STOPS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

Interrupt = Callable[[str], None]


@pytest.fixture
def own_platform(run_folder: Path, docker_engine: docker.DockerClient) -> Iterator[RunningPlatform]:
    """A platform these tests may kill."""
    platform = RunningPlatform(run_folder / f"chaos-{secrets.token_hex(4)}", "embedded")
    platform.start()
    yield platform
    platform.stop()
    remove_containers(docker_engine, platform)
    shutil.rmtree(platform.data, ignore_errors=True)


def interrupting(platform: RunningPlatform, record: Record, number: int) -> Interrupt:
    """Stops the platform at some of the moments, each in its way, and starts it again. All of them in the long form."""
    lots = record.lots("platform", number)
    moments = list(MOMENTS) if LONG else lots.sample(MOMENTS, 3)
    ways = [lots.choice(STOPS) for _ in moments] if LONG else lots.sample(STOPS, 3)
    planned = {moment: (way, lots.random() * 0.4) for moment, way in zip(moments, ways, strict=True)}

    def interrupt(moment: str) -> None:
        if moment not in planned:
            return
        way, later = planned[moment]
        time.sleep(later)
        ended = datetime.now(UTC)
        assert platform.stop(way) == (-signal.SIGKILL if way is signal.SIGKILL else 0)
        record.kills(f"platform, {way.name}, {moment}")
        platform.start()
        end_leases_of(platform, ended)

    return interrupt


def end_leases_of(platform: RunningPlatform, ended: datetime) -> None:
    """Time passes for what the dead process had taken: by the database's clock, which no test can set on.

    Its leases are those that would end before one taken after it: the next process's stay.
    """
    server = postgres.attach(platform.data / "postgres")
    assert server is not None
    with contextlib.closing(psycopg2.connect(server.admin_dsn, dbname="youarecoder")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            tables = {"notifier.mails": mailing.LEASE, **{f"{name}.outbox": relay.LEASE for name in database.SERVICES}}
            for table, lease in tables.items():
                over = f"update {table} set leased_until = now() where leased_until < %s"  # noqa: S608
                cursor.execute(over, [ended + lease])


def test_the_story_goes_on(own_platform: RunningPlatform, record: Record) -> None:
    for number in range(ROUNDS):
        interrupt = interrupting(own_platform, record, number)
        with Person(own_platform, "en") as person:
            the_story(own_platform, person, interrupt)
        record.holds("story told to its end: one payment, one invoice, one mail of each kind")


def the_story(platform: RunningPlatform, person: Person, interrupt: Interrupt) -> None:
    """Sign-up, a workspace, a payment, the workspace stopped: each wish is made once and comes true once."""
    answer = person.submit(
        "/sign-up", "/sign-up", company_name="Going On Ltd", name=person.name, email=person.email,
        password=PASSWORD, country="TR", wanted_plan="team",
    )  # fmt: skip
    assert answer.status_code == 303
    interrupt("sign-up")
    person.follow_mail_link("", "verify")
    person.wait_for_subscription("trialing")

    workspace = person.new_workspace("goes-on")
    interrupt("workspace starting")
    person.wait_for_workspace(workspace["id"], "running")

    form = person.submit("/billing/", "/billing/subscribe/team", currency="TRY", key=secrets.token_hex(12))
    frame = re.search(r'<iframe[^>]*src="([^"]+)"', form.text)
    assert frame, form.text[:3000]
    interrupt("card form open")
    platform.pay(unescape(frame[1]))
    interrupt("payment under way")
    person.wait_for_subscription("active")

    assert person.api("POST", f"/workspaces/{workspace['id']}/stop").status_code == 202
    interrupt("workspace stopping")
    person.wait_for_workspace(workspace["id"], "stopped")

    assert [payment["status"] for payment in person.get("/payments")["items"]] == ["paid"]
    assert len(person.get("/invoices")["items"]) == 1
    assert len(person.get("/workspaces")["items"]) == 1
    for subject in ("Payment received", "ready", "Confirm"):
        platform.mail(person.email, subject)
    told = {mail["subject"] for mail in platform.mails(person.email)}
    # A mail that was under way when the platform was killed may come twice, under one id: servers drop the second.
    assert {subject: len(message_ids(platform, person, subject)) for subject in told} == dict.fromkeys(told, 1)


def message_ids(platform: RunningPlatform, person: Person, subject: str) -> set[str]:
    """Under which ids mails with this subject came to the person."""
    found = set()
    with platform.client("mailbox") as mailbox:
        for mail in platform.mails(person.email, subject):
            whole = eventually(lambda mail=mail: mailbox.get(f"/api/mails/{mail['id']}").json(), "the mail")  # type: ignore[misc]
            headers = {name.lower(): value for name, value in dict(whole["headers"]).items()}
            found.add(str(headers["message-id"]))
    return found
