"""The stream of workspaces: what comes, for whom, and that it ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from services.provisioner.app import build
from services.provisioner.stream import Hub
from shared.service import HttpServer, Service
from shared.tokens import Principal
from tests.callers import a_member, an_admin, headers
from tests.provisioner.world import World


class Listening:
    """One stream over a real socket: `news` are the workspaces that came, in order."""

    def __init__(self, port: int, caller: Principal, world: World) -> None:
        self._port = port
        self._headers = headers(caller, world.settings.clock.now())
        self.news: list[dict[str, Any]] = []
        self.status = 0
        self.ended = asyncio.Event()

    async def __aenter__(self) -> Listening:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        lines = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
        self._writer.write(f"GET /api/v1/workspaces/events HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.status = int(head.split()[1])
        self.head = head.lower()
        self._task = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if line.startswith(b"data: "):
                self.news.append(json.loads(line[6:]))
            elif line == b"0\r\n":
                break  # the last chunk: the answer is whole, the connection may live on
        self.ended.set()

    async def wait(self, true: Callable[[list[dict[str, Any]]], bool]) -> None:
        async with asyncio.timeout(10):
            while not true(self.news):  # noqa: ASYNC110  (what is waited for is up to the test)
                await asyncio.sleep(0.01)


def served(world: World, story: Callable[[Service, int], Awaitable[None]]) -> None:
    """Runs the story against the service on a real port."""

    async def run() -> None:
        service = build(world.settings)
        assert service.start
        assert service.close
        await service.start()
        server = HttpServer(service.app, "127.0.0.1", 0)
        port = await server.begin()
        try:
            await story(service, port)
        finally:
            service.app.state.stopping = True
            await server.end()
            await service.close()
            service.database.close()

    asyncio.run(run())


def test_a_snapshot_and_then_each_change(world: World) -> None:
    world.entitle()
    first = str(world.create("first"))

    async def story(service: Service, port: int) -> None:
        async with Listening(port, world.me, world) as mine:
            assert "text/event-stream" in mine.head
            await mine.wait(lambda news: {one["id"] for one in news} == {first})
            second = str(await asyncio.to_thread(world.create, "second"))
            await mine.wait(lambda news: any(one["id"] == second for one in news))
            await asyncio.to_thread(world.call, "POST", f"/workspaces/{first}/stop")
            await mine.wait(lambda news: any((one["id"], one["state"]) == (first, "stopping") for one in news))
            await asyncio.to_thread(world.call, "PATCH", f"/workspaces/{first}", json={"name": "Another"})
            await mine.wait(lambda news: any((one["id"], one["name"]) == (first, "Another") for one in news))
            await asyncio.to_thread(world.call, "DELETE", f"/workspaces/{first}")
            await mine.wait(lambda news: any(one["id"] == first and one["restorable_until"] for one in news))
            await asyncio.to_thread(world.call, "POST", f"/workspaces/{first}/restore")
            await mine.wait(lambda news: (news[-1]["id"], news[-1]["restorable_until"]) == (first, None))

    served(world, story)


def test_nobody_hears_what_they_may_not_see(world: World) -> None:
    world.entitle()
    company = world.me.company_id

    async def story(service: Service, port: int) -> None:
        async with (
            Listening(port, world.me, world) as mine,
            Listening(port, a_member(company), world) as colleague,
            Listening(port, an_admin(company), world) as admin,
            Listening(port, an_admin(), world) as stranger,
        ):
            made = str(await asyncio.to_thread(world.create))
            await mine.wait(lambda news: bool(news))
            await admin.wait(lambda news: bool(news))
            assert {(one["id"], one["mine"]) for one in admin.news} == {(made, False)}
            await asyncio.sleep(0.3)
            assert (colleague.news, stranger.news) == ([], [])

    served(world, story)


def test_a_person_holds_so_many_streams(world: World) -> None:
    world.settings.__dict__["streams_per_user"] = 2

    async def story(service: Service, port: int) -> None:
        async with Listening(port, world.me, world) as one:
            async with Listening(port, world.me, world) as two:
                await asyncio.sleep(0.2)
                async with Listening(port, world.me, world) as three:
                    assert (one.status, two.status, three.status) == (200, 200, 429)
                async with Listening(port, a_member(), world) as other:
                    assert other.status == 200
            await asyncio.sleep(0.3)  # the server notices that the second has gone
            async with Listening(port, world.me, world) as again:
                assert again.status == 200

    served(world, story)


def test_streams_end_when_the_service_stops(world: World) -> None:
    async def story(service: Service, port: int) -> None:
        async with Listening(port, world.me, world) as mine:
            await asyncio.sleep(0.2)
            service.app.state.stopping = True
            before = time.monotonic()
            await asyncio.wait_for(mine.ended.wait(), 3)
            assert time.monotonic() - before < 1

    served(world, story)


def test_after_a_gap_all_comes_again(world: World) -> None:
    """The connection to the database was lost: what changed meanwhile was not heard."""
    world.entitle()
    id_ = str(world.create())

    async def story(service: Service, port: int) -> None:
        async with Listening(port, world.me, world) as mine:
            await mine.wait(lambda news: bool(news))
            await asyncio.sleep(0.3)
            mine.news.clear()
            await asyncio.to_thread(cut_listeners, world)
            await mine.wait(lambda news: bool(news))
            assert {one["id"] for one in mine.news} == {id_}
            hub: Hub = service.app.state.hub
            assert len(hub._readers) == 1

    served(world, story)


def cut_listeners(world: World) -> None:
    """Ends every connection that listens, as a restart of the server would."""
    from sqlalchemy import text

    with world.service.database.engine.begin() as connection:
        connection.execute(
            text(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and query ilike 'listen%' and pid <> pg_backend_pid()"
            )
        )
