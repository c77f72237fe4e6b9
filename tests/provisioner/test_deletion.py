"""A deleted workspace can be brought back for a while, and until then nothing and nobody takes its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from sqlalchemy import text

from services.provisioner import progress, reconcile
from services.provisioner.engine import EngineError, Limits, Volume, Wanted
from services.provisioner.models import Workspace
from services.provisioner.reconcile import ControlLoop
from services.provisioner.settings import Settings
from shared.clock import ManualClock
from shared.events.identity import MemberRemoved
from shared.ids import new_id
from shared.migrate import _config, migrate
from tests.callers import PUBLIC_KEY, START, a_member, an_admin
from tests.infrastructure import Databases
from tests.provisioner.conftest import QUICK
from tests.provisioner.remembering_engine import RememberingEngine
from tests.provisioner.test_doors import code
from tests.provisioner.world import World, until

SECOND = timedelta(seconds=1)
WEEK = timedelta(days=7)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def quick(
    new_world: Callable[..., World],
    remembering: RememberingEngine,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """Looks at everything often, each time also at the volumes. Nobody's control loop runs yet."""
    monkeypatch.setattr(reconcile, "VOLUMES_EVERY", 1)
    world = new_world(remembering, clock, subnet=remembering.subnet, look_seconds=0.05, orphan_volume_minutes=1)
    world.entitle()
    return world


def deleted(world: World, name: str = "work") -> UUID:
    """A workspace with files that was deleted; its container has gone."""
    id_ = world.create(name)
    world.wait(id_, "running")
    world.call("DELETE", f"/workspaces/{id_}")
    world.wait(id_, "deleted")
    return id_


def several_looks(world: World) -> None:
    """The control loop has looked at all rows, containers and volumes a few times more."""
    seen = world.engine.calls.count("volumes")
    until(lambda: world.engine.calls.count("volumes") > seen + 3)


def restore(world: World, id_: UUID, **given: Any) -> Any:
    """The answer to who wants it back."""
    return world.call("POST", f"/workspaces/{id_}/restore", **given)


def told(world: World) -> list[str]:
    """The events, without their first word."""
    return [type_.removeprefix("workspace.") for type_, _ in world.told()]


# ---- nothing takes the files ----


def test_files_that_can_come_back_are_no_orphans(quick: World, clock: ManualClock) -> None:
    quick.run()
    id_ = deleted(quick)
    engine: RememberingEngine = quick.engine
    engine.kept[id_] = replace(engine.kept[id_], created_at=datetime.now(UTC) - timedelta(days=300))
    several_looks(quick)
    clock.advance(WEEK - SECOND)
    several_looks(quick)
    assert list(engine.kept) == [id_]
    assert "deleted" not in told(quick)
    clock.advance(SECOND)
    quick.wait(id_, "erased")
    assert engine.kept == {}
    assert told(quick).count("deleted") == 1
    assert quick.told()[-1][1]["deleted_at"] == clock.now().isoformat().replace("+00:00", "Z")


def test_a_container_that_comes_late_goes_and_the_files_stay(quick: World) -> None:
    """A replica that had lost its lease made it after the deletion."""
    quick.run()
    id_ = deleted(quick)
    row = quick.row(id_)
    limits = Limits(1000, 1024**3, 100)
    address = quick.settings.address(99)
    quick.engine.create(Wanted(id_, row.company_id, row.generation, row.host, None, address, limits))
    until(lambda: quick.engine.containers() == [])
    several_looks(quick)
    assert list(quick.engine.kept) == [id_]


def test_deleted_brought_back_and_deleted_again_counts_from_the_last_time(quick: World, clock: ManualClock) -> None:
    quick.run()
    id_ = deleted(quick)
    clock.advance(WEEK - SECOND)
    assert restore(quick, id_).status_code == 202
    quick.call("DELETE", f"/workspaces/{id_}")
    clock.advance(2 * SECOND)  # the first deletion's time is over
    quick.wait(id_, "deleted")
    several_looks(quick)
    assert list(quick.engine.kept) == [id_]
    clock.advance(WEEK - 2 * SECOND)
    quick.wait(id_, "erased")
    assert quick.engine.kept == {}


@pytest.mark.parametrize("again", [False, True])
def test_brought_back_between_the_decision_and_the_erasure(
    quick: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """By a door whose clock is a little behind; and perhaps deleted anew, so that the row looks as it was seen."""
    quick.run()
    id_ = deleted(quick)
    real, overtaken = progress.erasing, []

    def interrupted(session: Any, seen: Workspace, now: datetime) -> None:
        if not overtaken:
            clock.advance(-2 * SECOND)
            assert restore(quick, id_).status_code == 202
            if again:
                quick.call("DELETE", f"/workspaces/{id_}")
            clock.advance(2 * SECOND)
        try:
            real(session, seen, now)
        except progress.Overtaken:
            overtaken.append(seen.id)
            raise

    monkeypatch.setattr(progress, "erasing", interrupted)
    clock.advance(WEEK)
    until(lambda: bool(overtaken), picture=lambda: quick.picture(id_))
    quick.wait(id_, "deleted" if again else "stopped")
    several_looks(quick)
    assert list(quick.engine.kept) == [id_]
    assert "deleted" not in told(quick)


def test_its_time_is_over_while_nobody_looks(quick: World, clock: ManualClock) -> None:
    replica = quick.run()
    id_, kept = deleted(quick, "over"), deleted(quick, "kept")
    clock.advance(WEEK - SECOND)
    assert restore(quick, kept).status_code == 202
    quick.call("DELETE", f"/workspaces/{kept}")
    quick.wait(kept, "deleted")
    replica.stop()
    clock.advance(2 * SECOND)
    assert quick.row(id_).state == "deleted"
    assert code(restore(quick, id_)) == "not-found"
    quick.run()
    quick.wait(id_, "erased")
    assert list(quick.engine.kept) == [kept]


def test_nobody_brings_back_what_is_being_erased(quick: World, clock: ManualClock) -> None:
    """From the moment it is written down, whatever the engine says and whoever's clock is behind."""
    quick.run()
    id_ = deleted(quick)
    quick.engine.refuses["remove_volume"] = [EngineError() for _ in range(3)]
    clock.advance(WEEK)
    until(lambda: quick.row(id_).desired == "erased")
    clock.advance(-WEEK)
    for method, path in (("POST", "/restore"), ("GET", ""), ("DELETE", ""), ("POST", "/start")):
        assert code(quick.call(method, f"/workspaces/{id_}{path}")) == "not-found"
    quick.wait(id_, "erased")
    assert quick.engine.kept == {}
    assert told(quick).count("deleted") == 1


def test_many_are_brought_back_as_their_time_ends(quick: World, clock: ManualClock) -> None:
    """Two replicas erase while people bring back: each workspace is there with its files, or gone without."""
    quick.entitle(workspaces=None)
    quick.run()
    quick.run()
    ids = [quick.create(f"n{number}") for number in range(16)]
    for id_ in ids:
        quick.wait(id_, "running")
        quick.call("DELETE", f"/workspaces/{id_}")
    for id_ in ids:
        quick.wait(id_, "deleted")
    clock.advance(WEEK - SECOND)

    def ask(number: int) -> int:
        if number == len(ids) // 2:
            clock.advance(SECOND)
        answer: int = restore(quick, ids[number]).status_code
        return answer

    with ThreadPoolExecutor(4) as threads:
        answers = dict(zip(ids, threads.map(ask, range(len(ids))), strict=True))
    back = {id_ for id_, answer in answers.items() if answer == 202}
    assert {answers[id_] for id_ in set(ids) - back} == {404}
    assert ids[0] in back
    for id_ in ids:
        quick.wait(id_, "stopped" if id_ in back else "erased")
    several_looks(quick)
    assert set(quick.engine.kept) == back
    assert told(quick).count("deleted") == len(ids) - len(back)
    assert len({quick.row(id_).slot for id_ in back}) == len(back)


class Crash(Exception):
    """The process died here, as far as the control loop can tell."""


@pytest.mark.parametrize("after", [False, True], ids=["before it is written", "after it was written"])
@pytest.mark.parametrize("state", ["deleted", "erasing", "erased"])
def test_a_crash_at_any_write_heals(
    quick: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, state: str, after: bool
) -> None:
    crashed: list[str] = []
    real = ControlLoop.write

    async def write(loop: ControlLoop, operation: Any) -> Any:
        dies = False

        def run(session: Any) -> Any:
            nonlocal dies
            answer = operation(session)
            dies = not crashed and any(isinstance(row, Workspace) and row.state == state for row in session.dirty)
            if dies:
                crashed.append(state)
                if not after:
                    raise Crash
            return answer

        answer = await real(loop, run)
        if dies:
            raise Crash
        return answer

    id_ = quick.create()
    quick.run()
    quick.wait(id_, "running")
    monkeypatch.setattr(ControlLoop, "write", write)
    quick.call("DELETE", f"/workspaces/{id_}")
    quick.wait(id_, "deleted")
    several_looks(quick)
    assert list(quick.engine.kept) == [id_]
    clock.advance(WEEK)
    quick.wait(id_, "erased")
    assert quick.engine.kept == {}
    assert crashed == [state]
    assert told(quick) == ["requested", "ready", "deleted"]


# ---- bringing back ----


def test_it_comes_back_stopped_with_its_address_and_files(quick: World) -> None:
    quick.run()
    id_ = quick.create()
    before = quick.wait(id_, "running")
    files = quick.engine.kept[id_]
    quick.call("DELETE", f"/workspaces/{id_}")
    quick.wait(id_, "deleted")
    assert quick.row(id_).slot is None
    body = restore(quick, id_).json()
    assert (body["state"], body["host"], body["deleted_at"], body["restorable_until"]) == (
        "stopped",
        before.host,
        None,
        None,
    )
    assert restore(quick, id_).json() == body  # a second click
    several_looks(quick)
    assert quick.engine.containers() == []
    assert quick.call("POST", f"/workspaces/{id_}/start").status_code == 202
    again = quick.wait(id_, "running")
    assert again.generation == before.generation + 1
    assert quick.engine.kept == {id_: files}
    assert told(quick) == ["requested", "ready", "started"]


def test_its_address_in_the_network_is_somebody_elses_meanwhile(quick: World) -> None:
    quick.run()
    id_ = deleted(quick)
    other = quick.create("other")
    quick.wait(other, "running")
    restore(quick, id_)
    quick.call("POST", f"/workspaces/{id_}/start")
    quick.wait(id_, "running")
    assert quick.row(id_).slot != quick.row(other).slot
    assert len(set(quick.routes().values())) == 2


def test_a_change_of_mind_while_it_is_being_deleted(quick: World) -> None:
    """Its container is still there: it goes first, then the workspace is stopped, and its address was kept."""
    replica = quick.run()
    id_ = quick.create()
    slot = quick.wait(id_, "running").slot
    replica.stop()
    quick.call("DELETE", f"/workspaces/{id_}")
    assert restore(quick, id_).json()["state"] == "stopping"
    assert quick.row(id_).slot == slot
    quick.run()
    quick.wait(id_, "stopped")
    assert quick.engine.containers() == []
    assert list(quick.engine.kept) == [id_]


@pytest.mark.parametrize("before", [timedelta(), SECOND])
def test_its_last_second(quick: World, clock: ManualClock, before: timedelta) -> None:
    """At its end it is over for everybody, although nobody has erased it yet."""
    id_ = quick.create()
    told = quick.call("DELETE", f"/workspaces/{id_}").json()
    end = datetime.fromisoformat(told["restorable_until"])
    assert (datetime.fromisoformat(told["deleted_at"]), end) == (START, START + WEEK)
    clock.advance(WEEK - before)
    listed = quick.call("GET", "/workspaces/deleted").json()["items"]
    assert [one["id"] for one in listed] == ([str(id_)] if before else [])
    assert quick.call("GET", f"/workspaces/{id_}").status_code == (200 if before else 404)
    answer = restore(quick, id_)
    if before:
        assert answer.status_code == 202
        clock.advance(2 * WEEK)
        assert quick.call("GET", f"/workspaces/{id_}").status_code == 200
    else:
        assert code(answer) == code(quick.call("DELETE", f"/workspaces/{id_}")) == "not-found"


def test_it_needs_room_in_the_plan(quick: World) -> None:
    quick.entitle(workspaces=1)
    id_ = quick.create("a")
    quick.call("DELETE", f"/workspaces/{id_}")
    assert quick.call("GET", "/workspaces/quota").json()["used"] == 0
    quick.create("b")
    refused = restore(quick, id_)
    assert (code(refused), refused.json()["limit"], refused.json()["used"]) == ("limit-reached", 1, 1)
    quick.entitle(workspaces=9, active=False)
    assert code(restore(quick, id_)) == "not-entitled"
    quick.entitle(workspaces=2)
    assert restore(quick, id_).status_code == 202


def test_the_limit_holds_when_many_come_back_at_once(quick: World) -> None:
    quick.entitle(workspaces=None)
    ids = [quick.create(f"n{number}") for number in range(8)]
    for id_ in ids:
        quick.call("DELETE", f"/workspaces/{id_}")
    quick.entitle(workspaces=3)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda id_: restore(quick, id_).status_code, ids))
    assert sorted(answers) == [202] * 3 + [403] * 5


def test_its_name_may_be_somebody_elses_by_then(quick: World) -> None:
    id_ = quick.create("Work")
    quick.call("DELETE", f"/workspaces/{id_}")
    other = quick.create("work")
    refused = restore(quick, id_)
    assert (refused.status_code, code(refused), refused.json()["errors"][0]["field"]) == (409, "name-taken", "name")
    assert code(restore(quick, id_, json={"name": "WORK "})) == "name-taken"
    assert restore(quick, id_, json={"name": ""}).status_code == 422
    assert restore(quick, id_, json={"host": "stolen"}).status_code == 422
    assert quick.row(id_).desired == "deleted"
    body = restore(quick, id_, json={"name": " Other work "}).json()
    assert (body["name"], body["state"]) == ("Other work", "stopping")
    assert code(quick.call("PATCH", f"/workspaces/{other}", json={"name": "other WORK"})) == "name-taken"


def test_one_name_when_a_new_one_and_a_restored_one_want_it(quick: World) -> None:
    quick.entitle(workspaces=None)
    ids = []
    for _ in range(4):
        ids.append(quick.create("same"))
        quick.call("DELETE", f"/workspaces/{ids[-1]}")
    with ThreadPoolExecutor(6) as threads:
        back = [threads.submit(restore, quick, id_) for id_ in ids]
        new = threads.submit(quick.call, "POST", "/workspaces", json={"name": "same"})
    answers = [answer.result().status_code for answer in (*back, new)]
    assert sorted(answers) == [202] + [409] * 4


def test_who_sees_and_brings_back_what_was_deleted(quick: World) -> None:
    company = quick.me.company_id
    colleague, admin = a_member(company), an_admin(company)
    mine, theirs = quick.create("mine"), quick.create("theirs", colleague)
    for id_ in (mine, theirs):
        quick.call("DELETE", f"/workspaces/{id_}", admin)

    def seen(caller: Any) -> set[str]:
        return {one["id"] for one in quick.call("GET", "/workspaces/deleted", caller).json()["items"]}

    assert (seen(quick.me), seen(colleague), seen(admin)) == ({str(mine)}, {str(theirs)}, {str(mine), str(theirs)})
    for stranger in (a_member(), an_admin()):
        assert seen(stranger) == set()
        assert code(restore(quick, mine, caller=stranger)) == "not-found"
    assert code(restore(quick, mine, caller=colleague)) == "not-found"
    assert code(quick.call("GET", f"/workspaces/{mine}", colleague)) == "not-found"
    assert restore(quick, theirs, caller=admin).status_code == 202
    assert quick.call("GET", "/workspaces", colleague).json()["items"][0]["id"] == str(theirs)


def test_pages_of_what_was_deleted(quick: World) -> None:
    quick.entitle(workspaces=None)
    made = [str(quick.create(f"n{number}")) for number in range(5)]
    for id_ in made:
        quick.call("DELETE", f"/workspaces/{id_}")
    first = quick.call("GET", "/workspaces/deleted?limit=3").json()
    rest = quick.call("GET", f"/workspaces/deleted?limit=3&cursor={first['next']}").json()
    assert [one["id"] for one in first["items"] + rest["items"]] == made[::-1]
    assert rest["next"] is None
    assert quick.call("GET", "/workspaces").json()["items"] == []


def test_who_left_and_who_is_not_paid_for_touch_nothing_deleted(quick: World) -> None:
    id_ = quick.create()
    quick.call("DELETE", f"/workspaces/{id_}")
    assert quick.me.company_id
    assert quick.me.user_id
    quick.hear(MemberRemoved(company_id=quick.me.company_id, user_id=quick.me.user_id))
    quick.entitle(active=False)
    quick.entitle()
    assert quick.row(id_).desired == "deleted"
    assert restore(quick, id_, caller=an_admin(quick.me.company_id)).json()["state"] == "stopping"
    assert quick.row(id_).desired == "stopped"


# ---- many rows, and rows from before ----


def test_a_look_at_everything_reads_no_deleted_row_before_its_time(quick: World, clock: ManualClock) -> None:
    id_ = quick.create()
    quick.call("DELETE", f"/workspaces/{id_}")
    with quick.service.database.unit_of_work() as session:
        names = [column.name for column in Workspace.__table__.columns]
        copied = ", ".join(COPIES.get(name, name) for name in names)
        insert = (
            f"insert into workspaces ({', '.join(names)}) select {copied} from workspaces, generate_series(1, :many) n"  # noqa: S608
        )
        session.execute(text(insert), {"many": 3000})
        session.execute(text("update workspaces set state = 'deleted', slot = null"))
        session.execute(text("analyze workspaces"))
        clock.advance(WEEK)
        due = progress.to_erase(session, clock.now())
        assert due == [id_]
        for statement, index in (
            ("state = 'deleted' and restorable_until <= now() order by restorable_until limit 100", "restorable"),
            ("state not in ('deleted', 'erased')", "living"),
        ):
            plan = session.execute(text(f"explain select id from workspaces where {statement}")).scalars().all()  # noqa: S608
            assert f"ix_workspaces_{index}" in str(plan), plan
        assert len(progress.to_erase(session, clock.now() + WEEK)) == progress.MOST_ERASURES


COPIES = {
    "id": "gen_random_uuid()",
    "host": "'h' || n",
    "slot": "null",
    "restorable_until": "restorable_until + interval '1 day'",
}


@pytest.fixture
def before(databases: Databases, remembering: RememberingEngine, tmp_path: Path) -> Iterator[World]:
    """A provisioner whose database is as the version before left it."""
    made = databases.new()
    facts: dict[str, Any] = {**QUICK, "installation": "before", "routes_directory": tmp_path / "routes"}
    url = made("provisioner")
    world = World(Settings(database_url=url, token_public_key=PUBLIC_KEY, subnet=remembering.subnet, **facts))
    world.engine = remembering
    config = _config("services.provisioner")
    with world.service.database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    yield world
    world.close()
    databases.drop(made)


def test_what_was_deleted_before_one_could_bring_it_back_is_erased(before: World) -> None:
    ids = {state: new_id() for state in ("deleted", "deleting", "stopped")}
    with before.service.database.engine.begin() as connection:
        for number, (state, id_) in enumerate(ids.items()):
            facts = {"id": id_, "host": state, "slot": number, "desired": DESIRED[state], "state": state}
            connection.execute(text(BEFORE), facts)
            before.engine.kept[id_] = replace(SOME_VOLUME, workspace_id=id_)
    migrate(before.service.database, "services.provisioner")
    assert [before.row(id_).state for id_ in ids.values()] == ["erased", "erasing", "stopped"]
    before.run()
    before.wait(ids["deleting"], "erased")
    until(lambda: list(before.engine.kept) == [ids["stopped"]])
    assert told(before) == ["deleted"]


SOME_VOLUME = Volume("v", UUID(int=0), datetime(2026, 1, 1, tzinfo=UTC))
DESIRED = {"deleted": "deleted", "deleting": "deleted", "stopped": "stopped"}
BEFORE = """
insert into workspaces (id, company_id, owner_id, owner_name, name, name_key, template, host, slot, desired, state,
generation, stages, entitlement_stopped, restarts, created_at, deleted_at)
values (:id, :id, :id, 'A', 'a', 'a', 'plain', :host, :slot, :desired, :state, 1, '[]', false, 0, now(),
case when :state = 'deleted' then now() end)
"""
