"""A service is replaced while people use the platform: nobody gets an error."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import docker
import httpx
import pytest

from deploy.compose.replace import NotReady, replace
from tests.journeys.compose import ComposedPlatform
from tests.journeys.person import Person
from tests.journeys.platform import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.compose]


@pytest.fixture
def person(platform: ComposedPlatform) -> Iterator[Person]:
    with Person(platform, "en") as somebody:
        somebody.sign_up("Never Waiting Ltd")
        somebody.wait_for_subscription("trialing")
        yield somebody


@contextmanager
def load(person: Person, inside: httpx.Client) -> Iterator[Counter[str]]:
    """People who do not stop: pages, reads and changes through every service, and an editor. Counts the answers."""
    answers: Counter[str] = Counter()
    stop = threading.Event()
    token = person.token()
    cookies = dict(person.http.cookies)

    def count(what: str, client: httpx.Client, ask: Callable[[httpx.Client], httpx.Response], good: int) -> None:
        try:
            answer = ask(client)
            answers[what if answer.status_code == good else f"failed: {what} {answer.status_code}"] += 1
        except httpx.HTTPError as error:
            answers[f"failed: {what} {error!r}"] += 1

    def visit() -> None:
        with person.platform.client() as client:
            client.cookies.update(cookies)
            client.headers["X-CSRF-Token"] = token
            while not stop.is_set():
                count("landing page", client, lambda c: c.get("/"), 200)
                count("dashboard", client, lambda c: c.get("/dashboard"), 200)
                count("identity read", client, lambda c: c.get("/api/v1/me"), 200)
                count("identity change", client, lambda c: c.patch("/api/v1/me", json={"name": "Ayse"}), 200)
                count("billing read", client, lambda c: c.get("/api/v1/subscription"), 200)
                count("provisioner read", client, lambda c: c.get("/api/v1/workspaces"), 200)
                stop.wait(0.02)

    def work() -> None:
        while not stop.is_set():
            count("editor", inside, lambda c: c.get("/healthz"), 200)
            stop.wait(0.02)

    threads = [threading.Thread(target=visit) for _ in range(2)] + [threading.Thread(target=work)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("platform", ["compose"], indirect=True)
def test_no_request_fails_while_services_are_replaced(
    platform: ComposedPlatform, person: Person, docker_engine: docker.DockerClient
) -> None:
    workspace = person.new_workspace("open all the time")
    workspace = person.wait_for_workspace(workspace["id"], "running")
    with closing(person.enter(workspace)) as inside, load(person, inside) as answers:
        for service in ("identity", "billing", "provisioner", "gateway"):
            before = running(docker_engine, platform, service)
            replace(docker_engine, platform.data, service)
            after = running(docker_engine, platform, service)
            assert len(after) == len(before) == 1
            assert after != before
            seen = answers.total()
            eventually(lambda seen=seen: answers.total() > seen + 20, f"people go on after {service} was replaced")
    assert not [what for what in answers if what.startswith("failed")], dict(answers)
    assert all(answers[what] > 20 for what in ("landing page", "dashboard", "identity change", "editor")), answers


@pytest.mark.parametrize("platform", ["compose"], indirect=True)
def test_what_does_not_become_ready_replaces_nobody(
    platform: ComposedPlatform, docker_engine: docker.DockerClient
) -> None:
    before = running(docker_engine, platform, "scheduler")
    secret = platform.data / "secrets" / "scheduler" / "SCHEDULER_DATABASE_URL"
    right = secret.read_text()
    secret.write_text("postgresql://scheduler:wrong@postgres:5432/youarecoder")
    try:
        with pytest.raises(NotReady, match="the old one stays"):
            replace(docker_engine, platform.data, "scheduler")
    finally:
        secret.write_text(right)
    assert running(docker_engine, platform, "scheduler") == before


def running(engine: docker.DockerClient, platform: ComposedPlatform, service: str) -> list[str]:
    """The ids of a service's containers."""
    return [container.id for container in platform.containers(engine, service)]
