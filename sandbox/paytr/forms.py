"""Reading what is posted: bounded, strict UTF-8, urlencoded or multipart, never JSON where PayTR takes none."""

from urllib.parse import parse_qsl

from starlette.formparsers import MultiPartException
from starlette.requests import Request

LARGEST_BODY = 128 * 1024


class Refused(Exception):
    """The body cannot be read; `status` and `reason` are for the answer."""

    def __init__(self, status: int, reason: str) -> None:
        """Keep the HTTP status and a short reason."""
        super().__init__(reason)
        self.status = status
        self.reason = reason


async def read_body(request: Request) -> bytes:
    """Return the body; Refused(413) as soon as it is longer than 128 KiB."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise Refused(413, "body too large")
    return body


async def read_form(request: Request) -> dict[str, str]:
    """Return the posted fields; of a repeated field the last counts, as in PHP. Refused on anything unreadable."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await read_body(request)
    if kind == "multipart/form-data":
        return await _read_multipart(request, body)
    if kind not in ("application/x-www-form-urlencoded", ""):
        raise Refused(415, "form expected")
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise Refused(400, "unreadable form") from error
    return dict(pairs)


async def _read_multipart(request: Request, body: bytes) -> dict[str, str]:
    async def replay() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, replay).form(max_files=0, max_fields=100) as form:
            return {name: value for name, value in form.multi_items() if isinstance(value, str)}
    except Exception as error:  # the parser raises several kinds, some of them its own
        if isinstance(error, (MultiPartException, ValueError, KeyError)) or type(error).__name__ == "HTTPException":
            raise Refused(400, "unreadable form") from error
        raise
