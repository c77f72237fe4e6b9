"""What changes in the table of workspaces, heard from PostgreSQL: who looks after workspaces need not ask all the time.

Nothing depends on hearing everything: after a gap the hearers are told so, and look for themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.extensions

from shared.db import Database
from shared.logging import get_logger

log = get_logger(__name__)

Hear = Callable[[UUID | None], None]
"""Called with a workspace's id, or None where anything may have changed unheard. In the event loop; must not block."""


class Changes:
    """One connection that listens, for all hearers of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hearers: list[Hear] = []
        self._task: asyncio.Task[None] | None = None

    def hear(self, hearer: Hear) -> None:
        """Adds a hearer."""
        self._hearers.append(hearer)

    def forget(self, hearer: Hear) -> None:
        """Takes a hearer away."""
        self._hearers.remove(hearer)

    async def start(self) -> None:
        """Begins to listen; returns at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="workspace changes")

    async def stop(self) -> None:
        """Ends it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection = await asyncio.to_thread(self._connect)
            except psycopg2.Error as error:
                log.warning("changes cannot be heard", error=type(error).__name__)
                await asyncio.sleep(1)
                continue
            lost = asyncio.Event()
            socket = connection.fileno()  # a lost connection no longer tells it
            loop.add_reader(socket, self._read, connection, lost)
            self._tell(None)
            try:
                await lost.wait()
            finally:
                loop.remove_reader(socket)
                connection.close()

    def _read(self, connection: Any, lost: asyncio.Event) -> None:
        try:
            connection.poll()
        except psycopg2.Error:
            lost.set()
        told = {note.payload for note in connection.notifies}
        connection.notifies.clear()
        for payload in told:
            with contextlib.suppress(ValueError):
                self._tell(UUID(payload))

    def _tell(self, workspace_id: UUID | None) -> None:
        for hearer in self._hearers:
            hearer(workspace_id)

    def _connect(self) -> Any:
        dialect = self._database.engine.dialect
        arguments = {"connect_timeout": 5, **dialect.create_connect_args(self._database.url)[1]}
        connection: Any = dialect.connect(**arguments)
        connection.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT)
        with connection.cursor() as cursor:
            cursor.execute(f'listen "workspaces_{self._database.service}"')
        return connection
