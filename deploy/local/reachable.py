"""Whether the operator's own servers answer, asked before anything stands on them: a service would wait or fail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

import psycopg2
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from deploy.local.processes import StartFailed

PATIENCE_S = 10


def databases(urls: Mapping[str, str]) -> None:
    """Logs in to each; `urls` by the variable they come from. StartFailed names the variable and says why."""
    for name, url in urls.items():
        try:
            dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
            psycopg2.connect(dsn, connect_timeout=PATIENCE_S).close()
        except (ArgumentError, ValueError):
            raise StartFailed(f"{name} is no postgresql://role:password@host:port/database.") from None
        except psycopg2.Error as error:  # libpq's words name host, port and role, never the password
            raise StartFailed(f"The database of {name} cannot be used: {str(error).strip()}") from None


async def broker(url: str) -> None:
    """Logs in to the broker. StartFailed says where it was looked for and why not."""
    import aio_pika

    where = "the address given"
    try:
        parts = urlsplit(url)
        where = f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"
        connection = await asyncio.wait_for(aio_pika.connect(url, timeout=PATIENCE_S), PATIENCE_S)
        await connection.close()
    except Exception as error:  # the client library's own, the socket's and the address's
        words = str(error) or type(error).__name__
        raise StartFailed(f"AMQP_URL: RabbitMQ at {where} cannot be used: {words}") from None
