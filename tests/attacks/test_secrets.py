"""A story with secrets we know by heart, and then a search for them in everything that stays or shows."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import psutil
import psycopg2
import pytest
from psycopg2 import sql

from deploy.local import postgres
from tests.journeys.person import Person
from tests.journeys.platform import RunningPlatform, eventually

pytestmark = pytest.mark.e2e

LINK = re.compile(r"https?://\S+/(\w+)\?token=(\S+)")
TELLING = re.compile(r"password|secret|token|api_?key|credential", re.IGNORECASE)
SENT_BEFORE = "(select count(*) from {0}.outbox) + (select count(*) from {0}.failed_deliveries)"


class Told:
    """Everything the platform answered this person."""

    def __init__(self, person: Person) -> None:
        self.answers: list[tuple[str, int, str]] = []
        person.http.event_hooks["response"] = [self._keep]

    def _keep(self, answer: httpx.Response) -> None:
        answer.read()
        told = "\n".join(f"{name}: {value}" for name, value in answer.headers.items() if name != "set-cookie")
        self.answers.append((str(answer.request.url.path), answer.status_code, told + "\n" + answer.text))


def token_of(platform: RunningPlatform, email: str, page: str) -> str:
    """The secret of the newest mail with a link to this page."""

    def look() -> str | None:
        with platform.client("mailbox") as mailbox:
            for mail in platform.mails(email):
                text = mailbox.get(f"/api/mails/{mail['id']}").json()["text"]
                found = LINK.search(text)
                if found and found[1] == page:
                    return found[2]
        return None

    return eventually(look, f"a mail with a link to {page} for {email}")


def fits(known: dict[str, str], text: str) -> list[str]:
    """Which secrets stand in it. Never the secrets themselves: this is printed."""
    return [name for name, secret in known.items() if secret in text]


def test_no_secret_stays_or_shows_anywhere(platform: RunningPlatform, docker_engine: docker.DockerClient) -> None:
    mark = secrets.token_hex(6)
    known = {"password": f"parola-{mark}-katır", "wrong password": f"yanlış-{mark}", "new password": f"yeni-{mark}-han"}
    with Person(platform) as person:
        told = Told(person)
        form = {"company_name": "Sır AŞ", "name": person.name, "email": person.email, "country": "TR"}
        weak = person.submit("/sign-up", "/sign-up", **form, password=f"k{mark[:5]}")
        assert weak.status_code == 422, "too short, and shown again without it"
        assert person.submit("/sign-up", "/sign-up", **form, password=known["password"]).status_code == 303
        known["verification"] = token_of(platform, person.email, "verify")
        assert person.submit("/verify", "/verify", token=known["verification"]).status_code == 303
        known["session"] = person.http.cookies["session"]
        known["device"] = person.http.cookies["device"]
        wanted = {"current": known["wrong password"], "new": known["new password"]}
        assert person.submit("/account", "/account/password", **wanted).status_code == 422
        workspace = person.new_workspace("sır")
        person.wait_for_workspace(workspace["id"], "running")
        inside = person.enter(workspace)
        with contextlib.closing(inside):
            known["workspace cookie"] = inside.cookies["workspace-session"]
        person.pay("starter")
        assert person.submit("/forgot", "/forgot", email=person.email).status_code == 200
        known["reset"] = token_of(platform, person.email, "reset")
        reset = {"token": known["reset"], "password": known["new password"]}
        assert person.submit("/log-in", "/reset", **reset).status_code == 303
        assert person.submit("/log-in", "/reset", **reset).status_code == 410, "used up"
        assert (
            person.submit("/log-in", "/log-in", email=person.email, password=known["wrong password"]).status_code == 401
        )
        assert person.log_in(person.email, known["new password"]).status_code == 303
        known["second session"] = person.http.cookies["session"]
        for path in ("/nothing", "/admin", "/workspaces/not-an-id", "/api/v1/nothing", "/invitation?token=x"):
            person.http.get(path)

    ours = platform.keys
    known |= {name: value for name, value in ours.items() if isinstance(value, str)}
    known |= {f"{name}'s database password": value for name, value in ours["database_passwords"].items()}
    for public in ("token_public_key", "installation"):
        del known[public]
    assert all(len(secret) > 9 for secret in known.values())

    for path, status, text in told.answers:
        # A form for a link repeats the link's own token to who opened it.
        assert not fits({k: v for k, v in known.items() if k not in ("reset", "verification")}, text), (path, status)
    _wait_until_sent(platform)
    found = set()
    for place, text in _everywhere(platform, docker_engine, workspace["id"]):
        shown = fits(known, text)
        found |= {place} if person.email in text else set()
        if place == str(platform.log):
            shown = [name for name in shown if name != "demo_password"]  # the demo's is printed for who starts it
        assert not shown, f"{place} holds: {shown}"
    assert {"table identity.users", "table notifier.recipients"} <= found, "the search finds what is there"


def _wait_until_sent(platform: RunningPlatform) -> None:
    """Until what was told has been heard and every mail has gone."""
    with _database(platform) as cursor:

        def settled() -> bool:
            total = " + ".join(SENT_BEFORE.format(name) for name in ours)
            cursor.execute(f"select {total} + (select count(*) from notifier.mails where status = 'waiting')")  # noqa: S608
            return bool(cursor.fetchone()[0] == 0)

        ours = ("identity", "billing", "provisioner", "notifier", "scheduler", "gateway")
        eventually(settled, "all is sent")


@contextlib.contextmanager
def _database(platform: RunningPlatform) -> Iterator[Any]:
    """The superuser's view of the platform's database."""
    server = postgres.attach(platform.data / "postgres")
    assert server is not None
    connection = psycopg2.connect(server.admin_dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "select datname from pg_database where datname not like 'template%' and datname <> 'postgres'"
            )
            names = [row[0] for row in cursor.fetchall()]
    finally:
        connection.close()
    found = None
    for name in [*names, "postgres"]:
        candidate = psycopg2.connect(server.admin_dsn, dbname=name)
        candidate.autocommit = True
        with candidate.cursor() as cursor:
            cursor.execute("select to_regclass('identity.users') is not null")
            if cursor.fetchone()[0]:
                found = candidate
                break
        candidate.close()
    assert found is not None, names
    try:
        with found.cursor() as cursor:
            yield cursor
    finally:
        found.close()


def _everywhere(platform: RunningPlatform, engine: docker.DockerClient, workspace: str) -> Iterator[tuple[str, str]]:
    """Each place by its name, with all of its text."""
    logs = [platform.log, *platform.data.rglob("*.log")]
    assert len(logs) > 2
    for file in logs:
        if "cluster" not in file.parts:
            yield str(file), file.read_text(errors="replace")
    for file in platform.data.joinpath("routes").iterdir():
        if file.name == "workspaces.yml":
            continue  # it carries the probe's secret for Traefik, which reads it; only its owner may
        yield str(file), file.read_text()
    with _database(platform) as cursor:
        cursor.execute(
            "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
        )
        tables = cursor.fetchall()
        assert len(tables) > 30
        for schema, table in tables:
            cursor.execute(sql.SQL("select t::text from {}.{} t").format(sql.Identifier(schema), sql.Identifier(table)))
            rows = "\n".join(row[0] for row in cursor)
            # Bytes are shown as hex.
            raw = b"".join(bytes.fromhex(piece) for piece in re.findall(r"\\x((?:[0-9a-f]{2})+)", rows))
            yield f"table {schema}.{table}", rows + raw.decode(errors="replace")
    measured = 0
    for address, text in _metrics(platform):
        measured += 1
        yield f"{address}/metrics", text
    assert measured, "no process told its figures"
    for process in _processes(platform):
        with contextlib.suppress(psutil.Error):
            yield f"command line of {process.name()}", "\n".join(process.cmdline())
    containers = engine.containers.list(filters={"label": f"youarecoder.workspace={workspace}"})
    assert len(containers) == 1
    for container in containers:
        yield "docker inspect", json.dumps(container.attrs)
        yield "docker logs", container.logs().decode(errors="replace")
        named = [one.partition("=")[0] for one in container.attrs["Config"]["Env"]]
        assert not [name for name in named if TELLING.search(name)]
        _, environment = container.exec_run(["sh", "-c", "cat /proc/*/environ /proc/*/cmdline 2>/dev/null"])
        yield "environment inside the workspace", environment.decode(errors="replace")
        yield from _image(container.image)


def _image(image: Any) -> Iterator[tuple[str, str]]:
    """What the image tells of how it was made, and that nothing of the builder's account stayed in it."""
    history = json.dumps(image.history())
    yield "docker history", history + json.dumps(image.attrs)
    assert not re.search(r"https?://[^/\s\"]+:[^/\s\"]+@", history), "an address with a password"
    made = image.client.containers.run(
        image, ["-c", LEFT_BEHIND], entrypoint="/bin/sh", user="0", network_mode="none", remove=True
    )
    assert made.decode().split() == [], made


LEFT_BEHIND = """exec 2>/dev/null
ls -d /root/.??* /root/* /home/*/.npmrc /.netrc /etc/pip.conf /etc/npmrc /usr/etc/npmrc /etc/apt/auth.conf \\
    /etc/apt/auth.conf.d/* | grep -vE '^/root/[.](bashrc|profile)$'
grep -rlE -- '-----BEGIN [A-Z ]*PRIVATE KEY' /etc /opt/youarecoder/*.js /opt/youarecoder/profile /root /home
true"""
"""Lists what a builder's account might have left in the image: settings with registries' passwords, private keys."""


def _processes(platform: RunningPlatform) -> list[psutil.Process]:
    assert platform.process is not None
    first = psutil.Process(platform.process.pid)
    return [first, *first.children(recursive=True)]


def _metrics(platform: RunningPlatform) -> Iterator[tuple[str, str]]:
    """The figures of every port the platform listens on that tells any."""
    ports = set()
    for process in _processes(platform):
        with contextlib.suppress(psutil.Error):
            ports |= {c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    for port in sorted(ports):
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
            if answer.status_code == 200 and "# HELP" in answer.text:
                yield f"http://127.0.0.1:{port}", answer.text


def test_files_of_secrets_are_their_accounts_own(platform: RunningPlatform) -> None:
    for name in ("keys.json", "auth-key.pem"):
        assert Path(platform.data, name).stat().st_mode & 0o077 == 0, name
    for file in platform.data.joinpath("routes").iterdir():
        assert file.stat().st_mode & 0o007 == 0, f"{file}: its group is Traefik's, others have no business there"
