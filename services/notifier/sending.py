"""The sender: takes due mails, renders them, hands them to the mail server, records what became of each.

A mail is leased while it is being sent and marked right after the server took it. Were the process killed between
the two, it would go out again under the same Message-ID, by which mail servers drop a second copy.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import aiosmtplib
import httpx
from prometheus_client import Counter
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.notifier import mailing, rendering
from services.notifier.delivery_failures import AttachmentUnavailable, LinkExpired, is_permanent, reason_of
from services.notifier.message import Attachment, compose
from services.notifier.settings import Settings
from shared.clock import Clock
from shared.db import LOST, Database, DatabaseUnavailable
from shared.logging import bound, get_logger
from shared.upstream import Upstream

log = get_logger(__name__)
mails = Counter("mails_total", "Mails by what became of a try to send them", ["kind", "outcome"])

WHOLE_TRY = timedelta(seconds=60)
"""Longest a try may take with all its steps. Half a lease: nobody else has taken the mail when it is recorded."""
RECORD_AGAIN = (0.1, 0.5, 2.0, 10.0)
"""Seconds between tries to record what became of a mail: unrecorded, it would go out twice."""


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
                log.warning("mails wait for the database")
                found = 0
            if not found:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self.POLL)

    async def send_due(self) -> int:
        """Sends one batch at once; returns how many were tried. Raises DatabaseUnavailable."""
        rows = await asyncio.to_thread(self._claim)
        # All are waited for, also where one raises: none may go on unseen while the process stops.
        for outcome in await asyncio.gather(*(self._send(row) for row in rows), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        return len(rows)

    async def _send(self, mail: Row[Any]) -> None:
        with bound(correlation_id=mail.correlation_id, mail_id=str(mail.id), kind=mail.kind):
            try:
                async with asyncio.timeout(WHOLE_TRY.total_seconds()):
                    await self._hand_over(mail)
            except Exception as error:
                for_good, reason = is_permanent(error), reason_of(error)
                log.warning("mail not sent", error=type(error).__name__, for_good=for_good)
                mails.labels(mail.kind, "failed" if for_good else "later").inc()
                now = self._clock.now()
                await self._record(lambda session: mailing.failed(session, mail.id, reason, for_good=for_good, now=now))
            else:
                mails.labels(mail.kind, "sent").inc()
                await self._record(lambda session: mailing.sent(session, mail.id, self._clock.now()))

    async def _hand_over(self, mail: Row[Any]) -> None:
        expires_at = mail.facts.get("expires_at")
        if expires_at and datetime.fromisoformat(expires_at) <= self._clock.now():
            raise LinkExpired
        attachment = await self._attachment(mail)
        rendered = await asyncio.to_thread(rendering.of, mail)
        message = compose(mail, rendered, self._settings.mail_from, self._clock.now(), attachment)
        server = self._settings.smtp
        await aiosmtplib.send(
            message,
            recipients=[mail.recipient],  # never what a header could be read as
            hostname=server.host,
            port=server.port,
            username=server.user or None,
            password=server.password or None,
            use_tls=server.tls,
            start_tls=server.starttls,
            timeout=self._settings.smtp_timeout.total_seconds(),
        )

    async def _attachment(self, mail: Row[Any]) -> Attachment | None:
        wanted = mail.facts.get("attachment")
        if not wanted:
            return None
        if self._billing is None:
            raise AttachmentUnavailable("NOTIFIER_BILLING_URL is not set")
        if not wanted["path"].startswith("/") or wanted["path"].startswith("//"):
            raise ValueError("a document's path leads to billing and nowhere else")
        try:
            answer = await self._billing.request("GET", wanted["path"])
        except httpx.TransportError as error:
            raise AttachmentUnavailable("billing does not answer") from error
        if answer.status_code != 200 or not answer.content.startswith(b"%PDF-"):
            raise AttachmentUnavailable(f"billing answered {answer.status_code} and no PDF")
        return wanted["name"], answer.content

    def _claim(self) -> list[Row[Any]]:
        with self._database.unit_of_work() as session:
            return mailing.claim(session, self._clock.now(), self._settings.at_once)

    async def _record(self, write: Callable[[Session], None]) -> None:
        def once() -> None:
            with self._database.unit_of_work() as session:
                write(session)

        for pause in RECORD_AGAIN:
            try:
                await asyncio.to_thread(once)
                return
            except DatabaseUnavailable:
                await asyncio.sleep(pause)
        await asyncio.to_thread(once)
