"""The mailbox as pages. A mail's HTML is somebody else's: it is shown without scripts, forms or the network."""

import json
import re
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from sandbox.look import PAGE_HEADERS, templates
from sandbox.mailbox.parsing import Mail, parse
from sandbox.mailbox.smtp import Receiver
from sandbox.mailbox.store import MailStore

_PAGES = templates(Path(__file__).parent / "templates")
_MAIL_HEADERS = {
    # Links open in a new tab of their own; nothing else leaves the frame.
    "content-security-policy": "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    "style-src 'unsafe-inline'; img-src data: 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store",
}  # fmt: skip
_SHOWN = 100


class MailPages:
    """List, one mail, its HTML, its attachments, its source."""

    def __init__(self, store: MailStore, receiver: Receiver) -> None:
        """Show these mails; the receiver is asked for its port."""
        self._store = store
        self._receiver = receiver

    def _page(self, request: Request, name: str, status: int = 200, **values: object) -> Response:
        root = request.scope.get("root_path", "")
        html = _PAGES.get_template(name).render(root=root, smtp_port=self._receiver.port, **values)
        return Response(html, status, headers=PAGE_HEADERS, media_type="text/html")

    def _mail(self, request: Request) -> Mail | None:
        row = self._store.one(request.path_params["mail_id"])
        return parse(row["raw"]) if row else None

    async def inbox(self, request: Request) -> Response:
        """`GET /[?to=&subject=]`: the newest mails."""
        to, subject = (request.query_params.get(name, "")[:320] for name in ("to", "subject"))
        rows = self._store.newest(to=to, subject=subject, limit=_SHOWN)
        mails = [dict(row) | {"to": ", ".join(json.loads(row["recipients"])), "when": _short(row["received_at"])}
                 for row in rows]  # fmt: skip
        return self._page(request, "inbox.html", mails=mails, to=to, subject=subject)

    async def one(self, request: Request) -> Response:
        """`GET /mails/<id>`."""
        row = self._store.one(request.path_params["mail_id"])
        if row is None:
            return self._page(request, "gone.html", 404)
        return self._page(request, "mail.html", row=row, mail=parse(row["raw"]),
                          to=", ".join(json.loads(row["recipients"])), when=_short(row["received_at"]))  # fmt: skip

    async def html(self, request: Request) -> Response:
        """`GET /mails/<id>/html`: the HTML part, for the sandboxed frame."""
        mail = self._mail(request)
        if mail is None or mail.html is None:
            return Response("no such part", 404, headers=_MAIL_HEADERS, media_type="text/plain")
        base = f"{request.scope.get('root_path', '')}/mails/{request.path_params['mail_id']}/attachments"
        numbers = {one.content_id: number for number, one in enumerate(mail.attachments) if one.content_id}

        def attached(match: re.Match[str]) -> str:
            number = numbers.get(match[1])
            return match[0] if number is None else f"{base}/{number}"

        shown = re.sub(r"cid:([^\s\"'<>)]{1,200})", attached, mail.html)
        # The target is set on a base element of ours that comes first, so links never replace the frame.
        return Response('<base target="_blank">' + shown, headers=_MAIL_HEADERS, media_type="text/html")

    async def attachment(self, request: Request) -> Response:
        """`GET /mails/<id>/attachments/<n>`: always a download unless it is a plain picture."""
        mail, number = self._mail(request), request.path_params["number"]
        if mail is None or number >= len(mail.attachments):
            return Response("no such part", 404, headers=_MAIL_HEADERS, media_type="text/plain")
        found = mail.attachments[number]
        picture = found.content_type in ("image/png", "image/jpeg", "image/gif", "image/webp")
        name = quote(re.sub(r"[\x00-\x1f/\\]", "_", found.filename)[:200], safe="")
        headers = _MAIL_HEADERS | {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
        kind = found.content_type if picture or found.content_type == "application/pdf" else "application/octet-stream"
        return Response(found.content, headers=headers, media_type=kind)

    async def raw(self, request: Request) -> Response:
        """`GET /mails/<id>/raw`: the mail as it came."""
        row = self._store.one(request.path_params["mail_id"])
        if row is None:
            return Response("no such mail", 404, media_type="text/plain")
        return Response(row["raw"], headers=_MAIL_HEADERS, media_type="text/plain; charset=utf-8")


def _short(iso: str) -> str:
    return f"{iso[:10]} {iso[11:19]} UTC"
