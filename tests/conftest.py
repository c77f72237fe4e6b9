"""Fixtures every test may ask for. What they start is in tests/infrastructure.py."""

import os
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from deploy.local import postgres, rabbitmq
from tests import infrastructure
from tests.infrastructure import Databases, TestDatabase
from tests.journeys.compose import ComposedPlatform
from tests.journeys.platform import RunningPlatform, remove_containers


def pytest_configure(config: pytest.Config) -> None:
    """Once a run, in its first process: end what killed runs left."""
    if not hasattr(config, "workerinput"):
        os.environ["YOUARECODER_TEST_RUN"] = str(os.getpid())  # xdist's workers inherit it
        infrastructure.sweep()


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With pytest-xdist, what shares one thing of the machine stays on one worker.

    The stories of one platform, which is started once; and a file's tests of the engine, which share networks.
    """
    for item in items:
        shape = getattr(item, "callspec", None) and item.callspec.params.get("platform")
        if shape:
            item.add_marker(pytest.mark.xdist_group(f"platform-{shape}"))
        elif item.get_closest_marker("e2e"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the run's folder: every server in it has been stopped by its last user."""
    if not hasattr(config, "workerinput"):
        infrastructure.remove_run_folder(str(os.getpid()))


@pytest.fixture(scope="session")
def run_folder() -> Path:
    """A folder all processes of this run share, which other accounts may enter."""
    return infrastructure.run_folder(os.environ["YOUARECODER_TEST_RUN"])


@pytest.fixture(scope="session")
def postgres_server(run_folder: Path) -> Iterator[postgres.PostgresServer]:
    """The run's real PostgreSQL server."""
    with infrastructure.shared_postgres(run_folder).use() as told:
        server = postgres.attach(Path(told["data_dir"]))
        assert server is not None
        yield server


@pytest.fixture(scope="session")
def databases(postgres_server: postgres.PostgresServer) -> Iterator[Databases]:
    """Makes databases: `databases.new()`, or `databases.new("billing", prepare)` to copy a migrated one."""
    made = Databases(postgres_server, os.environ.get("PYTEST_XDIST_WORKER", "main"))
    yield made
    made.drop_all()


@pytest.fixture
def database(databases: Databases) -> Iterator[TestDatabase]:
    """A database for this test alone; `database("billing")` is the billing role's URL."""
    made = databases.new()
    yield made
    databases.drop(made)


@pytest.fixture(scope="module")
def module_database(databases: Databases) -> Iterator[TestDatabase]:
    """The same, for all tests of one file."""
    made = databases.new()
    yield made
    databases.drop(made)


@pytest.fixture(scope="session")
def rabbitmq_server(run_folder: Path) -> Iterator[str]:
    """The AMQP URL of the run's real RabbitMQ. A test that breaks brokers starts one of its own."""
    with infrastructure.shared_rabbitmq(run_folder).use() as told:
        yield told["url"]


@pytest.fixture(scope="session")
def docker_engine(run_folder: Path) -> Iterator[docker.DockerClient]:
    """A client of the real Docker engine with our images; installed, started and built where they are missing.

    On a new machine that takes minutes, once.
    """
    from deploy.local import engine, images

    try:
        client = engine.ensure(run_folder, lambda line: None)
        for name in ("firewall", "workspace"):
            images.ensure(client, name, lambda line: None)
    except (engine.EngineUnavailable, images.ImageUnavailable) as failure:
        infrastructure.missing(str(failure))
    yield client
    client.close()


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The program of a real browser, for Playwright's `executable_path`."""
    path = infrastructure.program("chromium", "chromium-browser", "google-chrome")
    infrastructure.need(path, "no Chromium on this machine (apt-get install chromium)")
    assert path is not None
    return path


@pytest.fixture(
    scope="session", params=["embedded", "separate", pytest.param("compose", marks=pytest.mark.compose)]
)
def platform(
    request: pytest.FixtureRequest, run_folder: Path, docker_engine: docker.DockerClient
) -> Iterator[RunningPlatform]:
    """The same stories run against every shape: all in one process, a process a service on RabbitMQ, and (`make
    test-compose`) containers.

    What the platform made in the engine is removed at the end.
    """
    if request.param == "separate":
        infrastructure.need(rabbitmq.available(), "no RabbitMQ on this machine (apt-get install rabbitmq-server)")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    shape = ComposedPlatform if request.param == "compose" else RunningPlatform
    running = shape(run_folder / f"platform-{request.param}-{worker}", request.param)
    running.start()
    yield running
    running.stop()
    remove_containers(docker_engine, running)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what the chaos tests killed and checked, and how to do the same again."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, lines in report.user_properties if report.when == "call" else ():
                if name == "chaos":
                    terminalreporter.section(f"chaos: {report.nodeid} {outcome}", sep="-")
                    terminalreporter.write("\n".join(lines) + "\n")
