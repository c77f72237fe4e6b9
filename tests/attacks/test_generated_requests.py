"""Requests nobody would think of, made from what the services say of themselves and what the pages ask for.

None may be answered with our own fault, and each answer is one that OpenAPI declares: its status, its content type and
its body. Every route is asked as who may use it most: a company's admin who is staff, too; `/internal` as the gateway.

A few cases a route by default. `make attack` asks 100,000, with another seed each time; the seed repeats them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from deploy import access_table, openapi
from shared.ids import new_id
from shared.service import HttpServer
from tests.attacks.town import Town, Visitor, service_of
from tests.callers import an_admin, headers, the_gateway
from tests.gateway.conftest import PLATFORM
from tests.infrastructure import Databases

UNASKED = {
    # A stream goes on for minutes; tests/provisioner/test_stream.py asks it.
    "/api/v1/workspaces/events",
}
UNREACHED = (502, 503)
"""Honest answers here: PayTR and the mail server are not there in this test."""
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
FEW = {"services": 6, "gateway": 2, "pages": 3}
"""Requests a route, and for the API in each of two modes: what fits the schema, and what does not."""
SEED = int(os.environ.get("ATTACK_SEED") or 0)
CASES = int(os.environ.get("ATTACK_CASES") or 0)
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
PAGES = [
    line
    for line in access_table.lines()
    if line.room == access_table.PAGES
    and not line.path.startswith("/api/")
    and line.path != "/log-out"  # the rest would be asked by nobody
]


def cases(kind: str) -> int:
    """How often each route of this kind is asked (an operation of the API in each mode)."""
    if not CASES:
        return FEW[kind]
    return max(FEW[kind], CASES // (_operations() * len(MODES) * 2 + len(PAGES)))


@cache
def _operations() -> int:
    documents = [openapi.application(name).openapi() for name in openapi.SERVICES]
    return sum(len(item) for document in documents for item in document["paths"].values())


def asked(count: int, strategy: st.SearchStrategy[Any], ask: Callable[[Any], None]) -> None:
    """Asks `count` generated cases: the same ones in each run, or the seed's."""
    bounded = settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=not CASES,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    test = bounded(given(case=strategy)(lambda case: ask(case)))
    try:
        (seed(SEED)(test) if CASES else test)()
    except Exception as error:
        if "Unsatisfiable" not in type(error).__name__ and "Skip" not in type(error).__name__:
            raise


def everything(document: dict[str, Any], count: int, ask: Callable[[Any], None]) -> None:
    """Cases of every operation of an OpenAPI document."""
    document["paths"] = {path: said for path, said in document["paths"].items() if path not in UNASKED}
    schema: OpenApiSchema = schemathesis.openapi.from_dict(document)
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        for mode in MODES:
            asked(count, result.ok().as_strategy(generation_mode=mode), ask)


def fault_of(case: Any, answer: Any) -> str | None:
    """What is wrong with an answer, if anything."""
    if answer.status_code >= 500 and answer.status_code not in UNREACHED:
        return f"{answer.status_code} {case.as_curl_command()[:600]}"
    try:
        case.validate_response(answer, checks=CHECKS)
    except FailureGroup as failures:
        return str(failures)[:2000]
    return None


@pytest.mark.parametrize("name", openapi.SERVICES)
def test_every_answer_of_a_service_is_one_it_declares(name: str, databases: Databases) -> None:
    faults: list[str] = []
    seen: list[int] = []
    made = databases.new()
    service = service_of(name, made)
    people, platform = an_admin(new_id(), staff=True, verified=True), the_gateway()
    with asgi.get_client(service.app) as client:

        def ask(case: Any) -> None:
            caller = platform if case.operation.path.startswith("/internal") else people
            sent = headers(caller, service.settings.clock.now())
            answer = case.call(session=client, app=service.app, headers=sent)
            seen.append(answer.status_code)
            if fault := fault_of(case, answer):
                faults.append(fault)

        everything(service.app.openapi(), cases("services"), ask)
    service.database.close()
    databases.drop(made)
    assert not faults, f"{len(faults)} of {len(seen)}, for example:\n" + "\n".join(faults[:10])
    assert len(seen) > 50, "hardly anything was asked"


@contextmanager
def served(town: Town) -> Iterator[str]:
    """The town's front door on a port."""
    server = HttpServer(town.services["gateway"].app, "127.0.0.1", 0)
    port = town.call(server.begin)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        town.call(server.end)


@pytest.fixture(scope="module")
def root(town: Town) -> Visitor:
    """An admin who is staff, in a company of their own."""
    visitor = town.founder("Hepsi AŞ")
    town.sql("update identity.users set staff = true where id = :id", id=visitor.session.user_id)
    town.services["gateway"].app.state.sessions.forget_all()
    return visitor


@pytest.mark.xdist_group("town")
@pytest.mark.parametrize("name", openapi.SERVICES)
def test_every_answer_through_the_gateway_is_declared_too(town: Town, root: Visitor, name: str) -> None:
    faults: list[str] = []
    seen: list[int] = []
    document = town.services[name].app.openapi()
    document["paths"] = {path: said for path, said in document["paths"].items() if path.startswith("/api/v1/")}
    sent = {
        "Host": urlsplit(PLATFORM).netloc,
        "Cookie": f"session={root.secret}",
        "X-CSRF-Token": root.form_token("/account"),
    }
    with served(town) as url, requests.Session() as client:

        def ask(case: Any) -> None:
            answer = case.call(session=client, base_url=url, headers=sent, allow_redirects=False)
            seen.append(answer.status_code)
            if fault := fault_of(case, answer):
                faults.append(fault)

        everything(document, cases("gateway"), ask)
    assert not faults, f"{len(faults)} of {len(seen)}, for example:\n" + "\n".join(faults[:10])
    assert any(status < 300 for status in seen), "nothing was let in"


SCRIPT = "\"'><script>alert(1)</script>"
ODD = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=40),
    st.sampled_from(
        [SCRIPT, "a\r\nSet-Cookie: session=x", "//evil.example", "/\\evil.example", "javascript:alert(1)", "\0"]
    ),
    st.sampled_from(["x" * 9_999, "-1", "1e309", "team", "TRY", "🙂" * 99, "{{7*7}}", "%00%ff", "../../etc/passwd"]),
    st.uuids().map(str),
)


@cache
def _fields() -> list[str]:
    """The names of everything that a form of ours sends or an address of ours asks with."""
    templates = Path(access_table.ROOT, "gateway", "templates").rglob("*.html")
    found = {name for file in templates for name in re.findall(r'name="(\w+)"', file.read_text(encoding="utf-8"))}
    return sorted((found | {"next", "done", "cursor", "q", "payment", "token", "plan", "host", "to"}) - {"csrf_token"})


@st.composite
def visits(draw: st.DrawFn, line: access_table.Line) -> tuple[str, str, dict[str, str]]:
    """A method, an address and a form's fields."""
    named = st.one_of(st.uuids().map(str), st.from_regex(r"\A[\w.~-]{1,20}\Z"))
    path = re.sub(r"\{\w+\}", lambda _: quote(draw(named)), line.path)
    asked = draw(st.dictionaries(st.sampled_from(_fields()), ODD, max_size=3))
    form = draw(st.dictionaries(st.sampled_from(_fields()), ODD, max_size=8)) if line.method != "GET" else {}
    return line.method, f"{path}?{urlencode(asked)}" if asked else path, form


@pytest.mark.xdist_group("town")
def test_every_page_takes_whatever_is_sent(town: Town, root: Visitor) -> None:
    """Pages and forms, in a browser that is logged in: never our fault, never another's script, never elsewhere."""
    faults: list[str] = []
    seen: list[int] = []
    token = root.form_token("/account")

    def ask(case: tuple[str, str, dict[str, str]]) -> None:
        method, path, form = case
        answer = root.http.request(method, path, data={**form, "csrf_token": token} if method != "GET" else None)
        seen.append(answer.status_code)
        told = f"{answer.status_code} {method} {path[:300]} {form!r:.500}"
        where = urlsplit(answer.headers.get("location", ""))
        if answer.status_code >= 500 and answer.status_code not in UNREACHED:
            faults.append(told)
        if where.scheme or where.netloc:
            faults.append(f"leads to {where.netloc}: {told}")
        if "<script>alert(1)" in answer.text:
            faults.append(f"another's script: {told}")
        policy = answer.headers.get("content-security-policy", "")
        if "frame-ancestors 'none'" not in policy and not path.startswith("/billing/payment/"):
            faults.append(f"can be framed: {told}")
        if "session" in answer.headers.get("set-cookie", ""):
            faults.append(f"another session: {told}")

    for line in PAGES:
        asked(cases("pages"), visits(line), ask)
    assert root.http.get("/account").status_code == 200, "it is still logged in"
    assert not faults, f"{len(faults)} of {len(seen)}, for example:\n" + "\n".join(faults[:10])
