"""Staff's doors: the delivery log, sending a parked mail again, and what is not kept for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from services.notifier.models import Mail, Status
from services.notifier.retention import KEEP_CONTENTS, KEEP_LOG, Forgetter
from shared.clock import ManualClock
from shared.service import Service
from tests.callers import a_member, an_admin, calling, staff
from tests.notifier.conftest import Hear
from tests.notifier.stand_ins import Mailbox
from tests.notifier.stories import LINK, Story

Send = Callable[[], int]
Rows = Callable[[], list[Mail]]
Told = Callable[[], list[dict[str, Any]]]
MAILS = "/api/v1/admin/mails"
UNKNOWN = "0193a000-0000-7000-8000-000000000001"


@pytest.fixture
def parked(story: Story, hear: Hear, send: Send, mailbox: Mailbox, rows: Rows) -> Mail:
    mailbox.misbehave("reject", towards=story.email)
    hear(story.event("invitation"))
    send()
    mailbox.behave()
    return rows()[0]


def test_the_log_is_newest_first_page_by_page(
    story: Story, hear: Hear, send: Send, notifier: Service, parked: Mail
) -> None:
    hear(*(story.event("welcome") for _ in range(5)))
    send()
    seen: list[dict[str, Any]] = []
    cursor = None
    with calling(notifier, staff()) as client:
        while True:
            given = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            answer = client.get(MAILS, params=given).json()
            seen += answer["items"]
            cursor = answer["next"]
            if not cursor:
                break
        failed = client.get(MAILS, params={"status": "failed"}).json()["items"]
    assert [mail["id"] for mail in seen] == sorted((mail["id"] for mail in seen), reverse=True)
    assert len(seen) == 6
    assert [(mail["id"], mail["to"]) for mail in failed] == [(str(parked.id), story.email)]
    assert "550" in failed[0]["reason"]
    assert LINK not in str(seen), "no contents"


def test_a_parked_mail_is_sent_again_by_staff(
    parked: Mail, notifier: Service, send: Send, mailbox: Mailbox, rows: Rows
) -> None:
    with calling(notifier, staff()) as client:
        answer = client.post(f"{MAILS}/{parked.id}/resend")
        assert (answer.status_code, answer.json()["status"]) == (202, "waiting")
        assert client.post(f"{MAILS}/{parked.id}/resend").status_code == 409, "once is enough"
    send()
    assert LINK in mailbox.the_one()["text"]
    assert rows()[0].facts == {}
    with calling(notifier, staff()) as client:
        answer = client.post(f"{MAILS}/{parked.id}/resend")
    assert answer.status_code == 409
    assert answer.json()["type"].endswith("cannot-resend")


def test_contents_nobody_could_deliver_go_after_a_week(
    parked: Mail, story: Story, hear: Hear, notifier: Service, clock: ManualClock, rows: Rows, told: Told
) -> None:
    hear(story.event("password_reset"))  # waits: nobody sends
    forgetter = Forgetter(notifier.database, clock)
    clock.advance(KEEP_CONTENTS)
    assert not forgetter.forget()
    clock.advance(timedelta(seconds=1))
    assert forgetter.forget()
    assert not forgetter.forget()
    assert {(row.status, str(row.facts)) for row in rows()} == {(Status.FAILED, "{}")}
    assert "550" in rows()[0].reason
    assert [event["type"] for event in told()] == ["mail.failed", "mail.failed"]
    with calling(notifier, staff()) as client:
        assert client.post(f"{MAILS}/{parked.id}/resend").status_code == 409


def test_a_mail_under_way_is_left_to_its_sender(
    story: Story, hear: Hear, notifier: Service, clock: ManualClock, rows: Rows
) -> None:
    hear(story.event("welcome"))
    with notifier.database.unit_of_work() as session:
        session.execute(text("update mails set leased_until = now() + interval '1 minute'"))
    clock.advance(timedelta(days=8))
    assert not Forgetter(notifier.database, clock).forget()
    assert rows()[0].facts["link"] == LINK


def test_old_lines_of_the_log_go(parked: Mail, notifier: Service, clock: ManualClock, rows: Rows) -> None:
    clock.advance(KEEP_LOG + timedelta(seconds=1))

    async def a_while() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(Forgetter(notifier.database, clock).run(stop))
        while await asyncio.to_thread(rows):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        stop.set()
        await running

    asyncio.run(asyncio.wait_for(a_while(), 10))
    assert rows() == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", MAILS),
        ("POST", f"{MAILS}/{UNKNOWN}/resend"),
        ("GET", "/api/v1/ops/notifier/dead-letters"),
    ],
)
def test_only_staff_enter(notifier: Service, method: str, path: str) -> None:
    for principal, status in ((None, 401), (a_member(), 403), (an_admin(), 403)):
        with calling(notifier, principal) as client:
            answer = client.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"{MAILS}/{UNKNOWN}/resend", 404),
        ("POST", f"{MAILS}/no-id/resend", 422),
        ("POST", f"{MAILS}/..%2f..%2f/resend", 404),
        ("GET", f"{MAILS}?status=lost", 422),
        ("GET", f"{MAILS}?limit=0", 422),
        ("GET", f"{MAILS}?limit=100000", 422),
        ("GET", f"{MAILS}?cursor=%00'--", 422),
    ],
)
def test_nonsense_is_a_clear_4xx(notifier: Service, method: str, path: str, status: int) -> None:
    with calling(notifier, staff()) as client:
        answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
