"""The storage of a plan: what is measured, who is warned, what is stopped, and that nobody gets around it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, insert, text, update

from services.provisioner.engine import DiskFull, EngineError, FileSystem, Measured, Meter, Size
from services.provisioner.engine.measuring import read
from services.provisioner.measure import BATCH, LANES
from services.provisioner.models import Disk, Measuring, Workspace
from shared.ids import new_id
from tests.callers import a_member, an_admin, staff
from tests.provisioner.remembering_engine import RememberingEngine
from tests.provisioner.world import GIB, World, until

SLOW = LANES[1]
LIMIT = 10 * GIB


class Story:
    """A company with a plan of 10 GiB, whose files grow by the engine's word; time passes when it is told to."""

    def __init__(self, world: World, engine: RememberingEngine) -> None:
        self.world, self.engine = world, engine
        world.entitle()
        world.run()

    def running(self, name: str, gigabytes: float = 0) -> UUID:
        """A running workspace with so many files."""
        id_ = self.world.create(name)
        self.world.wait(id_, "running")
        return self.fill(id_, gigabytes)

    def fill(self, id_: UUID, gigabytes: float) -> UUID:
        """From now on its files take so much."""
        self.engine.sizes[id_] = Size(int(gigabytes * GIB))
        return id_

    def found(self, id_: UUID, gigabytes: float) -> None:
        """Its files take so much, and that is measured."""
        self.fill(id_, gigabytes)
        self.world.measure()

    def start(self, id_: UUID) -> Any:
        return self.world.call("POST", f"/workspaces/{id_}/start")

    def stop(self, id_: UUID) -> None:
        self.world.call("POST", f"/workspaces/{id_}/stop")
        self.world.wait(id_, "stopped")

    def restarted(self, id_: UUID) -> None:
        assert self.start(id_).status_code == 202
        self.world.wait(id_, "running")

    def pass_minutes(self, minutes: float) -> None:
        self.world.move_clock(timedelta(minutes=minutes))

    def was_stopped(self, id_: UUID) -> bool:
        """Whether it was stopped for its company's storage; its files are kept."""
        row = self.world.row(id_)
        if row.desired != "stopped":
            return False
        assert self.world.wait(id_, "stopped").cause == "storage-full"
        assert id_ in self.engine.kept
        return True

    def warnings(self) -> list[int]:
        return [data["percent"] for type_, data in self.world.told() if type_ == "workspace.storage_warning"]

    def quota(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.world.call("GET", "/workspaces/quota").json()
        return answer


@pytest.fixture
def story(new_world: Callable[..., World], remembering: RememberingEngine, tmp_path: Path) -> Story:
    return Story(new_world(remembering, subnet=remembering.subnet, clock_file=tmp_path / "clock"), remembering)


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["type"]).removeprefix("/problems/")


# what is measured


def test_what_runs_is_measured_and_what_ended_once_more(story: Story) -> None:
    world, engine = story.world, story.engine
    one, other = story.running("one", 1), story.running("other", 2)
    world.measure()
    assert (world.row(one).storage_bytes, world.row(other).storage_bytes) == (GIB, 2 * GIB)
    assert world.row(one).storage_at is not None
    story.stop(one)
    story.found(one, 1.5)
    assert world.row(one).storage_bytes == 1.5 * GIB
    engine.measured.clear()
    world.measure()
    world.measure()
    assert engine.measured == [{other}, {other}]
    world.call("DELETE", f"/workspaces/{other}")
    world.wait(other, "deleted")
    world.measure()  # what was written in its last minute lies on the disk, too
    engine.measured.clear()
    world.measure()
    assert engine.measured == []


def test_what_runs_for_less_than_a_pause_is_measured_all_the_same(story: Story) -> None:
    id_ = story.running("short")
    story.stop(id_)
    story.world.measure()
    story.restarted(id_)
    story.stop(id_)
    story.found(id_, 3)
    assert story.world.row(id_).storage_bytes == 3 * GIB


def test_people_see_what_their_workspaces_take(story: Story) -> None:
    before = story.quota()
    assert (before["storage_used"], before["storage_limit"]) == (0, LIMIT)
    id_ = story.running("mine")
    assert story.world.call("GET", f"/workspaces/{id_}").json()["storage_bytes"] is None
    story.found(id_, 3)
    assert story.world.call("GET", f"/workspaces/{id_}").json()["storage_bytes"] == 3 * GIB
    assert story.quota()["storage_used"] == 3 * GIB
    stranger = story.world.call("GET", "/workspaces/quota", a_member()).json()
    assert (stranger["storage_used"], stranger["storage_limit"]) == (0, 0)


def test_batches_are_small_and_one_broken_volume_hides_no_other(story: Story) -> None:
    world, engine = story.world, story.engine
    ids = [story.running(f"n{number}", 1) for number in range(4)]
    with world.service.database.unit_of_work() as session:
        session.execute(update(Workspace).where(Workspace.id == ids[0]).values(storage_bytes=7, storage_low=7))
    engine.unreadable = {ids[0]}
    del engine.kept[ids[3]]  # removed by hand
    world.measure()
    assert [world.row(id_).storage_bytes for id_ in ids] == [7, GIB, GIB, None]
    assert max(len(batch) for batch in engine.measured) <= BATCH


def test_an_engine_that_is_away_or_refuses_changes_nothing(story: Story) -> None:
    world, engine = story.world, story.engine
    id_ = story.running("one")
    story.found(id_, 9)
    engine.reachable = False
    story.found(id_, 20)
    engine.reachable = True
    engine.refuses["measure"] = [EngineError("no")]
    world.measure()
    assert (world.row(id_).storage_bytes, world.row(id_).desired) == (9 * GIB, "running")
    world.measure()
    assert world.row(id_).storage_bytes == 20 * GIB


def test_replicas_take_turns(new_world: Callable[..., World], remembering: RememberingEngine) -> None:
    world = new_world(remembering, subnet=remembering.subnet, measure_seconds=0.6)
    world.entitle()
    for _ in range(3):
        world.run(measuring=True)
    id_ = world.create()
    world.wait(id_, "running")
    remembering.sizes[id_] = Size(GIB)
    until(lambda: world.row(id_).storage_bytes == GIB)
    with world.service.database.unit_of_work() as session:
        (quick,) = (row for row in session.query(Measuring) if row.lane == "quick")
    # Whoever has the turn was killed: nobody else has it before its time, and then somebody does.
    with world.service.database.unit_of_work() as session:
        session.execute(update(Measuring).where(Measuring.lane == "quick").values(holder=new_id()))
    remembering.sizes[id_] = Size(2 * GIB)
    until(lambda: world.row(id_).storage_bytes == 2 * GIB)
    assert quick.holder is not None


def test_who_lost_the_turn_writes_nothing(story: Story) -> None:
    world, engine = story.world, story.engine
    id_ = story.running("one", 5)

    def measure(*arguments: Any) -> Any:
        with world.service.database.unit_of_work() as session:
            session.execute(update(Measuring).values(holder=new_id()))
        return RememberingEngine.measure(engine, *arguments)

    engine.measure = measure  # type: ignore[method-assign]
    world.measure()
    assert world.row(id_).storage_bytes is None


def test_what_a_killed_process_left_is_ended(story: Story) -> None:
    left, nobodys = Meter("left", new_id()), Meter("nobody's", None)
    story.engine.measuring += [left, nobodys]
    with story.world.service.database.unit_of_work() as session:
        holder = new_id()
        due = func.clock_timestamp() + text("interval '1 hour'")
        session.execute(insert(Measuring).values(lane="quick", holder=holder, due_at=due))
    alive = Meter("alive", holder)
    story.engine.measuring.append(alive)
    until(lambda: story.engine.measuring == [alive])


def test_an_answer_is_read_line_by_line() -> None:
    one, other = new_id(), new_id()
    answer = f"disk 4096 100 50 7 3\nvolume {one.hex} 12 whole\nvolume x 1 whole\n"
    answer += (
        f"volume {other.hex} -nan whole\nvolume {other.hex} 5 perhaps\ndisk 1\n\nawk: cannot\nvolume {other.hex} 9 part"
    )
    found = read(answer)
    assert found.sizes == {one: Size(12), other: Size(9, whole=False)}
    assert found.disk == FileSystem(409600, 204800, 7, 3)
    assert read("") == Measured()


# warnings


def test_a_warning_for_each_crossing_and_no_more(story: Story) -> None:
    one, other = story.running("one", 1), story.running("other", 1)
    story.world.measure()
    assert story.warnings() == []
    story.found(other, 7.1)
    story.world.measure()
    assert story.warnings() == [80]
    story.found(other, 8.6)
    story.found(other, 8.6)
    assert story.warnings() == [80, 95]
    story.found(other, 8.4)  # around the line: that is no crossing
    story.found(other, 8.6)
    assert story.warnings() == [80, 95]
    story.found(other, 7.5)
    story.found(other, 8.6)
    assert story.warnings() == [80, 95, 95]
    story.found(other, 2)
    story.found(one, 7)
    assert story.warnings() == [80, 95, 95, 80]
    told = [data for type_, data in story.world.told() if type_ == "workspace.storage_warning"]
    assert (told[0]["name"], told[-1]["name"]) == ("other", "one")
    assert (told[0]["limit_bytes"], told[0]["used_bytes"]) == (LIMIT, int(7.1 * GIB) + GIB)


def test_a_leap_is_told_once_and_by_its_height(story: Story) -> None:
    story.found(story.running("one"), 9.9)
    assert story.warnings() == [95]


# the limit


def test_at_the_limit_what_grew_is_stopped_and_nothing_new_is_made(story: Story) -> None:
    still, grows = story.running("still", 4), story.running("grows", 4)
    story.stop(still)
    story.world.measure()
    story.restarted(still)
    story.found(grows, 6.1)
    assert story.was_stopped(grows)
    assert story.world.row(still).desired == "running"
    answer = story.world.call("POST", "/workspaces", json={"name": "another"})
    assert refusal(answer) == (403, "storage-full")
    assert (answer.json()["limit"], answer.json()["used"]) == (LIMIT, 4 * GIB + int(6.1 * GIB))
    cause = story.world.call("GET", f"/workspaces/{grows}").json()["cause"]
    english = story.world.call("GET", f"/workspaces/{grows}", an_admin(story.world.me.company_id, language="en"))
    assert cause["code"] == "storage-full"
    assert cause["message"] != english.json()["cause"]["message"]
    stops = [data for type_, data in story.world.told() if type_ == "workspace.stopped"]
    assert (stops[-1]["reason"], stops[-1]["cause"]) == ("entitlement", "storage-full")


def test_who_cleans_up_is_let_go(story: Story) -> None:
    id_ = story.running("one")
    story.found(id_, 12)
    assert story.was_stopped(id_)
    story.restarted(id_)
    story.world.measure()
    story.found(id_, 3)
    story.pass_minutes(60)
    story.found(id_, 4)
    assert story.world.row(id_).desired == "running"
    assert story.world.call("POST", "/workspaces", json={"name": "another"}).status_code == 202


def test_room_takes_the_cause_away(story: Story) -> None:
    one, other = story.running("one", 0), story.running("other", 0)
    story.world.measure()
    story.fill(one, 6)
    story.found(other, 6)
    assert story.was_stopped(one)
    assert story.was_stopped(other)
    story.restarted(one)
    story.found(one, 1)
    assert story.world.row(other).cause is None


def test_a_larger_plan_makes_room_at_once_and_a_smaller_one_leaves_time(story: Story) -> None:
    id_ = story.running("one")
    story.found(id_, 12)
    assert story.was_stopped(id_)
    story.world.entitle(storage_bytes=50 * GIB)
    assert story.world.row(id_).cause is None
    story.restarted(id_)
    story.found(id_, 20)
    story.world.entitle(storage_bytes=10 * GIB)
    story.world.measure()
    assert story.world.row(id_).desired == "running"
    story.pass_minutes(11)
    story.world.measure()
    assert story.was_stopped(id_)


# the attacks


def test_the_grace_does_not_begin_anew_with_each_start(story: Story) -> None:
    id_ = story.running("one")
    story.found(id_, 12)
    assert story.was_stopped(id_)
    story.restarted(id_)
    story.world.measure()
    for _ in range(3):
        story.pass_minutes(3)
        story.stop(id_)
        story.world.measure()
        story.restarted(id_)
        story.world.measure()
        assert story.world.row(id_).desired == "running"
    story.pass_minutes(1.1)
    story.world.measure()
    assert story.was_stopped(id_)
    story.restarted(id_)  # there is always a way to clean up
    story.world.measure()
    assert story.world.row(id_).desired == "running"


def test_another_workspace_does_not_lengthen_the_grace(story: Story) -> None:
    one, other = story.running("one"), story.running("other")
    story.fill(one, 6)
    story.found(other, 6)
    assert story.was_stopped(one)
    assert story.was_stopped(other)
    story.restarted(one)
    story.world.measure()
    story.pass_minutes(9)
    story.restarted(other)
    story.world.measure()
    story.pass_minutes(1.1)
    story.world.measure()
    assert story.was_stopped(one)
    assert story.was_stopped(other)


def test_a_restart_resets_nothing(story: Story) -> None:
    id_ = story.running("one")
    story.found(id_, 9)
    assert story.world.call("POST", f"/workspaces/{id_}/restart").status_code == 202
    story.world.wait(id_, "running")
    story.found(id_, 10.05)
    assert story.was_stopped(id_)
    story.restarted(id_)
    story.world.measure()
    story.pass_minutes(5)
    story.world.call("POST", f"/workspaces/{id_}/restart")
    story.world.wait(id_, "running")
    story.pass_minutes(5.1)
    story.world.measure()
    assert story.was_stopped(id_)


def test_who_is_let_in_to_clean_up_and_fills_is_stopped_at_once_and_in_the_end_locked_out(story: Story) -> None:
    id_ = story.running("one")
    size = 11.0
    story.found(id_, size)
    for _ in range(3):
        assert story.was_stopped(id_)
        story.restarted(id_)
        story.world.measure()
        story.found(id_, size := size * 1.02)  # cleaning up writes, too
        assert story.world.row(id_).desired == "running"
        story.found(id_, size := size * 1.1)
    assert story.was_stopped(id_)
    answer = story.start(id_)
    assert refusal(answer) == (403, "storage-locked")
    assert answer.json()["limit"] == LIMIT
    story.pass_minutes(24 * 60 + 1)
    story.restarted(id_)  # one more try a day, and none of them is a dead end
    story.found(id_, size * 1.5)
    assert story.was_stopped(id_)
    assert refusal(story.start(id_)) == (403, "storage-locked")
    story.world.entitle(storage_bytes=500 * GIB)
    story.restarted(id_)


def test_who_fills_between_two_looks_and_stops_before_the_next_has_filled_all_the_same(story: Story) -> None:
    id_ = story.running("one")
    size = 11.0
    story.found(id_, size)
    assert story.was_stopped(id_)
    for _ in range(3):
        story.restarted(id_)
        story.fill(id_, size := size * 1.5)
        story.stop(id_)
        story.world.measure()
    assert refusal(story.start(id_)) == (403, "storage-locked")


def test_what_was_deleted_to_be_filled_again_counts(story: Story) -> None:
    def fill_and_delete(name: str) -> None:
        id_ = story.running(name)
        story.fill(id_, 9)
        story.world.call("DELETE", f"/workspaces/{id_}")
        story.world.wait(id_, "deleted")
        story.world.measure()

    fill_and_delete("first")
    assert story.quota()["storage_used"] == 0  # what is deleted makes room, as people expect
    fill_and_delete("second")
    assert story.quota()["storage_used"] == 8 * GIB
    fill_and_delete("third")
    assert refusal(story.world.call("POST", "/workspaces", json={"name": "fourth"})) == (403, "storage-full")


def test_bringing_back_is_no_growth(story: Story) -> None:
    one, other = story.running("one"), story.running("other", 5)
    story.found(one, 4)
    story.stop(other)
    story.world.measure()
    story.world.call("DELETE", f"/workspaces/{other}")
    story.world.wait(other, "deleted")
    story.found(one, 10.5)
    assert story.was_stopped(one)
    story.restarted(one)
    story.world.measure()
    assert story.world.call("POST", f"/workspaces/{other}/restore").status_code == 202
    story.found(one, 10.6)
    assert story.world.row(one).desired == "running"


def test_a_little_at_a_time_is_seen_in_the_end(story: Story) -> None:
    """Each of many grows by less than what is taken for growth, the company by more."""
    story.world.entitle(workspaces=None)
    ids = [story.running(f"n{number}") for number in range(8)]

    def all_take(gigabytes: float) -> None:
        for id_ in ids:
            story.fill(id_, gigabytes)
        story.world.measure()

    for id_ in ids:
        story.stop(id_)
    all_take(1.24)
    for id_ in ids:
        story.restarted(id_)
    all_take(1.26)
    assert {story.world.row(id_).desired for id_ in ids} == {"running"}
    all_take(1.335)
    assert all(story.was_stopped(id_) for id_ in ids)


def test_too_many_files_to_count_hide_nothing(story: Story) -> None:
    world, engine = story.world, story.engine
    id_, other = story.running("heap"), story.running("other", 1)
    story.found(id_, 6)
    engine.sizes[id_] = Size(2 * GIB, whole=False)  # the time ran out before the rest was seen
    world.measure()
    assert world.row(id_).storage_bytes == 6 * GIB
    engine.measured.clear()
    world.measure()
    assert engine.measured == [{other}]  # it holds nobody else up
    engine.sizes[id_] = Size(12 * GIB)
    world.measure(SLOW)
    assert story.was_stopped(id_)


def test_what_is_never_counted_to_the_end_is_looked_at_once_after_its_end(story: Story) -> None:
    world, engine = story.world, story.engine
    id_ = story.running("heap")
    engine.sizes[id_] = Size(4 * GIB, whole=False)
    world.measure()
    story.stop(id_)
    world.measure(SLOW)
    engine.measured.clear()
    world.measure(SLOW)
    world.measure()
    assert engine.measured == []
    assert world.row(id_).storage_bytes == 4 * GIB


# the host's disk


def test_below_the_reserve_nothing_is_started_and_what_runs_goes_on(story: Story) -> None:
    world, engine = story.world, story.engine
    ran, rested = story.running("ran"), story.running("rested")
    story.stop(rested)
    engine.disk = FileSystem(1000 * GIB, 9 * GIB)
    world.measure()
    new = world.create("new")
    assert story.start(rested).status_code == 202
    for id_ in (new, rested):
        until(lambda id_=id_: world.row(id_).cause == "disk-full")  # type: ignore[misc]
        assert world.row(id_).state in ("requested", "starting")
    assert world.row(ran).state == "running"
    seen = world.call("GET", "/admin/workspaces/disk", staff()).json()
    assert (seen["free_bytes"], seen["reserve_bytes"], seen["low"]) == (9 * GIB, 10 * GIB, True)
    assert world.call("GET", "/admin/workspaces/disk", an_admin()).status_code == 403
    engine.disk = FileSystem(1000 * GIB, 11 * GIB)
    world.measure()
    for id_ in (new, rested):
        assert world.wait(id_, "running").cause is None


@pytest.mark.parametrize(
    ("given", "disk", "low"),
    [
        (None, FileSystem(20 * GIB, 2 * GIB), False),
        (None, FileSystem(20 * GIB, GIB - 1), True),
        (0, FileSystem(20 * GIB, 0), False),
        (15 * GIB, FileSystem(100 * GIB, 14 * GIB), True),
        (None, FileSystem(100 * GIB, 90 * GIB, 1000, 49), True),
        (None, FileSystem(100 * GIB, 90 * GIB, 0, 0), False),
    ],
)
def test_the_reserve(
    new_world: Callable[..., World], remembering: RememberingEngine, given: int | None, disk: FileSystem, low: bool
) -> None:
    world = new_world(remembering, host_reserve_bytes=given)
    assert world.call("GET", "/admin/workspaces/disk", staff()).json() is None
    remembering.disk = disk
    world.measure()
    assert world.call("GET", "/admin/workspaces/disk", staff()).json()["low"] is low


def test_an_idle_platform_looks_at_its_disk_seldom(story: Story) -> None:
    story.world.measure()
    story.world.measure()
    assert story.engine.measured == [set()]
    story.pass_minutes(11)
    story.world.measure()
    assert story.engine.measured == [set(), set()]
    story.engine.disk = FileSystem(100 * GIB, 0)
    story.pass_minutes(11)
    story.world.measure()
    story.world.measure()  # somebody may be waiting for room
    assert len(story.engine.measured) == 4


def test_a_disk_so_full_that_nothing_can_be_measured_is_full(story: Story) -> None:
    story.world.measure()
    story.engine.refuses["measure"] = [DiskFull()]
    story.running("one")
    story.world.measure()
    with story.world.service.database.unit_of_work() as session:
        seen = session.get(Disk, True)
    assert seen is not None
    assert (seen.free_bytes, seen.low) == (0, True)
    story.world.measure()
    assert story.world.call("GET", "/admin/workspaces/disk", staff()).json()["low"] is False


def test_the_engines_own_no_space_waits_for_room(story: Story) -> None:
    story.engine.refuses["create"] = [DiskFull() for _ in range(8)]
    id_ = story.world.create("one")
    until(lambda: story.world.row(id_).cause == "disk-full")
    story.world.wait(id_, "running")
    assert story.world.row(id_).restarts == 0
