"""The provisioner's HTTP: who may do what, and what is refused how."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from services.provisioner.models import Workspace
from services.provisioner.states import State
from shared.events.identity import MemberRemoved
from shared.ids import new_id
from tests.callers import a_member, an_admin, staff
from tests.provisioner.world import GIB, World

NO_PLAN = {"used": 0, "limit": 0, "active": False, "plan": ""}
THREE_OF_THREE = {"used": 3, "limit": 3, "active": True, "plan": "team"}


def code(answer: Any) -> str:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return str(answer.json()["type"]).removeprefix("/problems/")


def test_a_wish_is_a_row_and_a_fact(world: World) -> None:
    world.entitle()
    answer = world.call("POST", "/workspaces", json={"name": "  Ödev 1 "})
    assert answer.status_code == 202
    body = answer.json()
    assert (body["name"], body["state"], body["mine"], body["owner_name"]) == ("Ödev 1", "requested", True, "Member")
    assert body["url"] == f"http://{body['host']}.workspaces.localhost:8080"
    assert [stage["name"] for stage in body["stages"]] == ["queued"]
    ((type_, data),) = world.told()
    assert (type_, data["host"], data["workspace_id"]) == ("workspace.requested", body["host"], body["id"])
    assert world.call("GET", f"/workspaces/{body['id']}").json() == body


def test_the_same_key_makes_one(world: World) -> None:
    world.entitle()
    key = {"Idempotency-Key": "click-0001"}
    first = world.call("POST", "/workspaces", json={"name": "one"}, headers=key)
    second = world.call("POST", "/workspaces", json={"name": "one"}, headers=key)
    assert first.json() == second.json()
    assert len(world.call("GET", "/workspaces").json()["items"]) == 1


@pytest.mark.parametrize(
    "name", ["", "   ", "a" * 61, "tab\there", "null\0", "bidi\u202eevil", "line\u2028break", "\ud800", "a" * 5000]
)
def test_names_that_are_none(world: World, name: str) -> None:
    world.entitle()
    answer = world.call("POST", "/workspaces", content=b'{"name": %s}' % _json(name))
    assert answer.status_code in (400, 422)
    assert world.call("GET", "/workspaces").json()["items"] == []


def _json(text: str) -> bytes:
    import json

    return json.dumps(text).encode()


@pytest.mark.parametrize(
    "body", [{"name": "x", "template": "../../etc"}, {"name": "x", "image": "evil"}, {"name": 7}, {}]
)
def test_nobody_names_an_image(world: World, body: dict[str, Any]) -> None:
    world.entitle()
    assert world.call("POST", "/workspaces", json=body).status_code == 422


@pytest.mark.parametrize("other", ["WORK", "work ", "ｗｏｒｋ", "w\u006frk"])
def test_a_name_is_one_however_it_is_written(world: World, other: str) -> None:
    world.entitle()
    id_ = world.create("work")
    answer = world.call("POST", "/workspaces", json={"name": other})
    assert (answer.status_code, code(answer), answer.json()["errors"][0]["field"]) == (409, "name-taken", "name")
    world.call("DELETE", f"/workspaces/{id_}")
    assert world.call("POST", "/workspaces", json={"name": other}).status_code == 202


def test_without_a_plan(world: World) -> None:
    assert code(world.call("POST", "/workspaces", json={"name": "x"})) == "not-entitled"
    assert world.call("GET", "/workspaces/quota").json() == {
        **NO_PLAN,
        "storage_used": 0,
        "storage_limit": 0,
        "restore_days": 7,
    }
    world.entitle(active=False)
    assert code(world.call("POST", "/workspaces", json={"name": "x"})) == "not-entitled"


def test_the_limit_holds_when_many_ask_at_once(world: World) -> None:
    world.entitle(workspaces=3)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: world.call("POST", "/workspaces", json={"name": f"n{n}"}), range(12)))
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [403] * 9
    assert {code(answer) for answer in answers if answer.status_code == 403} == {"limit-reached"}
    assert world.call("GET", "/workspaces/quota").json() == {
        **THREE_OF_THREE,
        "storage_used": 0,
        "storage_limit": 10 * GIB,
        "restore_days": 7,
    }
    with world.service.database.unit_of_work() as session:
        slots = list(session.scalars(select(Workspace.slot)))
    assert len(set(slots)) == 3


def test_one_name_when_many_ask_at_once(world: World) -> None:
    world.entitle(workspaces=None)
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: world.call("POST", "/workspaces", json={"name": "same"}), range(6)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 5


def test_a_deleted_one_frees_its_place_at_once(world: World) -> None:
    world.entitle(workspaces=1)
    id_ = world.create("a")
    assert code(world.call("POST", "/workspaces", json={"name": "b"})) == "limit-reached"
    world.call("DELETE", f"/workspaces/{id_}")
    world.create("b")
    for change in ("start", "stop", "restart"):
        assert code(world.call("POST", f"/workspaces/{id_}/{change}")) == "being-deleted"
    assert code(world.call("PATCH", f"/workspaces/{id_}", json={"name": "c"})) == "being-deleted"
    assert code(world.call("GET", f"/workspaces/{id_}/access")) == "not-found"
    assert [one["name"] for one in world.call("GET", "/workspaces").json()["items"]] == ["b"]
    first = world.call("GET", f"/workspaces/{id_}").json()["restorable_until"]
    assert world.call("DELETE", f"/workspaces/{id_}").json()["restorable_until"] == first


def test_who_sees_and_opens_what(world: World) -> None:
    world.entitle()
    id_ = world.create()
    colleague = a_member(world.me.company_id)
    admin = an_admin(world.me.company_id)
    strangers = [a_member(), an_admin(), staff()]
    assert world.call("GET", f"/workspaces/{id_}/access").json()["workspace_id"] == str(id_)
    for other in [colleague, *strangers]:
        assert world.call("GET", "/workspaces", other).json()["items"] == []
        for method, path in DOORS:
            answer = world.call(method, f"/workspaces/{id_}{path}", other, json=BODIES.get((method, path)))
            assert code(answer) == "not-found", (method, path)
    seen = world.call("GET", "/workspaces", admin).json()["items"]
    assert [(one["id"], one["mine"]) for one in seen] == [(str(id_), False)]
    assert code(world.call("GET", f"/workspaces/{id_}/access", admin)) == "not-found"
    assert world.call("POST", f"/workspaces/{id_}/stop", admin).json()["state"] == "stopping"
    assert code(world.call("GET", "/admin/workspaces", admin)) == "forbidden"
    assert world.call("GET", "/admin/workspaces", staff()).json()["items"][0]["company_id"] == str(world.me.company_id)
    assert world.call("GET", "/workspaces", a_member(verified=False)).status_code == 403


DOORS = [
    ("GET", ""),
    ("GET", "/access"),
    ("PATCH", ""),
    ("POST", "/start"),
    ("POST", "/stop"),
    ("POST", "/restart"),
    ("POST", "/restore"),
    ("DELETE", ""),
]
BODIES = {("PATCH", ""): {"name": "mine now"}, ("POST", "/restore"): {"name": "mine now"}}


@pytest.mark.parametrize(("method", "path"), DOORS)
def test_ids_nobody_has(world: World, method: str, path: str) -> None:
    body = BODIES.get((method, path))
    assert code(world.call(method, f"/workspaces/{new_id()}{path}", json=body)) == "not-found"
    assert world.call(method, f"/workspaces/x'--{path}", json=body).status_code == 422


def test_pages(world: World) -> None:
    world.entitle(workspaces=None)
    made = [str(world.create(f"n{number}")) for number in range(5)]
    first = world.call("GET", "/workspaces?limit=3").json()
    rest = world.call("GET", f"/workspaces?limit=3&cursor={first['next']}").json()
    assert [one["id"] for one in first["items"] + rest["items"]] == made
    assert rest["next"] is None


def test_older_entitlements_change_nothing(world: World) -> None:
    world.entitle(sequence=10, workspaces=1)
    world.entitle(sequence=9, workspaces=9)
    assert world.call("GET", "/workspaces/quota").json()["limit"] == 1


def test_who_was_stopped_by_the_bill_comes_back_unless_stopped_by_hand(world: World) -> None:
    world.entitle()
    mine, other = world.create("mine"), world.create("other")
    world.entitle(active=False)
    assert [world.row(id_).desired for id_ in (mine, other)] == ["stopped", "stopped"]
    world.call("POST", f"/workspaces/{other}/stop")
    world.entitle()
    assert [world.row(id_).desired for id_ in (mine, other)] == ["running", "stopped"]


def test_a_smaller_plan_brings_back_what_it_has_room_for(world: World) -> None:
    world.entitle()
    ids = [world.create(f"n{number}") for number in range(3)]
    world.entitle(active=False)
    world.entitle(workspaces=2)
    assert [world.row(id_).desired for id_ in ids] == ["running", "running", "stopped"]
    assert code(world.call("POST", f"/workspaces/{ids[2]}/start")) == "limit-reached"
    world.entitle(active=False)
    world.entitle()
    assert world.row(ids[2]).desired == "stopped"


def test_who_leaves_stops(world: World) -> None:
    world.entitle()
    colleague = a_member(world.me.company_id)
    theirs, mine = world.create("theirs", colleague), world.create("mine")
    world.entitle(active=False)
    world.hear(MemberRemoved(company_id=_some(world.me.company_id), user_id=_some(colleague.user_id)))
    world.entitle()
    assert (world.row(theirs).desired, world.row(mine).desired) == ("stopped", "running")
    admin = an_admin(world.me.company_id)
    assert len(world.call("GET", "/workspaces", admin).json()["items"]) == 2


def _some(id_: UUID | None) -> UUID:
    assert id_
    return id_


def test_causes_speak_the_callers_language(world: World) -> None:
    world.entitle()
    id_ = world.create()
    world.entitle(active=False)
    turkish = world.call("GET", f"/workspaces/{id_}").json()["cause"]
    english = world.call("GET", f"/workspaces/{id_}", a_member_in("en", world)).json()["cause"]
    assert turkish["code"] == english["code"] == "not-entitled"
    assert turkish["message"] != english["message"]


def a_member_in(language: str, world: World) -> Any:
    return an_admin(world.me.company_id, language=language)


def test_every_cause_has_its_turkish() -> None:
    from services.provisioner.causes import CAUSES

    for cause in CAUSES.values():
        for english, turkish in zip((cause.message, cause.next_step), cause.words("tr"), strict=True):
            assert english != turkish, english


def test_every_state_can_be_left_for_deletion_or_is_the_end() -> None:
    from services.provisioner.states import TRANSITIONS

    assert set(TRANSITIONS) == set(State)
    for state, ways in TRANSITIONS.items():
        assert State.DELETING in ways or state in (State.DELETING, State.DELETED, State.ERASING, State.ERASED)


def test_nothing_leads_back_from_an_erasure() -> None:
    from services.provisioner.states import TRANSITIONS

    assert TRANSITIONS[State.ERASING] == {State.ERASED}
    assert TRANSITIONS[State.ERASED] == set()
    # And only from `deleted`, where the control loop has seen that the time is over, does a way lead there.
    assert [state for state, ways in TRANSITIONS.items() if State.ERASING in ways] == [State.DELETED]


def test_another_name(world: World) -> None:
    world.entitle()
    id_, other = world.create("first"), world.create("taken")
    before = world.call("GET", f"/workspaces/{id_}").json()
    answer = world.call("PATCH", f"/workspaces/{id_}", json={"name": "  Ödev 2 "})
    assert (answer.status_code, answer.json()) == (200, {**before, "name": "Ödev 2"})
    assert world.call("PATCH", f"/workspaces/{id_}", json={"name": "ÖDEV 2"}).json()["name"] == "ÖDEV 2"
    taken = world.call("PATCH", f"/workspaces/{id_}", json={"name": "ＴＡＫＥＮ"})
    assert (taken.status_code, code(taken), taken.json()["errors"][0]["field"]) == (409, "name-taken", "name")
    world.create("first")  # the old name is free
    world.call("DELETE", f"/workspaces/{other}")
    assert world.call("PATCH", f"/workspaces/{id_}", json={"name": "taken"}).status_code == 200
    world.entitle(active=False)
    assert world.call("PATCH", f"/workspaces/{id_}", json={"name": "no plan"}).status_code == 200
    admin = an_admin(world.me.company_id)
    assert world.call("PATCH", f"/workspaces/{id_}", admin, json={"name": "by the admin"}).json()["mine"] is False


@pytest.mark.parametrize(
    "body", [{"name": ""}, {"name": "a" * 61}, {"name": "bidi\u202eevil"}, {"name": 7}, {}, {"x": 1}]
)
def test_other_names_that_are_none(world: World, body: dict[str, Any]) -> None:
    world.entitle()
    id_ = world.create("kept")
    assert world.call("PATCH", f"/workspaces/{id_}", json=body).status_code == 422
    assert world.call("PATCH", f"/workspaces/{id_}", json={**body, "host": "stolen"}).status_code == 422
    assert world.row(id_).name == "kept"


def test_one_name_when_many_rename_at_once(world: World) -> None:
    world.entitle(workspaces=None)
    ids = [world.create(f"n{number}") for number in range(6)]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda id_: world.call("PATCH", f"/workspaces/{id_}", json={"name": "one"}), ids))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5


def test_a_restart_is_admitted_as_a_start_is(world: World) -> None:
    world.entitle()
    id_ = world.create()
    assert world.call("POST", f"/workspaces/{id_}/restart").json()["state"] == "starting"
    assert world.row(id_).generation == 2  # before it was ever there: begun anew
    world.call("POST", f"/workspaces/{id_}/stop")
    world.entitle(active=False)
    assert code(world.call("POST", f"/workspaces/{id_}/restart")) == "not-entitled"
    world.entitle(workspaces=1)
    world.create_beyond_the_plan("other")
    assert code(world.call("POST", f"/workspaces/{id_}/restart")) == "limit-reached"
    assert world.row(id_).desired == "stopped"


def test_stops_and_restarts_at_once_pass_no_limit(world: World) -> None:
    """A restart that saw its workspace running must not let it run once it was stopped and its place was taken."""
    world.entitle(workspaces=2)
    one, two = world.create("one"), world.create("two")
    third = world.create_beyond_the_plan("three", running=False)
    wishes = [f"/workspaces/{id_}/{what}" for id_ in (one, two, third) for what in ("stop", "restart", "start")] * 4
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda path: world.call("POST", path), wishes))
    assert {answer.status_code for answer in answers} <= {202, 403}
    assert sum(world.row(id_).desired == "running" for id_ in (one, two, third)) <= 2
