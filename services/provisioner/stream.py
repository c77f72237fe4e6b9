"""Workspaces as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

A stream begins with all its reader may see and goes on with each change. What waits for a slow reader is the latest
picture of each workspace, never a list of all that happened. A stream lives as long as a token does: then the browser
comes again, and whether its owner still belongs to the company is asked anew.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select
from starlette.datastructures import State as AppState

from services.provisioner import metrics, workspaces
from services.provisioner.changes import Changes
from services.provisioner.errors import TooManyStreams
from services.provisioner.models import Workspace
from services.provisioner.schemas import view
from services.provisioner.settings import Settings
from shared.access import user_of
from shared.db import LOST, Database, DatabaseUnavailable
from shared.logging import get_logger
from shared.tokens import LIFETIME, Principal, Role

log = get_logger(__name__)

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
PING = 15.0
SNAPSHOT = 500
"""Most workspaces a stream begins with; whoever has more pages through the list."""
RETRY_MS = 1000
"""What the browser waits before it comes again."""


@dataclass(eq=False)
class Reader:
    """One open stream: whose it is, and what is new for it."""

    caller: Principal
    news: dict[UUID, Workspace] = field(default_factory=dict)
    again: bool = True
    """Changes may have been missed: all is sent anew."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def may_see(self, workspace: Workspace) -> bool:
        """The rule of `workspaces.visible`, for one row."""
        same_company = workspace.company_id == self.caller.company_id
        return same_company and (self.caller.role is Role.ADMIN or workspace.owner_id == self.caller.user_id)


class Hub:
    """Gives each change to the readers who may see it."""

    def __init__(self, database: Database, changes: Changes, settings: Settings, state: AppState) -> None:
        self._database = database
        self._settings = settings
        self._state = state
        self._readers: set[Reader] = set()
        self._open: Counter[UUID] = Counter()
        self._changed: set[UUID] = set()
        self._heard = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        changes.hear(self._hear)

    async def start(self) -> None:
        """Begins to give changes out; returns at once."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._give_out()), asyncio.create_task(self._end_when_told())]

    async def stop(self) -> None:
        """Ends every stream."""
        self._state.stopping = True
        self._wake_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def open(self, caller: Principal) -> AsyncIterator[bytes]:
        """The stream of this caller. Raises TooManyStreams before its first byte."""
        user = user_of(caller)
        if self._open[user] >= self._settings.streams_per_user:
            raise TooManyStreams(retry_after=10)
        return self._stream(user, Reader(caller))

    async def _stream(self, user: UUID, reader: Reader) -> AsyncIterator[bytes]:
        ends = asyncio.get_running_loop().time() + LIFETIME.total_seconds()
        self._open[user] += 1
        self._readers.add(reader)
        metrics.streams.inc()
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            while not self._ending:
                reader.wake.clear()
                if reader.again:
                    reader.again = False
                    reader.news.clear()
                    for workspace in await asyncio.to_thread(self._snapshot, reader.caller):
                        reader.news.setdefault(workspace.id, workspace)
                news, reader.news = reader.news, {}
                if news:
                    yield b"".join(self._shape(workspace, reader.caller) for workspace in news.values())
                left = ends - asyncio.get_running_loop().time()
                if left <= 0:
                    return
                try:
                    async with asyncio.timeout(min(PING, left)):
                        await reader.wake.wait()
                except TimeoutError:
                    yield b": ping\n\n"
        except (*LOST, DatabaseUnavailable):
            return  # the browser comes again
        finally:
            metrics.streams.dec()
            self._readers.discard(reader)
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]

    @property
    def _ending(self) -> bool:
        return bool(getattr(self._state, "stopping", False))

    def _hear(self, workspace_id: UUID | None) -> None:
        if workspace_id is not None:
            self._changed.add(workspace_id)
            self._heard.set()
            return
        for reader in self._readers:
            reader.again = True
            reader.wake.set()

    async def _give_out(self) -> None:
        while True:
            await self._heard.wait()
            self._heard.clear()
            changed, self._changed = self._changed, set()
            if not self._readers:
                continue
            try:
                rows = await asyncio.to_thread(self._read, changed)
            except (*LOST, DatabaseUnavailable):
                self._hear(None)
                await asyncio.sleep(1)
                continue
            for row in rows:
                for reader in self._readers:
                    if reader.may_see(row):
                        reader.news[row.id] = row
                        reader.wake.set()

    async def _end_when_told(self) -> None:
        """The process sets a mark on the application when it stops; streams must not hold it up."""
        while not self._ending:  # noqa: ASYNC110  (the mark is a plain attribute, set by whoever runs the process)
            await asyncio.sleep(0.2)
        self._wake_all()

    def _wake_all(self) -> None:
        for reader in self._readers:
            reader.wake.set()

    def _read(self, ids: set[UUID]) -> list[Workspace]:
        with self._database.unit_of_work() as session:
            return list(session.scalars(select(Workspace).where(Workspace.id.in_(ids))))

    def _snapshot(self, caller: Principal) -> list[Workspace]:
        with self._database.unit_of_work() as session:
            statement = workspaces.visible(caller).order_by(Workspace.id.desc()).limit(SNAPSHOT)
            return list(session.scalars(statement))[::-1]

    def _shape(self, workspace: Workspace, caller: Principal) -> bytes:
        data = view(workspace, caller, self._settings).model_dump_json()  # JSON has no raw line break
        return f"event: workspace\ndata: {data}\n\n".encode()
