"""The provisioner's process is killed between any two changes it makes; containers are killed by hand. All heals."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import docker
import pytest
from sqlalchemy import text

from deploy.local.processes import log_tail
from services.provisioner.engine import Status
from services.provisioner.settings import Settings
from shared.migrate import migrate
from tests.callers import PUBLIC_KEY
from tests.chaos.nursery import Born, Nursery
from tests.chaos.record import LONG, Record
from tests.infrastructure import Databases
from tests.journeys.platform import eventually
from tests.provisioner.conftest import clean_up, engine_of, free_subnet
from tests.provisioner.world import GIB, World

pytestmark = pytest.mark.e2e

ROUNDS = 200 if LONG else 6
CHANGES = "services.provisioner.engine.docker_engine:DockerEngine.create,start,stop,limit,resume,remove_volume"

REMEMBER = """
create table told_ever (type text, subject text);
create function remember_told() returns trigger language plpgsql as $$
begin insert into told_ever values (new.type, new.subject); return new; end $$;
create trigger remember_told after insert on outbox for each row execute function remember_told();
"""
"""What was told, also when the relay has sent it and removed the row."""


@pytest.fixture(scope="module")
def nursery(own_folder: Path) -> Iterator[Nursery]:
    made = Nursery("tests.chaos.service_process", own_folder)
    yield made
    made.close()


@pytest.fixture
def world(databases: Databases, docker_engine: docker.DockerClient, tmp_path: Path) -> Iterator[World]:
    """A provisioner's doors, on an engine network of its own; the worker is the test's matter."""
    database, mark = databases.new(), secrets.token_hex(3)
    facts: dict[str, Any] = {
        "installation": f"t{mark}",
        "network": f"yac-t-{mark}",
        "bridge": f"yact{mark}",
        "subnet": free_subnet(docker_engine),
    }
    ours = {"routes_directory": tmp_path / "routes", "clock_file": tmp_path / "clock"}
    settings = Settings(database_url=database("provisioner"), token_public_key=PUBLIC_KEY, **facts, **ours)
    engine = engine_of(facts)
    made = World(settings, engine)
    migrate(made.service.database, made.service.package)
    with made.service.database.engine.begin() as connection:
        connection.execute(text(REMEMBER))
    made.entitle(memory_bytes=GIB, cpu_millicores=1500, processes=300)
    yield made
    made.close()
    engine.close()
    clean_up(docker_engine, facts)
    databases.drop(database)


class Workers:
    """The provisioner's background process; one that was killed is followed by the next."""

    def __init__(self, nursery: Nursery, world: World, record: Record, log: Path) -> None:
        settings = world.settings
        names = ("installation", "network", "bridge", "subnet", "routes_directory")
        self._environment = {f"PROVISIONER_{name.upper()}": str(getattr(settings, name)) for name in names} | {
            "PROVISIONER_DATABASE_URL": settings.database_url.get_secret_value(),
            "PROVISIONER_LEASE_SECONDS": "1.5",
            "PROVISIONER_LOOK_SECONDS": "0.5",
            "PROVISIONER_STOP_SECONDS": "3",
            # What is killed again and again is given up after a while, which is another story (test_failures.py).
            "PROVISIONER_RESTARTS": "100",
            "PROVISIONER_RESTART_PAUSE_SECONDS": "0",
            "CLOCK_FILE": str(settings.clock_file),
            "TOKEN_PUBLIC_KEY": PUBLIC_KEY,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        self._nursery, self._record, self._log = nursery, record, log
        self._born: Born | None = None
        self._may_die = False

    def start(self, lots: random.Random | None = None) -> None:
        """Starts one in the place of the present one. With lots it ends at a step of them: before or after a change to
        the engine, or anywhere in its work on the database."""
        if self._born is not None and self._born.poll() is None:
            self._born.kill()
        armed: dict[str, str] = {}
        if lots is not None and lots.random() < 0.6:
            armed = {"CRASH_STEP": str(lots.randint(1, 4)), "CRASH_CALLS": CHANGES}
        elif lots is not None:
            armed = {"CRASH_STEP": str(lots.randint(5, 120))}
        self._may_die = bool(armed)
        self._born = self._nursery.start(["services.provisioner", "worker"], self._environment | armed, self._log)

    def supervise(self) -> None:
        """Starts the next where one came to its step. Fails when it has ended by itself."""
        assert self._born is not None
        if (code := self._born.poll()) is not None:
            assert (code, self._may_die) == (-9, True), log_tail(self._log, 30)
            self._record.kills(f"provisioner at: {log_tail(self._log, 1)}")
            self.start()

    def until(self, look: Callable[[], object], what: str) -> None:
        """Waits, and keeps a worker alive meanwhile."""

        def once() -> object:
            self.supervise()
            return look()

        try:
            eventually(once, what, 120)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log_tail(self._log, 40)}") from None

    def stop(self) -> None:
        """SIGKILL."""
        if self._born is not None:
            self._born.kill()


@pytest.fixture
def workers(nursery: Nursery, world: World, record: Record, tmp_path: Path) -> Iterator[Workers]:
    made = Workers(nursery, world, record, tmp_path / "worker.log")
    yield made
    made.stop()


RUNNING = ("stop", "stop", "restart", "delete", "container killed", "container paused", "container removed")
STOPPED = ("start", "start", "delete", "container removed")
BY_HAND: dict[str, Callable[[Any], object]] = {
    "container killed": lambda container: container.kill(),
    "container paused": lambda container: container.pause(),
    "container removed": lambda container: container.remove(force=True),
}


def test_whatever_is_killed_it_converges(
    world: World, workers: Workers, record: Record, docker_engine: docker.DockerClient
) -> None:
    state, id_, made = "none", UUID(int=0), 0
    deleted: list[UUID] = []
    for number in range(ROUNDS):
        lots = record.lots("provisioner", number)
        workers.start(lots)
        if state == "none":
            made += 1
            id_, state = world.create(f"number {made}"), "running"
        else:
            act = lots.choice(RUNNING if state == "running" else STOPPED)
            state = do(world, docker_engine, id_, act, state, record)
        what = f"{state} after round {number}"
        try:
            workers.until(lambda id_=id_, state=state: is_so(world, id_, state), what)  # type: ignore[misc]
        except AssertionError as error:
            found = (world.picture(id_), world.engine.containers(), world.engine.volumes(), world.routes())
            raise AssertionError(f"{error}\n{found}") from None
        record.holds("state reached, with its one container, volume and route")
        if state == "deleted":
            deleted.append(id_)
            state = "none"
    workers.start(record.lots("provisioner", "end"))
    if state != "none":
        assert world.call("DELETE", f"/workspaces/{id_}").status_code == 202
        deleted.append(id_)
        workers.until(lambda: is_so(world, id_, "deleted"), "deleted in the end")
    world.move_clock(timedelta(days=8))
    workers.until(lambda: {world.row(one).state for one in deleted} == {"erased"}, "the files are gone for good")
    assert world.engine.volumes() == []
    workers.until(lambda: not mine(world, docker_engine), "no container is left")
    assert world.routes() == {}
    record.holds("no container, volume or route left in the end")

    with world.service.database.unit_of_work() as session:
        rows = session.execute(text("select type, subject, count(*) from told_ever group by 1, 2")).all()
    told = {(type_, UUID(subject)): times for type_, subject, times in rows}
    assert len(deleted) == made
    assert [told["workspace.deleted", one] for one in deleted] == [1] * made
    # A restart by the person is no second "ready", and neither is one by us.
    assert [told["workspace.ready", one] for one in deleted] == [1] * made
    record.holds("readiness and the end told once", made)


def do(world: World, client: docker.DockerClient, id_: UUID, act: str, state: str, record: Record) -> str:
    """One wish or one deed by hand; returns the state that must follow."""
    if act in BY_HAND:
        for container in world.engine.containers(id_):
            BY_HAND[act](client.containers.get(container.id))
            record.kills(act)
        return state
    method, path = ("DELETE", f"/workspaces/{id_}") if act == "delete" else ("POST", f"/workspaces/{id_}/{act}")
    answer = world.call(method, path)
    assert answer.status_code == 202, answer.text
    return {"delete": "deleted", "stop": "stopped"}.get(act, "running")


def is_so(world: World, id_: UUID, state: str) -> bool:
    """Whether the row, the engine and the routes agree on this state, and nothing of another workspace runs."""
    row = world.row(id_)
    containers = world.engine.containers()
    running = [one for one in containers if one.status is Status.RUNNING]
    if row.state != state:
        return False
    if state == "running":
        address = f"http://{world.settings.address(row.slot or 0)}:8080"
        mine = [(one.workspace_id, one.generation) for one in containers]
        return mine == [(id_, row.generation)] and running == containers and world.routes() == {row.host: address}
    volumes = [volume.workspace_id for volume in world.engine.volumes()]
    return not running and id_ in volumes and (state != "deleted" or (not containers and world.routes() == {}))


def mine(world: World, client: docker.DockerClient) -> list[Any]:
    """Every container of this installation, those that measure too."""
    label = f"youarecoder.installation={world.settings.installation}"
    return list(client.containers.list(all=True, filters={"label": label}))
