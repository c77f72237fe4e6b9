"""What every service's HTTP does around its routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import structlog
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from shared.http import CORRELATION, PROBLEM, Edge
from shared.service import Service
from tests.callers import a_member, calling
from tests.shared.little.routes import PROBLEMS

LIMIT = 1_000
"""The little service's bound on a body."""


@pytest.fixture
def client(doors: Service) -> Iterator[TestClient]:
    with calling(doors, a_member()) as made:
        yield made


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem of an answer, which must be a good one."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["cache-control"] == "no-store"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"/problems/{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["correlation_id"] == answer.headers[CORRELATION]
    return body


@pytest.mark.parametrize("code", PROBLEMS)
def test_every_kind_of_problem(client: TestClient, code: str) -> None:
    answer = client.get(f"/problems/{code}")
    body = problem_of(answer, PROBLEMS[code].status, code)
    assert body.get("detail", "") == PROBLEMS[code].detail
    assert answer.headers.get("retry-after") == ("7" if code == "too-many-requests" else None)
    assert answer.headers.get("www-authenticate") == ("Bearer" if code == "unauthenticated" else None)


def test_field_at_fault_is_named(client: TestClient) -> None:
    body = problem_of(client.get("/problems/invalid"), 422, "invalid")
    assert body["errors"] == [{"field": "name", "code": "short", "message": "too short"}]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "word"), ({"word": ""}, "word"), ({"word": "x" * 21}, "word"), ({"word": "x", "number": -1}, "number"),
        ({"word": "x", "number": "hidden"}, "number"), ({"word": "x", "more": 1}, "more"),
        ({"word": "x", "kind": "hidden"}, "kind"), ({"word": {"a": "hidden"}}, "word"),
    ],
)  # fmt: skip
def test_validation_names_the_field_and_repeats_no_value(client: TestClient, given: Any, field: str) -> None:
    answer = client.post("/words", json=given)
    assert [error["field"] for error in problem_of(answer, 422, "invalid")["errors"]] == [field]
    assert "hidden" not in answer.text


def test_faults_are_bounded(client: TestClient) -> None:
    answer = client.post("/words", json={f"k{number}": 1 for number in range(90)})
    assert len(problem_of(answer, 422, "invalid")["errors"]) == 20


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"word": "\\ud800"}', b'{"\\ud800": 1}', b"[" * 900,
     b'{"word": ' + b"9" * 900 + b"}", b'{"word": NaN}', b'{"word": "x", "number": 1e400}', b"\x00"],
)  # fmt: skip
def test_no_body_is_our_fault(client: TestClient, body: bytes) -> None:
    answer = client.post("/words", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == PROBLEM


def test_bad_json_is_a_bad_request(client: TestClient) -> None:
    answer = client.post("/words", content=b'{"word": "x"', headers={"Content-Type": "application/json"})
    problem_of(answer, 400, "bad-request")


def test_nothing_there(client: TestClient) -> None:
    problem_of(client.get("/no/such/door"), 404, "not-found")


def test_wrong_method_is_told_the_right_ones(client: TestClient) -> None:
    answer = client.delete("/said")
    assert answer.status_code == 405
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["allow"] == "GET"


def test_headers_of_an_http_exception_stay(client: TestClient) -> None:
    answer = client.get("/teapot")
    assert (answer.status_code, answer.headers["x-spout"]) == (418, "here")
    assert answer.json()["detail"] == "short and stout"


def test_status_of_one_answer_is_not_the_next_ones(client: TestClient) -> None:
    assert client.get("/teapot").status_code == 418
    problem_of(client.get("/problems/bad-request"), 400, "bad-request")


def test_what_nobody_expected_is_told_to_us_only(client: TestClient) -> None:
    with capture_logs() as lines:
        answer = client.post("/words", json={"word": "breaks"})
    problem_of(answer, 500, "internal")
    assert "secret" not in answer.text
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["unhandled error"]


@pytest.mark.parametrize("given", ["a1b2c3d4", "0197-abcdef", "x" * 64])
def test_good_correlation_id_is_taken_over(client: TestClient, given: str) -> None:
    assert client.get("/said", headers={CORRELATION: given}).headers[CORRELATION] == given


@pytest.mark.parametrize(
    "given", [b"short", b"x" * 65, b"with space", b"<script>", b"\xe9" * 10, b"a" * 9 + b"\n", b""]
)
def test_bad_correlation_id_is_replaced(doors: Service, given: bytes) -> None:
    scope = {"type": "http", "method": "GET", "path": "/said", "headers": [(CORRELATION.encode(), given)]}
    start = asyncio.run(ask(doors, scope))[0]
    made = dict(start["headers"])[CORRELATION.encode()].decode()
    assert made.encode() != given
    assert len(made) == 36


def test_each_request_has_its_own_and_logs_it(client: TestClient) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        ids = [client.get("/said").headers[CORRELATION] for _ in range(2)]
    assert ids[0] != ids[1]
    assert [line["correlation_id"] for line in lines if line["event"] == "something was said"] == ids


@pytest.mark.parametrize("path", ["/raw", "/words"])
@pytest.mark.parametrize("chunked", [False, True])
def test_body_has_a_bound(client: TestClient, path: str, chunked: bool) -> None:
    size = LIMIT + 1
    body: Any = iter([b" " * 600, b" " * (size - 600)]) if chunked else b" " * size
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    problem_of(answer, 413, "too-large")


@pytest.mark.parametrize("chunked", [False, True])
def test_body_at_the_bound_is_read(client: TestClient, chunked: bool) -> None:
    body: Any = iter([b"x" * 600, b"x" * 400]) if chunked else b"x" * LIMIT
    assert client.post("/raw", content=body).json() == LIMIT


@pytest.mark.parametrize("declared", [b"1001", b"9" * 5_000])
def test_declared_length_is_refused_before_a_byte_is_read(doors: Service, declared: bytes) -> None:
    headers = [(b"content-length", declared)]
    sent = asyncio.run(ask(doors, {"type": "http", "method": "POST", "path": "/raw", "headers": headers}, body=None))
    assert sent[0]["status"] == 413


def test_lying_length_does_not_help(doors: Service) -> None:
    headers = [(b"content-length", b"5")]
    scope = {"type": "http", "method": "POST", "path": "/raw", "headers": headers}
    assert asyncio.run(ask(doors, scope, body=b"x" * (LIMIT + 1)))[0]["status"] == 413


def test_labels_are_bounded(client: TestClient) -> None:
    for number in range(5):
        assert client.request(f"ODD{number}", f"/nowhere/{number}").status_code in (404, 405)
        client.get(f"/problems/code-{number}")
        client.get(f"/words/{number}")
    labels = [
        sample.labels
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "http_request_seconds_count" and sample.labels["service"] == "little"
    ]
    assert not [seen for seen in labels if seen["method"].startswith("ODD")]
    assert {seen["route"] for seen in labels} >= {"none", "/problems/{code}", "/words/{id_}"}
    assert not [seen for seen in labels if any(character.isdigit() for character in seen["route"])]


def test_what_one_request_binds_ends_with_it(doors: Service) -> None:
    async def story() -> dict[str, Any]:
        transport = httpx.ASGITransport(app=doors.app)
        with structlog.contextvars.bound_contextvars(correlation_id="the-callers-own"):
            async with httpx.AsyncClient(transport=transport, base_url="http://little") as caller:
                with calling(doors, a_member()) as signed:
                    answer = await caller.get("/for/member", headers=dict(signed.headers))
            assert answer.status_code == 200
            return structlog.contextvars.get_contextvars()

    assert asyncio.run(story()) == {"correlation_id": "the-callers-own"}


def test_failure_after_the_answer_began_is_not_answered_twice() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()

    edge = Edge(broken, "little", max_body=10)
    sent: list[Any] = []
    with pytest.raises(Exception, match="At most 10 bytes"):
        asyncio.run(ask_app(edge, {"type": "http", "method": "GET", "path": "/", "headers": []}, b"x" * 11, sent))
    assert [message["type"] for message in sent] == ["http.response.start"]


async def ask(service: Service, scope: dict[str, Any], body: bytes | None = b"") -> list[Any]:
    """What the application sends to a request as raw as no client would send it."""
    sent: list[Any] = []
    await ask_app(service.app, scope, body, sent)
    assert json.loads(sent[1]["body"]) is not None
    return sent


async def ask_app(app: Callable[..., Any], scope: dict[str, Any], body: bytes | None, sent: list[Any]) -> None:
    async def receive() -> dict[str, Any]:
        assert body is not None, "it was not to be read"
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    whole = {"query_string": b"", "raw_path": b"", "root_path": "", "scheme": "http", "http_version": "1.1", **scope}
    await app(whole, receive, send)
