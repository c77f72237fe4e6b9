"""The secrets of the platform on one machine: made once, kept in the data folder, read by its account only."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.database import SERVICES
from shared.tokens import new_key_pair


@dataclass(frozen=True)
class Keys:
    """Everything made up on the first start."""

    signing_key: str
    token_public_key: str
    cookie_key: str
    document_key: str
    probe_secret: str
    installation: str
    demo_password: str
    paytr_merchant_key: str
    paytr_merchant_salt: str
    database_passwords: dict[str, str]
    broker_passwords: dict[str, str]
    superuser_password: str


def load(file: Path) -> Keys:
    """The keys of this data folder, made when it is new; what an older version did not know is added."""
    known = json.loads(file.read_text()) if file.exists() else {}
    keys = Keys(**{**asdict(_make()), **known})
    if known == asdict(keys):
        return keys
    # Under its name only when whole: half a file of keys would end every further start.
    making = file.with_suffix(".new")
    making.unlink(missing_ok=True)
    with open(making, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as output:
        json.dump(asdict(keys), output, indent=1)
        output.flush()
        os.fsync(output.fileno())
    making.replace(file)
    return keys


def _make() -> Keys:
    private, public = new_key_pair()
    return Keys(
        signing_key=private,
        token_public_key=public,
        cookie_key=secrets.token_urlsafe(32),
        document_key=secrets.token_urlsafe(32),
        probe_secret=secrets.token_urlsafe(24),
        installation=secrets.token_hex(4),
        demo_password="-".join(secrets.token_hex(2) for _ in range(4)),
        paytr_merchant_key=secrets.token_urlsafe(12),
        paytr_merchant_salt=secrets.token_urlsafe(12),
        database_passwords={service: secrets.token_urlsafe(24) for service in SERVICES},
        broker_passwords={service: secrets.token_urlsafe(24) for service in SERVICES},
        superuser_password=secrets.token_urlsafe(24),
    )
