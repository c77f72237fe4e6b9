"""From an event to the mail server: each mail once, whatever the server, billing or the process does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from email import message_from_bytes
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from services.notifier import mailing
from services.notifier.models import Mail, Status
from services.notifier.rendering import source
from services.notifier.sending import Sender
from shared.clock import ManualClock
from shared.db import DatabaseUnavailable
from shared.ids import new_id
from shared.messaging.inprocess import InProcess
from shared.service import Service, Worker
from tests.notifier.conftest import Hear
from tests.notifier.stand_ins import PDF, Documents, Mailbox
from tests.notifier.stories import FOR_STAFF, KINDS, LINK, STAFF, Story

Send = Callable[[], int]
Rows = Callable[[], list[Mail]]
Told = Callable[[], list[dict[str, Any]]]


def headers(mail: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in mail["headers"]}


@pytest.mark.parametrize("language", ["tr", "en"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_arrives_in_the_readers_language(
    kind: str, language: str, hear: Hear, send: Send, mailbox: Mailbox, rows: Rows, told: Told
) -> None:
    story = Story(language)
    hear(*story.beginning(), story.event(kind))
    assert send() == 1
    mail = mailbox.the_one()
    written_in = "en" if kind in FOR_STAFF else language
    fixed_part = source(kind, written_in).subject.split("{{")[0].strip()
    assert fixed_part in mail["subject"]
    assert mail["to"] == [STAFF if kind in FOR_STAFF else story.email]
    assert mail["from"] == "YouAreCoder <no-reply@mail.example.com>"
    assert mail["envelope_from"] == "no-reply@mail.example.com"
    seen = headers(mail)
    (row,) = rows()
    assert seen["message-id"] == f"<{row.id}@mail.example.com>"
    assert seen["auto-submitted"] == "auto-generated"
    assert seen["content-language"] == written_in
    assert seen["date"]
    assert source(kind, written_in).blocks[0].split("{{")[0].split("{%")[0].strip()[:40] in mail["text"]
    assert f'<html lang="{written_in}"' in mail["html"]
    assert row.status == Status.SENT
    assert row.facts == {}, "what it said is forgotten"
    assert [event["type"] for event in told()] == ["mail.sent"]
    assert send() == 0


@pytest.mark.usefixtures("story")
def test_what_goes_over_the_wire_is_plain_seven_bit_lines(
    story: Story, hear: Hear, send: Send, mailbox: Mailbox
) -> None:
    hear(story.invoice())
    send()
    raw = mailbox.raw(mailbox.the_one())
    raw.decode("ascii")
    assert max(len(line) for line in raw.split(b"\r\n")) <= 200
    message = message_from_bytes(raw)
    shape = [part.get_content_type() for part in message.walk()]
    assert shape == ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf"]


def test_the_same_event_twice_is_one_mail(story: Story, hear: Hear, send: Send, mailbox: Mailbox) -> None:
    event, id_ = story.event("verification"), new_id()
    hear(event, id_=id_)
    hear(event, id_=id_)
    send()
    hear(event, id_=id_)
    send()
    assert LINK in mailbox.the_one()["text"]


def test_an_event_the_inbox_has_forgotten_is_still_one_mail(
    story: Story, hear: Hear, notifier: Service, rows: Rows
) -> None:
    event, id_ = story.event("verification"), new_id()
    hear(event, id_=id_)
    with notifier.database.unit_of_work() as session:
        session.execute(text("delete from inbox"))
    hear(event, id_=id_)
    assert len(rows()) == 1
    with notifier.database.unit_of_work() as session:
        assert session.execute(text("select count(*) from failed_deliveries")).scalar_one() == 0


def test_each_admin_is_told_once_and_no_member(story: Story, hear: Hear, send: Send, mailbox: Mailbox) -> None:
    for role, address in (("admin", "two@example.com"), ("admin", "three@example.com"), ("member", "m@example.com")):
        hear(story.person(new_id(), role, address))  # type: ignore[arg-type]
    hear(*Story().beginning())  # another company is none of their business
    hear(story.invoice())
    send()
    assert sorted(mail["to"][0] for mail in mailbox.mails) == sorted(
        [story.email, "two@example.com", "three@example.com"]
    )


def test_storage_is_told_to_the_admins_and_the_owner_and_to_nobody_twice(
    story: Story, hear: Hear, send: Send, mailbox: Mailbox
) -> None:
    owner, colleague = new_id(), new_id()
    hear(story.person(owner, "member", "owner@example.com"), story.person(colleague, "member", "m@example.com"))
    hear(story.storage(95, owner))
    send()
    assert sorted(mail["to"][0] for mail in mailbox.mails) == sorted([story.email, "owner@example.com"])
    hear(story.storage(100))  # the owner is the admin
    send()
    assert len(mailbox.mails) == 3
    assert "1.6 GB" in mailbox.mails[-1]["text"] or "1,6 GB" in mailbox.mails[-1]["text"]


@pytest.mark.parametrize("mode", ["tempfail", "drop-mid-message", "down"])
def test_a_server_in_trouble_gets_it_later_and_once(
    mode: str, story: Story, hear: Hear, send: Send, mailbox: Mailbox, clock: ManualClock, rows: Rows
) -> None:
    mailbox.misbehave(mode)
    hear(story.event("welcome"))
    send()
    clock.advance(mailing.BACK_OFF[0])
    send()
    (waiting,) = rows()
    assert (waiting.status, waiting.attempts) == (Status.WAITING, 2)
    assert waiting.reason
    mailbox.behave()
    assert send() == 0, "not before its time"
    clock.advance(mailing.BACK_OFF[1])
    send()
    assert LINK in mailbox.the_one()["text"]
    assert rows()[0].status == Status.SENT


def test_a_mail_nobody_takes_is_parked_after_its_last_try(
    story: Story, hear: Hear, send: Send, mailbox: Mailbox, clock: ManualClock, rows: Rows, told: Told
) -> None:
    mailbox.misbehave("tempfail")
    hear(story.event("trial_expired"))
    for _ in range(len(mailing.BACK_OFF) + 1):
        assert send() == 1
        clock.advance(timedelta(hours=9))
    assert send() == 0
    (parked,) = rows()
    assert parked.status == Status.FAILED
    assert "451" in parked.reason
    assert [event["type"] for event in told()] == ["mail.failed"]


def test_a_refused_address_is_parked_at_once_and_blocks_nobody(
    story: Story, hear: Hear, send: Send, mailbox: Mailbox, rows: Rows, told: Told
) -> None:
    mailbox.misbehave("reject", towards=story.email)
    others = [Story("en") for _ in range(6)]
    hear(story.event("welcome"), *(other.event("welcome") for other in others))
    send()
    assert sorted(mail["to"][0] for mail in mailbox.mails) == sorted(other.email for other in others)
    (refused,) = (row for row in rows() if row.status == Status.FAILED)
    assert refused.recipient == story.email
    assert refused.attempts == 1
    assert "550" in refused.reason
    failed = [event for event in told() if event["type"] == "mail.failed"]
    assert [(event["mail_id"], event["kind"]) for event in failed] == [(str(refused.id), "welcome")]
    assert refused.facts["link"] == LINK, "staff can send it again"


@pytest.mark.parametrize(
    "address", ["a@b@c", "x y@example.com", "a@b.c\r\nRCPT TO:<v@example.com>", "", "<>", "ışıl@example.com"]
)
def test_an_address_that_is_none_is_parked(
    address: str, story: Story, hear: Hear, send: Send, mailbox: Mailbox, rows: Rows
) -> None:
    hear(story.event("welcome").model_copy(update={"email": address}))
    send()
    assert rows()[0].status == Status.FAILED
    assert mailbox.mails == []


@pytest.mark.parametrize("address", ["a.b+c@xn--rnek-5qa.example", "O'Neil_#1@example.com", f"{'l' * 64}@example.com"])
def test_unusual_addresses_arrive(address: str, story: Story, hear: Hear, send: Send, mailbox: Mailbox) -> None:
    hear(story.event("welcome").model_copy(update={"email": address}))
    send()
    assert mailbox.the_one()["to"] == [address]


@pytest.mark.parametrize(
    "name",
    [
        "Evil\r\nBcc: victim@example.com",
        "x" * 200,
        '"><b>"quoted", (comment) <a@b.c>',
        "victim@example.com",
        "\u202eeulb",
        "🦄 𝕿𝖊𝖆𝖒",
        "Işıl, Çağrı; Ğ",
        "",
    ],
)
def test_a_hostile_name_is_harmless_in_headers(name: str, hear: Hear, send: Send, mailbox: Mailbox, rows: Rows) -> None:
    story = Story("en", name=name, company=name or "x")
    hear(*story.beginning(), story.event("invitation"), story.event("welcome"))
    send()
    assert {row.status for row in rows()} == {Status.SENT}
    assert len(mailbox.mails) == 2
    for mail in mailbox.mails:
        assert mail["to"] == [story.email]
        assert set(headers(mail)) == {
            "from",
            "to",
            "subject",
            "date",
            "message-id",
            "auto-submitted",
            "content-language",
            "mime-version",
            "content-type",
        }
        assert headers(mail)["to"].count("@") == 1
        assert story.email in headers(mail)["to"]
        assert "<b>" not in mail["html"]


class Killed(Sender):
    """A sender whose process ends after the server took the mail, before it is recorded."""

    async def _record(self, write: Callable[[Session], None]) -> None:
        pass


def test_a_crash_after_sending_repeats_it_under_the_same_id(
    story: Story, hear: Hear, notifier: Service, clock: ManualClock, send: Send, mailbox: Mailbox, rows: Rows
) -> None:
    hear(story.event("workspace_ready"))
    killed = Killed(notifier.database, clock, notifier.settings, None)  # type: ignore[arg-type]
    assert asyncio.run(killed.send_due()) == 1
    assert send() == 0, "it is still leased"
    with notifier.database.unit_of_work() as session:
        session.execute(text("update mails set leased_until = now() - interval '1 second'"))
    assert send() == 1
    first, second = mailbox.mails
    assert headers(first)["message-id"] == headers(second)["message-id"]
    assert rows()[0].status == Status.SENT
    assert send() == 0


def test_an_answer_that_is_lost_repeats_it_under_the_same_id(
    story: Story, hear: Hear, send: Send, mailbox: Mailbox, clock: ManualClock
) -> None:
    mailbox.misbehave("lost-reply")
    hear(story.event("welcome"))
    send()
    mailbox.behave()
    clock.advance(mailing.BACK_OFF[0])
    send()
    assert len({headers(mail)["message-id"] for mail in mailbox.mails}) == 1


def test_a_database_that_is_away_for_a_moment_does_not_double_a_mail(
    story: Story, hear: Hear, sender: Sender, notifier: Service, mailbox: Mailbox, rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    hear(story.event("welcome"))
    honest, calls = notifier.database.unit_of_work, iter([True, False, False])

    @contextmanager
    def shaky() -> Iterator[Session]:
        if not next(calls, True):
            raise DatabaseUnavailable
        with honest() as session:
            yield session

    monkeypatch.setattr(notifier.database, "unit_of_work", shaky)
    assert asyncio.run(sender.send_due()) == 1
    assert next(calls, None) is None
    assert rows()[0].status == Status.SENT
    assert mailbox.the_one()


def test_senders_at_once_never_double(story: Story, hear: Hear, sender: Sender, mailbox: Mailbox, rows: Rows) -> None:
    hear(*(story.event("welcome") for _ in range(24)))

    async def race() -> None:
        stop = asyncio.Event()
        racing = [asyncio.create_task(sender.run(stop)) for _ in range(3)]
        while {row.status for row in await asyncio.to_thread(rows)} != {Status.SENT}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*racing)

    asyncio.run(asyncio.wait_for(race(), 60))
    ids = [headers(mail)["message-id"] for mail in mailbox.mails]
    assert len(ids) == len(set(ids)) == 24


def test_the_invoice_goes_along(story: Story, hear: Hear, send: Send, mailbox: Mailbox, documents: Documents) -> None:
    hear(story.invoice())
    send()
    mail = mailbox.the_one()
    assert mail["subject"] == "Ödemeniz alındı: ₺2.970,00 – Team"
    assert [one["filename"] for one in mail["attachments"]] == ["YAC2026000000017.pdf"]
    assert mail["attachments"][0]["content_type"] == "application/pdf"
    assert mailbox.attachment(mail) == PDF
    assert documents.asked == ["/documents/invoices/17.pdf?signature=Qm-0_x"]


@pytest.mark.parametrize(("status", "content"), [(503, b""), (404, b"{}"), (200, b"<html>log in</html>")])
def test_an_invoice_that_cannot_be_had_is_waited_for(
    status: int, content: bytes, story: Story, hear: Hear, send: Send, mailbox: Mailbox, documents: Documents,
    clock: ManualClock, rows: Rows,
) -> None:  # fmt: skip
    documents.status, documents.content = status, content
    hear(story.invoice())
    send()
    assert mailbox.mails == []
    assert (rows()[0].status, str(status) in rows()[0].reason) == (Status.WAITING, True)
    documents.status, documents.content = 200, PDF
    clock.advance(mailing.BACK_OFF[0])
    send()
    assert mailbox.attachment(mailbox.the_one()) == PDF


def test_a_document_is_fetched_from_billing_and_nowhere_else(
    story: Story, hear: Hear, send: Send, documents: Documents, rows: Rows
) -> None:
    for path in ("http://169.254.169.254/latest", "//evil.example/x.pdf"):
        hear(story.invoice().model_copy(update={"document_path": path}))
    send()
    assert {row.status for row in rows()} == {Status.FAILED}
    assert documents.asked == []


def test_a_link_that_expired_meanwhile_is_not_sent(
    story: Story, hear: Hear, send: Send, mailbox: Mailbox, clock: ManualClock, rows: Rows
) -> None:
    mailbox.misbehave("tempfail")
    hear(story.event("password_reset"))
    send()
    mailbox.behave()
    clock.advance(timedelta(hours=2))
    send()
    assert mailbox.mails == []
    assert rows()[0].status == Status.FAILED
    assert "expired" in rows()[0].reason


def test_a_slow_server_is_given_up_before_the_lease_ends(
    story: Story, hear: Hear, send: Send, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    from services.notifier import sending

    assert sending.WHOLE_TRY + timedelta(seconds=sum(sending.RECORD_AGAIN)) < mailing.LEASE
    monkeypatch.setattr(sending, "WHOLE_TRY", timedelta(seconds=0.3))
    mailbox.misbehave("slow", seconds=2)
    hear(story.event("welcome"))
    send()
    assert (rows()[0].status, rows()[0].reason) == (Status.WAITING, "TimeoutError")


def test_the_running_service_sends_what_it_hears(
    hear: Hear, notifier: Service, mailbox: Mailbox, rows: Rows, told: Told
) -> None:
    story = Story()

    async def run() -> None:
        worker = Worker([notifier], InProcess())
        await worker.start()
        await asyncio.to_thread(hear, *story.beginning(), story.event("welcome"))
        while not await asyncio.to_thread(lambda: mailbox.mails):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await worker.stop()

    asyncio.run(asyncio.wait_for(run(), 60))
    assert mailbox.the_one()["to"] == [story.email]
    assert rows()[0].status == Status.SENT, "what is under way is finished before the process ends"
    assert told() == [], "the relay has told it"
