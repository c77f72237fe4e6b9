"""`make up` as a person uses it: started, stopped in every way, started again, and told what is missing."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import httpx
import psutil
import pytest
from aiosmtpd.controller import Controller

from deploy.local import postgres, processes, rabbitmq
from deploy.local.configuration import Sites
from deploy.local.processes import free_port, left_behind, log_tail
from deploy.local.terminal import Terminal
from tests import infrastructure
from tests.infrastructure import TestDatabase
from tests.journeys.person import PASSWORD, Person
from tests.journeys.platform import CHECKOUT, RunningPlatform, eventually, remove_containers

NO_ENGINE = "unix:///nonexistent"
"""For stories that need no workspace: nothing is built beside them."""
PARTS = ("postgres", "traefik", "logs", "rabbitmq")
QUICK = 12
"""Seconds a stop may take on a busy machine; it is one or two."""

Make = Callable[..., RunningPlatform]


@pytest.fixture
def make(run_folder: Path) -> Iterator[Make]:
    """Makes platforms in folders of their own; whatever a failed test leaves of them is ended."""
    made: list[RunningPlatform] = []

    def new(shape: str = "embedded", **extra: str) -> RunningPlatform:
        folder = run_folder / f"up-{secrets.token_hex(4)}"
        made.append(RunningPlatform(folder, shape, extra=extra))
        return made[-1]

    yield new
    for platform in made:
        if platform.process is not None:
            platform.stop(patience=60)
        engine = _engine()
        if engine and (platform.data / "keys.json").exists():
            remove_containers(engine, platform)
            engine.close()
        shutil.rmtree(platform.data, ignore_errors=True)


def _engine() -> docker.DockerClient | None:
    from deploy.local import engine

    return engine.connect()


def running(platform: RunningPlatform) -> list[psutil.Process]:
    """Every process that works for the platform, itself not counted."""
    return [process for part in PARTS for process in left_behind(platform.data / part)]


def text(platform: RunningPlatform) -> str:
    """What the person has read so far."""
    return platform.log.read_text()


def up(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """The command where it is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.local", "up", *arguments],
        cwd=CHECKOUT,
        env={**os.environ, **extra},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class OpenStream:
    """A page's event stream, held open in a thread as a browser's tab does."""

    def __init__(self, person: Person) -> None:
        self.began, self.ended = threading.Event(), threading.Event()
        self._person = person
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        assert self.began.wait(10), "the stream has begun"

    def _listen(self) -> None:
        with (
            contextlib.suppress(httpx.HTTPError),
            self._person.http.stream("GET", "/api/v1/workspaces/events", timeout=None) as answer,
        ):
            assert answer.status_code == 200
            for _ in answer.iter_raw():
                self.began.set()
        self.ended.set()


@pytest.mark.e2e
def test_stops_in_every_way_and_goes_on_with_all_that_was_kept(make: Make, docker_engine: docker.DockerClient) -> None:
    from tests.journeys.test_first_workspace import run_inside, write_file

    platform = make()
    platform.start()
    assert f"YouAreCoder is running:  {platform.url}\n" in text(platform)
    assert re.search(rf"demo@youarecoder\.test  {platform.keys['demo_password']}\n", text(platform))

    with Person(platform, "en") as person:
        person.sign_up("Kept Ltd")
        workspace = person.new_workspace("kept")
        person.wait_for_workspace(workspace["id"], "running")
        write_file(docker_engine, workspace["id"], "/home/coder/note.txt", "kept")

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            stream = OpenStream(person)
            with person.platform.client() as kept_alive:
                assert kept_alive.get("/").status_code == 200
                began = time.monotonic()
                assert platform.stop(number) == 0
                assert time.monotonic() - began < QUICK
                assert stream.ended.wait(5)
            assert running(platform) == []
            assert text(platform).rstrip().endswith("Open workspaces keep running in Docker.")
            platform.start()

        assert person.log_in(person.email, PASSWORD).status_code == 303
        # It ran on all the while: no stop, no start.
        assert run_inside(docker_engine, workspace["id"], ["cat", "/home/coder/note.txt"]) == "kept"
        assert person.get(f"/workspaces/{workspace['id']}")["state"] == "running"
        workspace = person.get(f"/workspaces/{workspace['id']}")
        with contextlib.closing(person.enter(workspace)) as editor:
            assert "workbench" in editor.get("/", follow_redirects=True).text
    with Person(platform) as demo:
        assert demo.log_in("demo@youarecoder.test", platform.keys["demo_password"]).status_code == 303

    for page in ("/", "/log-in", "/sign-up", "/pricing"):
        with platform.client() as visitor:
            visitor.get(page)
    assert platform.process is not None
    resident = psutil.Process(platform.process.pid).memory_info().rss
    assert resident < 250e6, f"{resident / 1e6:.0f} MB"

    assert "\x1b" not in text(platform), "no colours where there is no terminal"
    assert '"event"' not in text(platform), "no logs between the lines for a person"
    assert "Traceback" not in text(platform)


@pytest.mark.parametrize("shape", ["embedded", pytest.param("separate", marks=pytest.mark.rabbitmq)])
def test_after_sigkill_the_next_start_ends_what_was_left_and_nothing_else(make: Make, shape: str) -> None:
    if shape == "separate":
        infrastructure.need(rabbitmq.available(), "no RabbitMQ on this machine (apt-get install rabbitmq-server)")
    platform = make(shape, DOCKER_HOST=NO_ENGINE)
    platform.start()
    with Person(platform) as before:
        before.sign_up("Survivors")
    assert platform.process is not None
    platform.process.kill()
    platform.process.wait()
    left = running(platform)
    names = {process.name() for process in left}
    assert {"postgres", "traefik"} <= names
    if shape == "separate":
        assert {"beam.smp", "epmd"} <= names
        assert sum("serve" in process.cmdline() for process in left) == 6
    with socket.create_connection(("127.0.0.1", platform.port), timeout=5):
        pass  # its Traefik holds the port

    other = platform.data / "traefik" / "of-another-platform"
    other.mkdir()
    bystander = processes.spawn(["sleep", "600"], other / "bystander.log")
    try:
        platform.start()
        assert bystander.poll() is None
    finally:
        processes.kill(bystander)
    assert not any(process.is_running() for process in left)
    assert "that a killed platform left behind" in text(platform)
    with Person(platform) as after:
        assert after.log_in(before.email, PASSWORD).status_code == 303
    assert platform.stop() == 0
    assert running(platform) == []


@pytest.mark.parametrize("after", [0.3, 1.0, 2.2])
def test_stopped_while_it_starts_it_leaves_nothing_running(make: Make, after: float) -> None:
    platform = make()
    platform.data.mkdir()
    with platform.log.open("wb") as output:
        platform.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "up", "--port", str(platform.port), "--data", str(platform.data)],
            cwd=CHECKOUT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    eventually(lambda: "Starting PostgreSQL" in text(platform), "it begins")
    time.sleep(after)
    assert platform.stop(patience=QUICK) == 0
    assert "Stopped." in text(platform)
    assert running(platform) == []


def test_ctrl_c_at_a_terminal_through_make(make: Make) -> None:
    platform = make()
    platform.data.mkdir()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(CHECKOUT)
        os.execvp("make", ["make", "up", f"PORT={platform.port}", f"ARGS=--data {platform.data}"])  # noqa: S606
    shown = b""

    def read_until(words: bytes) -> None:
        nonlocal shown
        while words not in shown:
            try:
                shown += os.read(terminal, 4096)
            except OSError:  # the other end is closed
                raise AssertionError(f"it ended before it said {words!r}:\n{shown.decode()}") from None

    read_until(b"Ctrl-C stops it")
    os.write(terminal, b"\x03")
    read_until(b"Stopped. Everything is kept")
    with contextlib.suppress(OSError):
        while os.read(terminal, 4096):
            pass
    os.waitpid(pid, 0)
    os.close(terminal)
    assert running(platform) == []
    assert b"Traceback" not in shown


def test_twice_is_told_and_changes_nothing(make: Make) -> None:
    platform = make(DOCKER_HOST=NO_ENGINE)
    platform.start()
    again = up("--port", str(free_port()), "--data", str(platform.data))
    assert again.returncode == 1
    assert f"It is running already: {platform.url} (process {platform.process.pid})" in again.stdout
    assert len(again.stdout.splitlines()) == 1
    with platform.client() as visitor:
        assert visitor.get("/").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--port", "{taken}"], 1, "Port {taken} is taken by another program. Choose another: make up PORT={next}"),
        (["--port", "0"], 2, "a port is a number from 1 to 65535"),
        (["--port", "http"], 2, "a port is a number from 1 to 65535"),
        (["--bind", "everything"], 2, "an IPv4 address of this machine"),
        (["--bind", "192.0.2.1"], 1, "This machine has no address 192.0.2.1"),
        (["--data", "/etc/passwd"], 1, "The data folder cannot be used: /etc/passwd: File exists"),
        (["--data", "/proc/nowhere"], 1, "The data folder cannot be used: /proc/nowhere"),
    ],
)
def test_what_is_in_the_way_is_said_in_words(run_folder: Path, arguments: list[str], code: int, words: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        facts = {"taken": port, "next": port + 1}
        data = run_folder / "in-the-way"
        ended = up("--data", str(data), "--port", str(free_port()), *(word.format(**facts) for word in arguments))
    assert ended.returncode == code, ended
    assert words.format(**facts) in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"SMTP_URL": "nonsense", "MAIL_FROM": "a@example.com"}, "SMTP_URL: must be smtp://host:port"),
        ({"SMTP_URL": "smtp://127.0.0.1:25"}, "MAIL_FROM: Field required"),
        ({"PUBLIC_URL": "http://example.com/path"}, "PUBLIC_URL: "),
        ({"PUBLIC_URL": "http://[::1"}, "PUBLIC_URL: "),
        ({"WORKSPACES_DOMAIN": "w.youarecoder.localhost"}, "WORKSPACES_DOMAIN must not be the platform's host"),
        ({"PAYTR_MERCHANT_KEY": "long-enough-key"}, "PAYTR_MERCHANT_SALT: Field required"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL: "),
        ({"BILLING_DATABASE_URL": "nonsense"}, "BILLING_DATABASE_URL is no postgresql://"),
        ({"BILLING_DATABASE_URL": "postgresql://b:secret@127.0.0.1:1/x"}, "BILLING_DATABASE_URL cannot be used"),
        ({"AMQP_URL": "amqp://b:secret@127.0.0.1:1/"}, "RabbitMQ at 127.0.0.1:1 cannot be used"),
        ({"AMQP_URL": "nonsense"}, "AMQP_URL: "),
    ],
)
def test_a_wrong_setting_is_one_answer_and_nothing_is_left_running(
    make: Make, setting: dict[str, str], words: str
) -> None:
    platform = make()
    ended = up("--data", str(platform.data), "--port", str(platform.port), **setting)
    assert ended.returncode == 1
    assert ended.stdout.count("It could not start.") == 1
    assert words in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "secret" not in ended.stdout + ended.stderr
    assert running(platform) == []
    assert postgres.attach(platform.data / "postgres") is None


@pytest.mark.e2e
def test_without_docker_the_site_works_and_workspaces_come_with_the_engine(
    make: Make, docker_engine: docker.DockerClient, run_folder: Path
) -> None:
    infrastructure.need(Path("/var/run/docker.sock").exists(), "the engine's socket is elsewhere")
    address = run_folder / f"engine-{secrets.token_hex(4)}.sock"
    platform = make(DOCKER_HOST=f"unix://{address}")
    platform.start()
    eventually(lambda: "Workspaces cannot be started yet" in text(platform), "it says so")
    assert f"DOCKER_HOST says the Docker engine is at unix://{address}" in text(platform)
    with Person(platform, "en") as person:
        person.sign_up("Patient Ltd")
        workspace = person.new_workspace("waits")

        def why() -> bool:
            return "container engine does not answer" in str(person.get(f"/workspaces/{workspace['id']}"))

        eventually(why, "the workspace says what it waits for")
        assert "container engine does not answer" in person.see(f"/workspaces/{workspace['id']}").replace("&#39;", "'")

        address.symlink_to("/var/run/docker.sock")
        person.wait_for_workspace(workspace["id"], "running")
    eventually(lambda: "Workspaces can be started." in text(platform), "it says so")


def test_without_root_everything_but_the_engine_works(make: Make) -> None:
    infrastructure.need(os.geteuid() == 0, "only root can become somebody else")
    infrastructure.need(shutil.which("setpriv"), "no setpriv on this machine")
    platform = make()
    platform.data.mkdir()
    os.chown(platform.data, 65534, 65534)
    checkout = readable_checkout(platform.data)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"{checkout}/.venv/bin/python", "-m"]
    command += ["deploy.local", "up", "--port", str(platform.port), "--data", str(platform.data / "own")]
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
    with platform.log.open("wb") as output:
        platform.process = subprocess.Popen(
            command, cwd=checkout, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    eventually(
        lambda: "Workspaces cannot be started yet" in text(platform) or platform.process.poll() is not None,
        f"it says what it may not\n{log_tail(platform.log)}",
    )
    assert "only root may change that" in text(platform)
    assert "Everything else works." in text(platform)
    with Person(platform, "en") as person:
        person.sign_up("Nobody's")
        assert person.wait_for_subscription("trialing")["plan"] == "starter"
    assert platform.stop() == 0


def readable_checkout(folder: Path) -> Path:
    """The checkout where an account without rights may read it, else a copy in `folder`."""
    asked = subprocess.run(
        [
            *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
            *(str(CHECKOUT / ".venv/bin/python"), "-B", "-m", "deploy.local", "--help"),
        ],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
    )
    if asked.returncode == 0:
        return CHECKOUT
    copy = folder / "checkout"
    copy.mkdir()
    for name in ("deploy", "gateway", "sandbox", "services", "shared", ".venv"):
        shutil.copytree(CHECKOUT / name, copy / name, symlinks=True)
    return copy


class Caught:
    """An SMTP server's handler that keeps what it is given."""

    def __init__(self) -> None:
        self.mails: list[str] = []

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        self.mails.append(envelope.content.decode())  # type: ignore[attr-defined]
        return "250 OK"


@pytest.mark.rabbitmq
def test_what_is_given_is_used_instead_of_what_is_embedded(
    make: Make, run_folder: Path, database: TestDatabase
) -> None:
    infrastructure.need(rabbitmq.available(), "no RabbitMQ on this machine (apt-get install rabbitmq-server)")
    caught = Caught()
    smtp = Controller(caught, hostname="127.0.0.1", port=free_port())
    smtp.start()
    broker = rabbitmq.start(run_folder / f"given-{secrets.token_hex(4)}")
    try:
        platform = make(
            AMQP_URL=broker.url,
            SMTP_URL=f"smtp://127.0.0.1:{smtp.port}",
            MAIL_FROM="YouAreCoder <no-reply@example.com>",
            PAYTR_MERCHANT_ID="123456",
            PAYTR_MERCHANT_KEY="merchant-key",
            PAYTR_MERCHANT_SALT="merchant-salt",
            PAYTR_URL=f"http://127.0.0.1:{free_port()}",
            DOCKER_HOST=NO_ENGINE,
            **{f"{service.upper()}_DATABASE_URL": url for service, url in database.urls.items()},
        )
        platform.start()
        told = text(platform)
        assert re.search(r"Mail +your SMTP server\n", told)
        assert re.search(r"Payments +PayTR\n", told)
        assert re.search(r"Database +yours\n", told)
        assert re.search(r"Events +your RabbitMQ\n", told)
        assert not (platform.data / "postgres").exists()
        assert not (platform.data / "mailbox").exists()
        assert not (platform.data / "paytr").exists()
        with platform.client("mailbox") as mailbox:
            assert mailbox.get("/api/mails").headers["location"].startswith(platform.url), "no site of its own"
        with Person(platform, "en") as person:
            answer = person.submit(
                "/sign-up",
                "/sign-up",
                company_name="Real",
                name="R",
                email=person.email,
                password=PASSWORD,
                country="TR",
                wanted_plan="",
            )
            assert answer.status_code == 303
            # identity's fact went over RabbitMQ to the notifier, and from there by SMTP
            eventually(lambda: [mail for mail in caught.mails if person.email in mail], "the mail comes")
        assert platform.stop() == 0
    finally:
        broker.stop()
        smtp.stop()


def test_a_public_address_is_the_same_everywhere(make: Make) -> None:
    port = free_port()
    platform = make(
        PUBLIC_URL=f"http://code.example.test:{port}", WORKSPACES_DOMAIN="work.example.test", DOCKER_HOST=NO_ENGINE
    )
    platform.port = port
    platform.start()
    assert f"running:  http://code.example.test:{port}\n" in text(platform)
    assert f"http://mailbox.code.example.test:{port}  sandbox" in text(platform)
    assert "*.work.example.test" in text(platform)
    with platform.client() as visitor:

        def ask(host: str, path: str) -> httpx.Response:
            return visitor.get(path, headers={"Host": f"{host}:{port}"})

        assert "YouAreCoder" in ask("code.example.test", "/").text
        assert ask("mailbox.code.example.test", "/api/mails").json() == []
        assert ask("paytr.code.example.test", "/").status_code < 500
        assert ask("mailbox.localhost", "/api/mails").headers["location"].startswith("http://code.example.test")
        page = ask("code.example.test", "/sign-up")
        assert "youarecoder.localhost" not in page.text + str(page.headers)


@pytest.mark.parametrize(
    ("public", "port", "mailbox"),
    [
        (None, 8080, "http://mailbox.localhost:8080"),
        (None, 80, "http://mailbox.localhost"),
        ("http://localhost:9000", 8080, "http://mailbox.localhost:9000"),
        ("https://code.example.com", 8080, "https://mailbox.code.example.com"),
        ("http://code.example.com:81", 8080, "http://mailbox.code.example.com:81"),
        ("http://192.168.1.5:8080", 8080, "http://mailbox.localhost:8080"),
    ],
)
def test_sandboxes_are_found_beside_the_platform(public: str | None, port: int, mailbox: str) -> None:
    sites = Sites.choose(port, {"PUBLIC_URL": public} if public else {})
    assert sites.mailbox == mailbox
    assert sites.paytr == mailbox.replace("mailbox", "paytr")


def test_a_long_step_is_seen_to_go_on_and_does_not_bury_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.say("Building the image")
    for number in range(500):
        terminal.say(f"  Get:{number} " + "x" * 300)
    terminal.say("The image is ready")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("Building the image")
    assert len(lines[1]) < 130
    assert lines[2].endswith("The image is ready")


def test_a_log_is_bounded_while_its_writer_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 1000)
    log = tmp_path / "service.log"
    writer = processes.spawn(["sh", "-c", "while :; do echo 123456789; sleep 0.001; done"], log)
    try:
        eventually(lambda: log.stat().st_size > 1000, "the log grows")
        processes.limit(log)
        assert log.stat().st_size < 1000
        assert (tmp_path / "service.log.1").stat().st_size > 1000
        eventually(lambda: log.stat().st_size > 0, "the writer goes on")
        assert log.read_bytes().startswith(b"1")
    finally:
        processes.kill(writer)
