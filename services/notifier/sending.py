"""The sender: takes due mails, renders them, hands them to the mail server, records what became of each.

A mail is leased while it is being sent and marked right after the server took it. Were the process killed between
the two, it would go out again under the same Message-ID, by which mail servers drop a second copy.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiosmtplib
import httpx
from prometheus_client import Counter
from sqlalchemy import Row

from services.notifier import mailing, rendering
from services.notifier.settings import Settings
from shared.clock import Clock
from shared.db import LOST, Database, DatabaseUnavailable
from shared.logging import bound, get_logger
from shared.upstream import Upstream

log = get_logger(__name__)
mails = Counter("mails_total", "Mails by what became of a try to send them", ["kind", "outcome"])

PERMANENT = range(500, 600)
"""SMTP's "no, and do not ask again" (RFC 5321, section 4.2.1)."""


class AttachmentUnavailable(Exception):
    """The document that goes along cannot be had now."""


class Sender:
    """Sends one service's mails."""

    POLL = 0.3

    def __init__(self, database: Database, clock: Clock, settings: Settings, billing: Upstream | None) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._billing = billing

    async def run(self, stop: asyncio.Event) -> None:
        """Sends until `stop` is set; mails under way are finished."""
        while not stop.is_set():
            try:
                found = await self.send_due()
            except (DatabaseUnavailable, *LOST):
                log.warning("mails cannot be read")
                found = 0
            if not found:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self.POLL)

    async def send_due(self) -> int:
        """Sends one batch at once; returns how many were tried."""
        rows = await asyncio.to_thread(self._claim)
        await asyncio.gather(*(self._send(row) for row in rows))
        return len(rows)

    async def _send(self, mail: Row[Any]) -> None:
        with bound(correlation_id=mail.correlation_id, mail_id=str(mail.id), kind=mail.kind):
            try:
                await self._hand_over(mail)
            except Exception as error:
                for_good = is_permanent(error)
                log.warning("mail not sent", error=type(error).__name__, for_good=for_good)
                mails.labels(mail.kind, "failed" if for_good else "later").inc()
                await asyncio.to_thread(self._failed, mail, reason_of(error), for_good)
            else:
                mails.labels(mail.kind, "sent").inc()
                await asyncio.to_thread(self._sent, mail)

    async def _hand_over(self, mail: Row[Any]) -> None:
        attachment = await self._attachment(mail)
        rendered = await asyncio.to_thread(rendering.of, mail)
        message = rendering.message(mail, rendered, self._settings.mail_from, self._clock.now(), attachment)
        server = self._settings.smtp
        await aiosmtplib.send(
            message,
            hostname=server.host,
            port=server.port,
            username=server.user or None,
            password=server.password or None,
            use_tls=server.tls,
            start_tls=server.starttls,
            timeout=self._settings.smtp_timeout.total_seconds(),
        )

    async def _attachment(self, mail: Row[Any]) -> tuple[str, bytes] | None:
        wanted = mail.facts.get("attachment")
        if not wanted:
            return None
        if self._billing is None:
            raise AttachmentUnavailable("NOTIFIER_BILLING_URL is not set")
        try:
            answer = await self._billing.request("GET", wanted["path"])
        except httpx.TransportError as error:
            raise AttachmentUnavailable("billing does not answer") from error
        if answer.status_code != 200:
            raise AttachmentUnavailable(f"billing answered {answer.status_code}")
        return wanted["name"], answer.content

    def _claim(self) -> list[Row[Any]]:
        with self._database.unit_of_work() as session:
            return mailing.claim(session, self._clock.now(), self._settings.at_once)

    def _sent(self, mail: Row[Any]) -> None:
        with self._database.unit_of_work() as session:
            mailing.sent(session, mail.id, self._clock.now())

    def _failed(self, mail: Row[Any], reason: str, for_good: bool) -> None:
        with self._database.unit_of_work() as session:
            mailing.failed(session, mail.id, reason, for_good=for_good, now=self._clock.now())


def is_permanent(error: Exception) -> bool:
    """Whether trying again cannot help: the server refused for good, or the mail itself is at fault."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(refused.code in PERMANENT for refused in error.recipients)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return False  # ours to mend; the mail is innocent
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return error.code in PERMANENT
    return not isinstance(error, (aiosmtplib.SMTPException, AttachmentUnavailable, OSError, TimeoutError))


def reason_of(error: Exception) -> str:
    """What staff read in the delivery log: the server's words, no contents."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return "; ".join(f"{refused.code} {refused.message}" for refused in error.recipients)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {error.message}"
    if isinstance(error, AttachmentUnavailable):
        return str(error)
    return type(error).__name__
