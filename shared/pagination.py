"""Cursor pagination: `?cursor=…&limit=…`. A cursor is opaque to clients and names the last row they have seen."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel

from shared.errors import Invalid

T = TypeVar("T")
R = TypeVar("R")

Limit = Annotated[int, Query(ge=1, le=100, description="rows a page")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next` of the page before")]


class Page(BaseModel, Generic[T]):
    """A page of a list; `next` is absent on the last one."""

    items: list[T]
    next: str | None = None


def after(cursor: str | None) -> UUID | None:
    """The id a cursor stands for. Raises Invalid for one we did not give."""
    if cursor is None:
        return None
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except (binascii.Error, ValueError):
        raise Invalid.field("cursor", "unknown", "This cursor was not given by us") from None


def page(rows: Sequence[R], limit: int, id_of: Callable[[R], UUID], shape: Callable[[R], T]) -> Page[T]:
    """Makes a page of `rows`, of which the caller fetched `limit + 1` to know whether there are more."""
    shown = rows[:limit]
    more = len(rows) > limit
    cursor = base64.urlsafe_b64encode(id_of(shown[-1]).bytes).rstrip(b"=").decode() if more else None
    return Page(items=[shape(row) for row in shown], next=cursor)
