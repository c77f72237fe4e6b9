"""The mailbox as JSON, for tests and scripts."""

import json
import sqlite3
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.mailbox.parsing import parse
from sandbox.mailbox.smtp import Mode, Receiver
from sandbox.mailbox.store import MailStore

_LARGEST_BODY = 4096


class MisbehaveRequest(BaseModel):
    """The body of `POST /api/misbehave`; `none` behaves again towards that address."""

    model_config = ConfigDict(extra="forbid")

    refuse: str = Field("*", min_length=1, max_length=320, description="a recipient, or * for everybody")
    mode: Mode | Literal["none"]
    seconds: float = Field(5, ge=0, le=300, description="how slow `slow` is")


class MailApi:
    """JSON in, JSON out; refusals are problem+json."""

    def __init__(self, store: MailStore, receiver: Receiver) -> None:
        """Serve these mails, control this receiver."""
        self._store = store
        self._receiver = receiver

    async def mails(self, request: Request) -> Response:
        """`GET /api/mails?to=&subject=&limit=`: an array, newest first; limit 1 to 200, 50 unless told."""
        query = request.query_params
        limit = query.get("limit", "50")
        if not (limit.isascii() and limit.isdigit() and len(limit) < 4 and 1 <= int(limit) <= 200):
            return problem(422, "limit: a number from 1 to 200")
        rows = self._store.newest(to=query.get("to", ""), subject=query.get("subject", ""), limit=int(limit))
        full = (self._store.one(row["id"]) for row in rows)
        return JSONResponse([as_json(row) for row in full if row is not None])

    async def mail(self, request: Request) -> Response:
        """`GET /api/mails/<id>`."""
        row = self._store.one(request.path_params["mail_id"])
        return JSONResponse(as_json(row)) if row else problem(404, "no such mail")

    async def clear(self, request: Request) -> Response:
        """`DELETE /api/mails`: throw all mails away."""
        return JSONResponse({"deleted": self._store.clear()})

    async def misbehave(self, request: Request) -> Response:
        """`POST /api/misbehave`: answers all that is said."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return problem(415, "application/json expected")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LARGEST_BODY:
                return problem(413, "body too large")
        try:
            said = MisbehaveRequest.model_validate(json.loads(body))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            return problem(422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")
        except (ValueError, RecursionError):
            return problem(400, "unreadable JSON")
        if len(self._receiver.modes) >= 1000 and said.mode != "none":
            return problem(409, "too many addresses; DELETE /api/misbehave first")
        await self._receiver.misbehave(said.refuse, None if said.mode == "none" else said.mode, said.seconds)
        return JSONResponse({address: mode for address, (mode, _) in self._receiver.modes.items()})

    async def behave(self, request: Request) -> Response:
        """`DELETE /api/misbehave`: behave again towards everybody."""
        await self._receiver.behave()
        return Response(status_code=204)


def as_json(row: sqlite3.Row) -> dict[str, object]:
    """Return a mail for the API: `to` are the envelope's recipients, so blind copies show too."""
    mail = parse(row["raw"])
    return {
        "id": row["id"], "from": mail.sender, "to": json.loads(row["recipients"]), "subject": mail.subject,
        "date": row["received_at"], "text": mail.text, "html": mail.html, "headers": mail.headers,
        "envelope_from": row["envelope_from"], "size": row["size"],
        "attachments": [{"filename": one.filename, "content_type": one.content_type, "size": len(one.content),
                         "url": f"/mails/{row['id']}/attachments/{number}"}
                        for number, one in enumerate(mail.attachments)],
    }  # fmt: skip


def problem(status: int, detail: str) -> Response:
    """Return a problem+json answer (RFC 9457)."""
    body = {"type": "about:blank", "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")
