"""What each gateway process knows by heart, so that nobody waits for a database at a workspace's door.

Filled from our own tables at start, kept by the events every process hears, and read again every few seconds for
what was missed while the bus was away.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import or_, select

from gateway.models import RemovedMember, RevokedSession, Workspace
from gateway.sessions import Session, Sessions
from shared.clock import Clock
from shared.db import LOST, Database, DatabaseUnavailable
from shared.events import UnknownEvent, UnreadableEvent
from shared.events.identity import MemberRemoved, MemberRoleChanged, SessionRevoked
from shared.events.provisioner import WorkspaceDeleted, WorkspaceRequested
from shared.logging import get_logger
from shared.messaging.envelope import Envelope
from shared.messaging.transport import Subscription

log = get_logger(__name__)

COOKIE_LIFE = timedelta(hours=12)
"""How long a workspace cookie lives, and so how long its end must be remembered."""
KEPT = COOKIE_LIFE + timedelta(hours=1)
LOOK = 15.0
"""Seconds between two looks at the tables."""

HEARD = (SessionRevoked, MemberRemoved, MemberRoleChanged, WorkspaceRequested, WorkspaceDeleted)


@dataclass(frozen=True)
class Place:
    """A workspace behind a host label."""

    workspace_id: UUID
    company_id: UUID
    owner_id: UUID


class Knowledge:
    """Workspaces by host, sessions that ended, people who left. Touched from the event loop only."""

    def __init__(self, database: Database, clock: Clock, sessions: Sessions) -> None:
        self._database = database
        self._clock = clock
        self._sessions = sessions
        self._places: dict[str, Place] = {}
        self._deleted: set[UUID] = set()
        self._revoked: dict[UUID, datetime] = {}
        self._removed: dict[UUID, datetime] = {}
        self._filled = False
        self._looking: asyncio.Task[None] | None = None

    def place(self, host: str) -> Place | None:
        """The living workspace of a host label."""
        found = self._places.get(host)
        return None if found is None or found.workspace_id in self._deleted else found

    def is_revoked(self, session_id: UUID) -> bool:
        """Whether the session has ended before its time."""
        return session_id in self._revoked

    def has_left(self, user_id: UUID, since: datetime) -> bool:
        """Whether the person left their company at or after `since`."""
        removed_at = self._removed.get(user_id)
        return removed_at is not None and removed_at >= since

    def is_over(self, session: Session) -> bool:
        """Whether identity's answer about a session is older than what we have heard."""
        return session.session_id in self._revoked

    def workspace_known(self, host: str, place: Place) -> None:
        """The workspace exists; what was said first of a host or a deletion stands."""
        self._places.setdefault(host, place)

    def session_ended(self, session_id: UUID) -> None:
        """The session is over; said here at once, by the event everywhere."""
        self._revoked.setdefault(session_id, self._clock.now())

    async def start(self) -> None:
        """Fills the memory and keeps looking. Raises DatabaseUnavailable."""
        await self.look()
        if self._looking is None:
            self._looking = asyncio.create_task(self._keep_looking(), name="gateway knowledge")

    async def stop(self) -> None:
        """Ends the looking."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
            self._looking = None

    async def look(self) -> None:
        """Reads the tables again and forgets what no living cookie needs."""
        since = self._clock.now() - KEPT
        workspaces, revoked, removed = await asyncio.to_thread(self._read, since, self._filled)
        self._filled = True
        for host, place, deleted in workspaces:
            self.workspace_known(host, place)
            if deleted:
                self._deleted.add(place.workspace_id)
        self._revoked = {id_: at for id_, at in {**self._revoked, **revoked}.items() if at >= since}
        self._removed = {id_: at for id_, at in {**self._removed, **removed}.items() if at >= since}

    def subscription(self) -> Subscription:
        """What every process hears."""
        types = frozenset(event.type for event in HEARD)
        return Subscription("gateway-memory", types, self.hear, broadcast=True, on_gap=self.catch_up)

    async def catch_up(self) -> None:
        """After the bus was away: nothing that rests on events missed meanwhile is believed any more."""
        self._sessions.forget_all()
        await self.look()

    async def hear(self, bodies: Sequence[bytes]) -> None:
        """Takes events in. What cannot be read is for the durable queue to park."""
        for body in bodies:
            try:
                envelope = Envelope.from_bytes(body)
                event = envelope.event()
            except (UnreadableEvent, UnknownEvent):
                continue
            if isinstance(event, SessionRevoked):
                self._revoked[event.session_id] = event.revoked_at
                self._sessions.forget_user(event.user_id)
            elif isinstance(event, MemberRemoved):
                self._removed[event.user_id] = envelope.time
                self._sessions.forget_user(event.user_id)
            elif isinstance(event, MemberRoleChanged):
                self._sessions.forget_user(event.user_id)
            elif isinstance(event, WorkspaceRequested):
                self.workspace_known(event.host, Place(event.workspace_id, event.company_id, event.owner_id))
            elif isinstance(event, WorkspaceDeleted):
                self._deleted.add(event.workspace_id)

    def _read(
        self, since: datetime, only_recent: bool
    ) -> tuple[list[tuple[str, Place, bool]], dict[UUID, datetime], dict[UUID, datetime]]:
        with self._database.unit_of_work() as session:
            wanted = select(
                Workspace.host, Workspace.id, Workspace.company_id, Workspace.owner_id, Workspace.deleted_at
            )
            if only_recent:
                wanted = wanted.where(or_(Workspace.id >= _first_id(since), Workspace.deleted_at >= since))
            rows = session.execute(wanted).all()
            workspaces = [
                (row.host, Place(row.id, row.company_id, row.owner_id), row.deleted_at is not None) for row in rows
            ]
            ended = session.execute(
                select(RevokedSession.session_id, RevokedSession.revoked_at).where(RevokedSession.revoked_at >= since)
            ).all()
            left = session.execute(
                select(RemovedMember.user_id, RemovedMember.removed_at).where(RemovedMember.removed_at >= since)
            ).all()
        return workspaces, {r.session_id: r.revoked_at for r in ended}, {r.user_id: r.removed_at for r in left}

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.look()
            except (DatabaseUnavailable, *LOST) as error:
                log.warning("memory is not refreshed", error=type(error).__name__)


def _first_id(moment: datetime) -> UUID:
    """The smallest UUIDv7 of that moment: ids sort by when they were made."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
