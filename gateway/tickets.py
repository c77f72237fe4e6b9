"""Tickets: how a person gets from the platform's host to a workspace's, without a session in any address (lessons S15).

A ticket is good for one host and 30 seconds, and for one use: the row is deleted by the statement that reads it.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session as Work

from gateway.knowledge import KEPT
from gateway.models import RemovedMember, RevokedSession, Ticket, Workspace
from shared.clock import Clock
from shared.db import LOST, Database, DatabaseUnavailable
from shared.logging import get_logger

log = get_logger(__name__)

LIFE = timedelta(seconds=30)
SWEEP = 600.0


@dataclass(frozen=True)
class Leave:
    """Who may enter what."""

    host: str
    workspace_id: UUID
    company_id: UUID
    user_id: UUID
    session_id: UUID


def issue(work: Work, leave: Leave, now: datetime) -> str:
    """A fresh ticket. The workspace is written down with it, for the case that its event is still on the way."""
    ticket = secrets.token_urlsafe(32)
    row = {"hash": _hash(ticket), "expires_at": now + LIFE, **vars(leave)}
    work.execute(insert(Ticket).values(**row))
    known = insert(Workspace).values(
        id=leave.workspace_id, host=leave.host, company_id=leave.company_id, owner_id=leave.user_id
    )
    work.execute(known.on_conflict_do_nothing())
    return ticket


def redeem(work: Work, ticket: str, host: str, now: datetime) -> Leave | None:
    """Who may enter with this ticket at this host; None for used, expired, unknown, and for another host's."""
    statement = (
        delete(Ticket)
        .where(Ticket.hash == _hash(ticket))
        .returning(
            Ticket.host, Ticket.workspace_id, Ticket.company_id, Ticket.user_id, Ticket.session_id, Ticket.expires_at
        )
    )
    row = work.execute(statement).one_or_none()
    # Deleted even at the wrong host: a ticket that was shown elsewhere has leaked.
    if row is None or row.host != host or not now < row.expires_at:
        return None
    return Leave(row.host, row.workspace_id, row.company_id, row.user_id, row.session_id)


def sweep(work: Work, now: datetime) -> None:
    """Drops what no cookie or browser can need any more."""
    work.execute(delete(Ticket).where(Ticket.expires_at < now - LIFE))
    work.execute(delete(RevokedSession).where(RevokedSession.revoked_at < now - KEPT))
    work.execute(delete(RemovedMember).where(RemovedMember.removed_at < now - KEPT))


class Sweeper:
    """The loop around `sweep`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Sweeps every SWEEP seconds until told to stop."""
        while not stop.is_set():
            try:
                await asyncio.to_thread(self._once)
            except (DatabaseUnavailable, *LOST) as error:
                log.warning("tables are not swept", error=type(error).__name__)
            try:
                await asyncio.wait_for(stop.wait(), SWEEP)
            except TimeoutError:
                continue

    def _once(self) -> None:
        with self._database.unit_of_work() as work:
            sweep(work, self._clock.now())


def _hash(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
