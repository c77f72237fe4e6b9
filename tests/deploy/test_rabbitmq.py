"""The local RabbitMQ node: a real one that neither meets the machine's own nor opens a port to the outside."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import aiormq.exceptions
import psutil
import pytest

from deploy.local import processes, rabbitmq
from tests.infrastructure import need

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def server(run_folder: Path) -> Iterator[rabbitmq.RabbitServer]:
    """A broker these tests may kill."""
    need(rabbitmq.available(), "RabbitMQ is not installed (apt-get install rabbitmq-server)")
    made = rabbitmq.start(Path(tempfile.mkdtemp(dir=run_folder)))
    yield made
    made.stop()
    made.stop()  # a second call does nothing
    assert not any(processes.alive(pid) for pid in made.pids)


async def put(url: str, body: bytes) -> None:
    """One confirmed, persistent message into a durable quorum queue."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept", timeout=20)


async def get(url: str) -> bytes:
    """The next message of that queue."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        message = await queue.get(timeout=20)
        await message.ack()
        return message.body


def test_confirmed_message_survives_a_crash(server: rabbitmq.RabbitServer) -> None:
    asyncio.run(put(server.url, b"survivor"))
    url, pid = server.url, server.pid
    # RabbitMQ 3.10 writes a new quorum queue's vote down lazily: killed within the first moments after the
    # declaration, it comes back without a leader for that queue. Queues that stood for seconds are safe.
    time.sleep(6)
    server.kill()
    assert not server.is_running()
    server.restart()
    assert server.url == url
    assert server.pid != pid
    assert asyncio.run(get(url)) == b"survivor"


def test_listens_on_loopback_only(server: rabbitmq.RabbitServer) -> None:
    addresses = {
        connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.pid in server.pids and connection.status == "LISTEN"
    }
    assert addresses
    assert addresses <= {"127.0.0.1", "::1"}


def test_wrong_password_stays_outside(server: rabbitmq.RabbitServer) -> None:
    for account in ("platform:wrong", "guest:guest"):
        with pytest.raises((aiormq.exceptions.AMQPError, aiormq.exceptions.AMQPConnectionError)):
            asyncio.run(put(f"amqp://{account}@127.0.0.1:{server.port}/", b"never"))


def test_the_runs_shared_broker_answers(rabbitmq_server: str) -> None:
    asyncio.run(put(rabbitmq_server, b"hello"))
    assert asyncio.run(get(rabbitmq_server)) == b"hello"
