"""A service that runs and stops: nothing that was begun is lost, and nothing holds the end up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import uvloop
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared import service as kernel
from shared.events.billing import TrialStarted
from shared.messaging.consumer import Context
from shared.messaging.inprocess import InProcess
from shared.service import HttpServer, Service, Worker, ops_app
from tests.callers import START, a_member, headers
from tests.infrastructure import TestDatabase
from tests.shared.little.app import look
from tests.shared.little.routes import Halt
from tests.shared.messaging.bus import PATIENCE, tell, trial, until

WORDS = "select word from billing.words"


def test_request_under_way_is_finished(little: Service, little_database: TestDatabase) -> None:
    async def story() -> httpx.Response:
        little.app.state.halt = halt = Halt()
        server = HttpServer(little.app, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{await server.begin()}"
        async with httpx.AsyncClient(base_url=url, headers=headers(a_member(), START), timeout=PATIENCE) as client:
            asking = asyncio.create_task(client.post("/words", json={"word": "begun"}))
            await until(halt.reached.is_set)
            ending = asyncio.create_task(server.end())
            await until(lambda: server.should_exit)
            assert look(little_database, WORDS) == []
            halt.go_on.set()
            answer = await asking
            await asyncio.wait_for(ending, PATIENCE)
            with pytest.raises(httpx.ConnectError):
                await client.get("/said")
        return answer

    assert asyncio.run(story()).status_code == 201
    assert look(little_database, WORDS) == ["begun"]


def test_handler_under_way_is_finished_and_the_rest_waits(
    new_little: Callable[..., Service], little_database: TestDatabase
) -> None:
    halt = Halt()

    def handle(session: Session, event: TrialStarted, context: Context) -> None:
        statement = text("insert into words values (gen_random_uuid(), :word)")
        session.execute(statement, {"word": event.plan})
        halt.here()

    async def story() -> None:
        service = new_little(handlers={TrialStarted: handle})
        worker = Worker([service], InProcess())
        await worker.start()
        tell(service.database, trial("begun"))
        await until(halt.reached.is_set)
        tell(service.database, trial("later"))
        stopping = asyncio.create_task(worker.stop())
        await until(lambda: worker._stop.is_set())
        halt.go_on.set()
        await asyncio.wait_for(stopping, PATIENCE)
        assert not await worker.ready()

    asyncio.run(story())
    handled = look(little_database, WORDS)
    waiting = look(little_database, "select data->>'plan' from billing.outbox")
    assert handled[:1] == ["begun"]
    assert sorted(handled + waiting) == ["begun", "later"]
    assert len(look(little_database, "select event_id from billing.inbox")) == len(handled)


def test_open_stream_does_not_hold_up_the_end(little: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "DRAIN", 1)

    async def story() -> None:
        server = HttpServer(little.app, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{await server.begin()}"
        async with httpx.AsyncClient(timeout=PATIENCE) as client, client.stream("GET", f"{url}/stream") as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "data: still here"
            await asyncio.wait_for(server.end(), PATIENCE)

    asyncio.run(story())


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_who_lingers_takes_nobody_new_and_answers_whom_it_has_a_last_time(
    little: Service, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def story() -> None:
        server = HttpServer(little.app, "127.0.0.1", 0, linger=PATIENCE)
        port = await server.begin()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            assert (await client.get("/nowhere")).headers.get("connection") is None
            ending = asyncio.create_task(server.end())
            await asyncio.sleep(0)  # it has begun to end; the client's connection is idle and open
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await asyncio.open_connection("127.0.0.1", port)
            assert not ending.done()
            last = await client.get("/nowhere")
            assert (last.status_code, last.headers["connection"]) == (404, "close")
            await asyncio.wait_for(ending, PATIENCE / 2)  # nobody is connected any more: no reason to linger

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(story())


def test_taken_port_is_an_error_to_catch(little: Service) -> None:
    async def story() -> None:
        first = HttpServer(little.app, "127.0.0.1", 0)
        port = await first.begin()
        with pytest.raises(OSError, match="in use"):
            await HttpServer(little.app, "127.0.0.1", port).begin()
        await first.end()

    asyncio.run(story())


def test_loop_that_raises_is_started_again(new_little: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[int] = []
    well = asyncio.Event()

    async def loop(stop: asyncio.Event) -> None:
        starts.append(1)
        if len(starts) == 1:
            raise ValueError("one bad row")
        well.set()
        await stop.wait()

    async def story() -> None:
        worker = Worker([new_little(loops={"fragile": loop})], InProcess())
        await worker.start()
        await asyncio.wait_for(well.wait(), PATIENCE)
        await asyncio.wait_for(worker.stop(), PATIENCE)

    asyncio.run(story())
    assert len(starts) == 2


def test_started_and_told_in_order(new_little: Callable[..., Service]) -> None:
    """What `start` fills is there before a loop looks at it."""
    story_so_far: list[str] = []

    async def start() -> None:
        story_so_far.append("start")

    async def loop(stop: asyncio.Event) -> None:
        story_so_far.append("loop")
        await stop.wait()
        story_so_far.append("stopped")

    async def story() -> None:
        worker = Worker([new_little(start=start, loops={"one": loop})], InProcess())
        await worker.start()
        await until(lambda: "loop" in story_so_far)
        await worker.stop()

    asyncio.run(story())
    assert story_so_far == ["start", "loop", "stopped"]


def ask(service: Service, path: str, worker: Any = None) -> httpx.Response:
    """The internal port's answer."""

    async def story() -> httpx.Response:
        transport = httpx.ASGITransport(app=ops_app([service], worker))
        async with httpx.AsyncClient(transport=transport, base_url="http://ops") as client:
            return await client.get(path)

    return asyncio.run(story())


def test_alive_ready_and_measured(little: Service) -> None:
    assert ask(little, "/healthz").json() == {"status": "alive"}
    assert ask(little, "/readyz").json() == {"ready": True, "faults": {}}
    metrics = ask(little, "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "http_request_seconds" in metrics.text


def test_not_ready_says_what_is_wrong(little: Service, little_database: TestDatabase) -> None:
    answer = ask(little, "/readyz", Worker([little], InProcess()))  # its bus is not started
    assert (answer.status_code, answer.json()["faults"]) == (503, {"bus": "not connected"})
    look(little_database, "update billing.alembic_version set version_num = '0001' returning 1")
    answer = ask(little, "/readyz")
    assert (answer.status_code, answer.json()["faults"]) == (503, {"little": "schema is not migrated"})
    assert ask(little, "/healthz").status_code == 200
