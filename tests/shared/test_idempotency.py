"""A creating POST that is sent twice with one key creates once, whoever is first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from shared.service import Service
from shared.tokens import Principal
from tests.callers import a_member, calling, the_gateway
from tests.infrastructure import TestDatabase
from tests.shared.little.app import look
from tests.shared.little.routes import Halt

KEY = "key-of-a-client"


def add(service: Service, caller: Principal, word: str, key: str | None = KEY) -> httpx.Response:
    with calling(service, caller) as client:
        return client.post("/words", json={"word": word}, headers={"Idempotency-Key": key} if key else {})


def words(made: TestDatabase) -> list[str]:
    return look(made, "select word from billing.words order by word")


def test_repeat_gets_the_first_answer(little: Service, little_database: TestDatabase) -> None:
    me = a_member()
    first, second = add(little, me, "once"), add(little, me, "once")
    assert (first.status_code, first.content) == (second.status_code, second.content) == (201, first.content)
    assert words(little_database) == ["once"]


def test_key_for_another_request_is_refused(little: Service, little_database: TestDatabase) -> None:
    me = a_member()
    add(little, me, "once")
    answer = add(little, me, "twice")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert words(little_database) == ["once"]


def test_key_belongs_to_its_caller_and_company(little: Service, little_database: TestDatabase) -> None:
    me = a_member()
    same_person_elsewhere = a_member(user_id=me.user_id)
    answers = [add(little, caller, f"w{n}") for n, caller in enumerate((me, a_member(), same_person_elsewhere))]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert words(little_database) == ["w0", "w1", "w2"]


def test_who_is_nobody_owns_no_key(little: Service, little_database: TestDatabase) -> None:
    assert add(little, the_gateway(), "one").status_code == 403
    assert add(little, the_gateway(), "two", key=None).status_code == 201
    assert words(little_database) == ["two"]


@pytest.mark.parametrize(("word", "status"), [("fails", 409), ("breaks", 500)])
def test_failure_leaves_no_key(little: Service, little_database: TestDatabase, word: str, status: int) -> None:
    me = a_member()
    assert add(little, me, word).status_code == status
    assert look(little_database, "select key from billing.idempotency_keys") == []
    assert add(little, me, "another").status_code == 201


@pytest.mark.parametrize("key", ["short", "x" * 101, "with space", "tab\tkey-key"])
def test_odd_key_is_refused(little: Service, key: str) -> None:
    assert add(little, a_member(), "word", key).status_code == 422


@pytest.mark.parametrize(("word", "outcome"), [("once", [201, 201]), ("fails", [409, 409])])
def test_two_at_once(little: Service, little_database: TestDatabase, word: str, outcome: list[int]) -> None:
    """The second waits at the unique index until the first has committed or failed."""
    me, halt = a_member(), Halt()
    little.app.state.halt = halt
    waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(add, little, me, word)
        assert halt.reached.wait(60)
        second = threads.submit(add, little, me, word)
        patience = threading.Event()
        for _ in range(6_000):
            if look(little_database, waits) == [1]:
                break
            assert not second.done(), "it did not wait"
            patience.wait(0.005)
        halt.go_on.set()
        answers = [first.result(), second.result()]
    assert [answer.status_code for answer in answers] == outcome
    if word == "once":
        assert answers[0].content == answers[1].content
    assert words(little_database) == ["once"] * (word == "once")
