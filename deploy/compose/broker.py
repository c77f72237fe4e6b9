"""RabbitMQ's accounts: one a service, which may use its own queues and the common exchange and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping

from shared.messaging.rabbitmq_queue import EXCHANGE

VHOST = "youarecoder"


def definitions(passwords: Mapping[str, str]) -> str:
    """What the broker imports at its start; it holds hashes."""
    return json.dumps(
        {
            "vhosts": [{"name": VHOST}],
            "users": [
                {"name": name, "password_hash": _hash(password), "tags": ""} for name, password in passwords.items()
            ],
            "permissions": [{"user": name, "vhost": VHOST, **_may(name)} for name in passwords],
        },
        indent=1,
    )


def url(service: str, password: str) -> str:
    """Where a service finds the broker."""
    return f"amqp://{service}:{password}@rabbitmq:5672/{VHOST}"


def _may(service: str) -> dict[str, str]:
    """`amq.gen-…` are queues of one connection, which nobody else can use; `amq.default` takes given-up deliveries."""
    own = rf"{service}(\.dead)?|amq\.gen-.*"
    return {
        "configure": rf"^({EXCHANGE}|{own})$",
        "write": rf"^({EXCHANGE}|amq\.default|{own})$",
        "read": rf"^({EXCHANGE}|{own})$",
    }


def _hash(password: str) -> str:
    """RabbitMQ's salted SHA-256: four bytes of salt, then the hash of salt and password. The password is random."""
    salt = os.urandom(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
