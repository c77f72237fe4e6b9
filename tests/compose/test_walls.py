"""What a container may, read from the engine and not from the file: no power, no secret to be seen, no open port."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import docker
import pytest

from tests.journeys.compose import ComposedPlatform

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.compose,
    pytest.mark.parametrize("platform", ["compose"], indirect=True),
]


def containers(engine: docker.DockerClient, platform: ComposedPlatform) -> dict[str, dict[str, Any]]:
    """What the engine says of each container, by the service's name."""
    label = f"com.docker.compose.project={platform.project}"
    found = engine.containers.list(all=True, filters={"label": label})
    return {one.labels["com.docker.compose.service"]: one.attrs for one in found}


def test_nobody_has_more_than_they_need(platform: ComposedPlatform, docker_engine: docker.DockerClient) -> None:
    found = containers(docker_engine, platform)
    assert len(found) == 12
    for service, facts in found.items():
        host = facts["HostConfig"]
        assert host["CapDrop"] == ["ALL"] and not host["CapAdd"], service  # noqa: PT018
        assert host["ReadonlyRootfs"] and not host["Privileged"], service  # noqa: PT018
        assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"]), service
        assert facts["Config"]["User"].split(":")[0] not in ("", "0", "root"), service
        assert min(host["Memory"], host["NanoCpus"], host["PidsLimit"]) > 0, service
        assert host["NetworkMode"] not in ("host", "bridge"), service
        sockets = [bind for bind in host["Binds"] or [] if "docker.sock" in bind]
        assert bool(sockets) == (service == "provisioner"), service
        published = {port for port, where in (host["PortBindings"] or {}).items() if where}
        assert published == ({"8080/tcp", "8443/tcp"} if service == "traefik" else set()), service


def test_no_secret_is_where_the_engine_shows_it(platform: ComposedPlatform, docker_engine: docker.DockerClient) -> None:
    keys = platform.keys
    secrets = [
        keys[name] for name in keys if name not in ("installation", "token_public_key") and isinstance(keys[name], str)
    ]
    secrets += [*keys["database_passwords"].values(), *keys["broker_passwords"].values()]
    assert len(secrets) > 15
    shown = json.dumps(containers(docker_engine, platform))
    for image in docker_engine.images.list("youarecoder/*"):
        shown += json.dumps(image.attrs) + json.dumps(image.history())
    shown += platform.compose("config") + platform.compose("logs", "--no-color")
    assert platform.project in shown
    assert not [secret for secret in secrets if secret in shown]


def test_an_image_holds_its_own_service_only(platform: ComposedPlatform, docker_engine: docker.DockerClient) -> None:
    for service in ("identity", "billing", "provisioner", "notifier", "scheduler"):
        [container] = platform.containers(docker_engine, service)
        code, output = container.exec_run(["sh", "-c", "ls /app /app/services; ls /app/services/*/migrations/versions"])
        assert code == 0
        words = output.decode().split()
        assert service in words
        others = {
            "identity",
            "billing",
            "provisioner",
            "notifier",
            "scheduler",
            "gateway",
            "deploy",
            "sandbox",
            "tests",
        }
        assert not (others - {service}) & set(words)


def test_one_service_reads_neither_anothers_secrets_nor_its_rows_nor_its_queue(
    platform: ComposedPlatform, docker_engine: docker.DockerClient
) -> None:
    attempt = """
import asyncio, os, pathlib, re
import aio_pika, aiormq, psycopg2
print(sorted(file.name for file in pathlib.Path('/run/secrets').iterdir()))
url = pathlib.Path('/run/secrets/NOTIFIER_DATABASE_URL').read_text()
try:
    psycopg2.connect(url).cursor().execute('select * from identity.users')
except psycopg2.errors.InsufficientPrivilege:
    print('rows: refused')
async def steal():
    connection = await aio_pika.connect(pathlib.Path('/run/secrets/AMQP_URL').read_text())
    try:
        channel = await connection.channel()
        queue = await channel.get_queue('billing', ensure=False)
        await queue.get(fail=False)
    except aiormq.exceptions.ChannelAccessRefused:
        print('queue: refused')
    finally:
        await connection.close()
asyncio.run(steal())
"""
    [notifier] = platform.containers(docker_engine, "notifier")
    code, output = notifier.exec_run(["python3", "-c", attempt])
    told = output.decode()
    assert code == 0, told
    assert told.splitlines()[0] == "['AMQP_URL', 'NOTIFIER_DATABASE_URL', 'SMTP_URL']"
    assert "rows: refused" in told
    assert "queue: refused" in told


def test_http_is_sent_to_https(platform: ComposedPlatform) -> None:
    asked = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "--noproxy", "*"]
    asked += ["-H", "Host: youarecoder.localhost", f"http://127.0.0.1:{platform.plain_port}/pricing"]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout
    assert told == f"301 https://youarecoder.localhost:{platform.port}/pricing"
