"""Doors of the little service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text

from shared.access import Admin, Anyone, Member, Person, Platform, Staff
from shared.db import Work
from shared.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Problem,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from shared.idempotency import Key, once
from shared.ids import new_id
from shared.logging import get_logger
from shared.pagination import Cursor, Limit, Page, after, page

log = get_logger(__name__)

PROBLEMS: dict[str, Problem] = {
    problem.code: problem
    for problem in (
        BadRequest("why"), Unauthenticated(), Forbidden(), NotFound(), Conflict("why"), Gone(), TooLarge(),
        Invalid.field("name", "short", "too short"), TooMany(retry_after=7), Unavailable(), Problem(),
    )
}  # fmt: skip


class Word(BaseModel):
    """What is written."""

    model_config = ConfigDict(extra="forbid")
    word: Annotated[str, Field(min_length=1, max_length=20)]
    number: Annotated[int, Field(ge=0)] = 0
    kind: Literal["plain", "odd"] = "plain"


class Written(BaseModel):
    """A row."""

    id: UUID
    word: str


class Halt:
    """Stops a request in the middle, until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def here(self) -> None:
        """Says that it is here, and waits."""
        self.reached.set()
        assert self.go_on.wait(60)


def doors() -> APIRouter:
    """All doors."""
    routes = APIRouter()

    def write(session: Work, word: str) -> Written:
        made = Written(id=new_id(), word=word)
        session.execute(text("insert into words (id, word) values (:id, :word)"), made.model_dump())
        return made

    @routes.post("/words", status_code=201)
    def add_word(body: Word, caller: Anyone, session: Work, request: Request, key: Key = None) -> Written:
        def make() -> Written:
            made = write(session, body.word)
            if halt := getattr(request.app.state, "halt", None):
                halt.here()
            if body.word == "fails":
                raise Conflict("this word is refused")
            if body.word == "breaks":
                raise RuntimeError("a secret word of ours")
            return made

        return once(session, key, caller, request, body, Written, make)

    @routes.get("/words")
    def list_words(caller: Anyone, session: Work, cursor: Cursor = None, limit: Limit = 50) -> Page[Written]:
        statement = "select id, word from words where :after is null or id > cast(:after as uuid) order by id limit :n"
        last = after(cursor)
        rows = session.execute(text(statement), {"after": last and str(last), "n": limit + 1}).all()
        return page(rows, limit, lambda row: row.id, lambda row: Written(id=row.id, word=row.word))

    @routes.get("/words/{id_}")
    def one_word(id_: UUID, session: Work) -> Written:
        return Written(
            id=id_, word=session.execute(text("select word from words where id = :id"), {"id": id_}).one()[0]
        )

    @routes.get("/problems/{code}")
    def problem(code: str) -> None:
        raise PROBLEMS.get(code) or NotFound()

    @routes.get("/teapot")
    def teapot() -> None:
        raise HTTPException(418, "short and stout", {"X-Spout": "here"})

    @routes.get("/said")
    def said(request: Request) -> dict[str, str]:
        log.info("something was said")
        return {}

    @routes.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @routes.get("/stream")
    async def stream() -> StreamingResponse:
        async def forever() -> AsyncIterator[bytes]:
            while True:
                yield b"data: still here\n\n"
                await asyncio.sleep(0.05)

        return StreamingResponse(forever(), media_type="text/event-stream")

    @routes.get("/for/anyone")
    def anyone(caller: Anyone) -> None: ...

    @routes.get("/for/person")
    def person(caller: Person) -> None: ...

    @routes.get("/for/member")
    def member(caller: Member) -> None: ...

    @routes.get("/for/admin")
    def admin(caller: Admin) -> None: ...

    @routes.get("/for/staff")
    def staff(caller: Staff) -> None: ...

    @routes.get("/for/platform")
    def platform(caller: Platform) -> None: ...

    return routes
