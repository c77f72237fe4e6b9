"""Idempotency keys: a POST that creates, sent twice with one `Idempotency-Key`, creates once and answers the same.

After https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/: a key that comes back with another
request is a mistake of the client (422). Keys are kept for 24 hours. The key's row commits with the operation, so two
requests at once wait for each other at the unique index, and a request that fails leaves no key behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Header, Request
from pydantic import BaseModel
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.access import company_of, user_of
from shared.errors import Invalid
from shared.messaging.tables import idempotency_keys as keys
from shared.tokens import Principal

T = TypeVar("T", bound=BaseModel)

Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=8, max_length=100, pattern=r"^[\x21-\x7e]+$"),
]


class KeyReused(Invalid):
    code = "idempotency-key-reused"
    title = "This Idempotency-Key was used for another request"


def once(
    session: Session,
    key: str | None,
    caller: Principal,
    request: Request,
    body: BaseModel,
    result: type[T],
    operation: Callable[[], T],
) -> T:
    """Runs `operation` once per caller and key, and gives its first result (a `result`) to every repeat.

    Raises KeyReused where the key came with another method, path or body. Without a key it just runs.
    Raises Forbidden where the caller is no person of a company: a key needs an owner.
    """
    if key is None:
        return operation()
    who = _owner(caller)
    fingerprint = hashlib.sha256(f"{request.method} {request.url.path}\n{body.model_dump_json()}".encode()).hexdigest()
    connection = session.connection()
    mine = insert(keys).values(caller=who, key=key, request=fingerprint).on_conflict_do_nothing().returning(keys.c.key)
    if connection.execute(mine).first() is None:
        first = connection.execute(select(keys).where(keys.c.caller == who, keys.c.key == key)).one()
        if first.request != fingerprint:
            raise KeyReused
        return result.model_validate(first.body)
    made = operation()
    stored = update(keys).where(keys.c.caller == who, keys.c.key == key)
    connection.execute(stored.values(body=made.model_dump(mode="json")))
    return made


def forget(session: Session, key: str | None, caller: Principal) -> None:
    """Frees a key whose operation committed and then came to nothing; without a key there is nothing to free."""
    session.connection().execute(delete(keys).where(keys.c.caller == _owner(caller), keys.c.key == key))


def _owner(caller: Principal) -> str:
    return f"{company_of(caller)}/{user_of(caller)}"
