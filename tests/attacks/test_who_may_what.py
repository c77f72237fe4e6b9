"""docs/who-may-what.md, line by line: each kind of caller asks each operation, and gets what the table says.

A route that is not written yet is asked, too. One whose address names a new kind of thing fails until `people` has one.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from typing import Any
from uuid import UUID

import pytest

from deploy import access_table, openapi
from deploy.access_table import CALLERS, NOBODY, OPEN, PAGES, Line
from shared import access
from shared.ids import new_id
from shared.tokens import Principal
from tests.attacks.conftest import People
from tests.attacks.town import Answer, Town, Visitor
from tests.callers import headers, the_gateway

pytestmark = pytest.mark.xdist_group("town")

LINES = access_table.lines()
APIS = [line for line in LINES if line.path.startswith("/api/") or line.path.startswith("/internal/")]
PAGE_LINES = [line for line in LINES if line.room == PAGES and not line.path.startswith("/api/")]
TENANTS = [line for line in APIS if line.tenants]
REFUSALS = {"forbidden", "mail-not-verified", "out-of-scope"}
"""What a door says; further in, operations refuse with reasons of their own."""
FURTHER_IN = {("DELETE", "/api/v1/members/{user_id}")}
"""Doors that open to members for themselves alone; about others the operation says the same as a door would."""
NAMES = {"name": "trials", "service": "identity", "listed": "users", "plan": "team"}
"""What addresses name beside ids."""


def address(path: str, things: dict[str, UUID]) -> str:
    """The path with what it names; ids come from `things`, or are nobody's."""
    return re.sub(r"\{(\w+)\}", lambda m: NAMES.get(m[1]) or str(things.get(m[1]) or new_id()), path)


def code(answer: Any) -> str:
    try:
        return str(json.loads(answer.body if isinstance(answer, Answer) else answer.content)["type"]).rpartition("/")[2]
    except (ValueError, KeyError):
        return ""


def let_in(line: Line, answer: Answer) -> bool:
    refused = answer.status == 403 and code(answer) in REFUSALS
    return answer.status != 401 and (not refused or (line.method, line.path) in FURTHER_IN)


def turned_away(answer: Answer) -> bool:
    return answer.status == 403 and code(answer) in REFUSALS


def columns(people: People) -> dict[str, Principal | None]:
    """The table's callers, as people identity knows."""
    admin = people.admin.principal
    found: dict[str, Principal | None] = {
        "nobody": None,
        "unconfirmed": people.unconfirmed.principal,
        "member": people.member.principal,
        "admin": people.stranger.principal,
        "reads only": replace(admin, scopes=frozenset({access.READ})),
        "staff": people.staff.principal,
        "gateway": the_gateway(),
    }
    assert found.keys() == CALLERS.keys()
    for name, expected in CALLERS.items():
        real = found[name]
        if expected is not None and real is not None:
            for fact in ("role", "staff", "verified", "scopes"):
                assert getattr(real, fact) == getattr(expected, fact), (name, fact)
    return found


@pytest.mark.parametrize("room", openapi.SERVICES)
def test_every_operation_lets_in_whom_the_table_names_and_nobody_else(town: Town, people: People, room: str) -> None:
    """Straight at the services, past the gateway, which is no service's only lock. The ids asked for are nobody's."""
    callers = columns(people)
    wrong = []
    for line in (line for line in APIS if line.room == room):
        for name, caller in callers.items():
            now = town.services[room].settings.clock.now()
            sent = {"authorization": headers(caller, now)["Authorization"]} if caller else {}
            answer = town.asked(room, line.method, address(line.path, {}), sent)
            if name in line.callers:
                good = let_in(line, answer)
            elif name == NOBODY:
                good = answer.status == 401
            else:
                good = turned_away(answer)
            if not good or answer.status >= 500:
                wrong.append((line.method, line.path, name, answer.status, answer.body[:200]))
    assert not wrong, wrong


def test_the_front_door_agrees(town: Town, people: People) -> None:
    """The same with cookies, as browsers come: nothing more opens, and `/internal` is not there at all."""
    visitors = {
        NOBODY: Visitor(town),
        "unconfirmed": people.unconfirmed,
        "member": people.member,
        "admin": people.stranger,
        "staff": people.staff,
    }
    tokens = {
        name: visitor.form_token("/account" if name != NOBODY else "/log-in") for name, visitor in visitors.items()
    }
    wrong = []
    for line in APIS:
        for name, visitor in visitors.items():
            cookie = "; ".join(f"{one}={value}" for one, value in visitor.http.cookies.items())
            sent = {"cookie": cookie, "x-csrf-token": tokens[name], "host": "youarecoder.localhost:8080"}
            answer = town.asked(PAGES, line.method, address(line.path, {}), sent)
            if line.path.startswith("/internal/"):
                good = answer.status in (404, 405)
            elif name == NOBODY and "gateway" in line.callers:
                good = answer.status == 200  # plans
            elif name == NOBODY:
                good = answer.status == 401
            elif name in line.callers:
                good = let_in(line, answer)
            else:
                good = turned_away(answer)
            # PayTR is not there in this town.
            if not good or answer.status in (500, 503, 504):
                wrong.append((line.method, line.path, name, answer.status, answer.body[:200]))
    assert not wrong, wrong


def test_every_page_opens_to_whom_the_table_names_and_nobody_else(town: Town, people: People) -> None:
    visitors = {
        NOBODY: Visitor(town),
        "unconfirmed": people.unconfirmed,
        "member": people.member,
        "admin": people.stranger,
        "staff": people.staff,
    }
    wrong = []
    for line in PAGE_LINES:
        for name, visitor in visitors.items():
            # Without a form token: who may come in is told about the form, who may not never gets that far.
            answer = visitor.http.request(line.method, address(line.path, {}), follow_redirects=False)
            to = answer.headers.get("location", "")
            if line.method == "GET":
                inside = not to.startswith(("/log-in", "/verify")) and answer.status_code != 403
                if line.path.startswith("/billing/payment/"):
                    inside = True  # what it shows depends on whose payment it is
            else:
                inside = answer.status_code == 403 and "out of date" in answer.text
            if inside != (name in line.callers) or answer.status_code >= 500:
                wrong.append((line.method, line.path, name, answer.status_code, to))
    assert not wrong, wrong


@cache
def _documents() -> dict[str, dict[str, Any]]:
    return {name: openapi.application(name).openapi() for name in openapi.SERVICES}


def body_for(line: Line) -> bytes:
    """The smallest body the operation takes, by its own schema; so a refusal is about the id and not about the body."""
    document = _documents()[line.room]
    operation = document["paths"][line.path][line.method.lower()]
    if "requestBody" not in operation:
        return b""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return json.dumps(_smallest(schema, document)).encode()


def _smallest(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _smallest(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _smallest(schema["anyOf"][0], document)
    kind = schema.get("type")
    if kind == "object":
        return {name: _smallest(schema["properties"][name], document) for name in schema.get("required", ())}
    if kind == "string":
        return "stolen"
    return {"boolean": True, "integer": 1, "array": []}.get(str(kind))


@pytest.mark.parametrize("line", TENANTS, ids=lambda line: f"{line.method} {line.path}")
def test_what_is_anothers_is_not_there(town: Town, people: People, line: Line) -> None:
    """With ids that are right, as an admin of another company: the same answer as for an id nobody has."""
    named = set(re.findall(r"\{(\w+_id)\}", line.path))
    assert named <= people.things.keys(), f"`people` has no {named - people.things.keys()} to steal"

    def asked(things: dict[str, UUID]) -> tuple[int, dict[str, Any]]:
        answer = people.stranger.api(
            line.method,
            address(line.path, things),
            content=body_for(line),
            headers={"content-type": "application/json"},
        )
        told = answer.json() if answer.content else {}
        return answer.status_code, {name: value for name, value in told.items() if name != "correlation_id"}

    status, told = asked(people.things)
    assert status == 404, (status, told)
    assert (status, told) == asked({}), "it tells an id that exists from one that does not"


def test_these_ids_are_right(people: People) -> None:
    """Their owner is answered otherwise: the test before could fail."""
    for line in TENANTS:
        if line.method != "GET":
            continue
        answer = people.admin.api("GET", address(line.path, people.things))
        assert answer.status_code == 200, (line.path, answer.text)
    members = people.admin.http.get("/api/v1/members").json()["items"]
    assert str(people.things["user_id"]) in {one["user_id"] for one in members}
    invitations = people.admin.http.get("/api/v1/invitations").json()["items"]
    assert str(people.things["invitation_id"]) in {one["id"] for one in invitations}
    assert people.admin.http.get("/api/v1/me").status_code == 200, "its session was not ended"


def test_no_list_shows_what_is_anothers(people: People) -> None:
    """Everything that can be read without an id, as another company's admin, and page by page."""
    secrets = [str(id_) for id_ in people.things.values()] + [people.admin.email, people.member.email, "Bizim AŞ"]
    paths = [line.path for line in APIS if line.method == "GET" and "{" not in line.path]
    paths = [path for path in paths if not path.endswith("/events")]  # its own test: tests/provisioner/test_stream.py
    pages = [line.path for line in PAGE_LINES if line.method == "GET" and "{" not in line.path]
    assert len(paths) > 10
    for path in paths + pages:
        for asked in (path, f"{path}?limit=1", f"{path}?q={people.admin.email[:5]}"):
            answer = people.stranger.http.get(asked)
            assert not [secret for secret in secrets if secret in answer.text], asked


def test_a_change_by_cookie_needs_the_sessions_own_token(town: Town, people: People) -> None:
    """CSRF: every changing operation of the API, found from the services; the pages have theirs in tests/gateway."""
    other = people.stranger.form_token("/account")
    mine = people.admin.form_token("/account")
    changing = [line for line in APIS if line.method != "GET" and line.path.startswith("/api/")]
    assert len(changing) > 20
    cookie = "; ".join(f"{name}={value}" for name, value in people.admin.http.cookies.items())
    for line in changing:
        for told in (
            {},
            {"x-csrf-token": other},
            {"x-csrf-token": mine[:-1]},
            {"x-csrf-token": mine, "origin": "https://evil.example"},
            {"x-csrf-token": mine, "origin": "null"},
            {"x-csrf-token": mine, "origin": "http://a.workspaces.localhost:8080"},
            {"x-csrf-token": mine, "sec-fetch-site": "same-site"},
        ):
            sent = {"cookie": cookie, "host": "youarecoder.localhost:8080", **told}
            answer = town.asked(PAGES, line.method, address(line.path, people.things), sent, body_for_any(line))
            assert (answer.status, code(answer)[:7]) in ((403, "form-to"), (403, "foreign")), (line.path, told)


def body_for_any(line: Line) -> bytes:
    return b"{}" if line.room == PAGES else body_for(line) or b"{}"


def test_operations_without_a_decision_are_known() -> None:
    """What stands open by itself says why here; another one fails until somebody has thought of it."""
    found = {(line.method, line.path) for line in LINES if line.who == OPEN}
    assert found == {
        ("GET", "/documents/invoices/{invoice_id}.pdf"),  # its address is signed; the gateway does not lead there
        ("POST", "/billing/callback"),  # PayTR's hash
    }
