"""What a stranger with a socket can send to the whole platform's one port: nothing of it is our own fault."""

from __future__ import annotations

import contextlib
import re
import socket
from urllib.parse import urlsplit

import pytest

from tests.journeys.person import Person
from tests.journeys.platform import RunningPlatform

pytestmark = pytest.mark.e2e

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
REQUESTS = {
    "a callback of no kind of ours": b"POST /billing/callback HTTP/1.1\r\n%sContent-Type: \xff\xfe\r\n%s",
    "a callback that is a page": b"GET /billing/callback HTTP/1.1\r\n%s%s",
    "a service's inner door": b"POST /internal/sessions/resolve HTTP/1.1\r\n%s" + FORM + b"%s",
    "the same, around the corner": b"GET /api/v1/..%%2f..%%2finternal/sessions/resolve HTTP/1.1\r\n%s%s",
    "figures": b"GET /metrics HTTP/1.1\r\n%s%s",
    "a method nobody has": b"PROPFIND /api/v1/plans HTTP/1.1\r\n%s%s",
    "a loop": b"TRACE / HTTP/1.1\r\n%s%s",
    "a path outside": b"GET /static/%%2e%%2e/%%2e%%2e/etc/passwd HTTP/1.1\r\n%s%s",
    "half an escape": b"GET /%%zz HTTP/1.1\r\n%s%s",
    "cookies of bytes": b'GET /dashboard HTTP/1.1\r\n%sCookie: session="\\000\\777aaaaaaaaaaaaaaaa"; guest=\xff\r\n%s',
    "two lengths": b"POST /log-in HTTP/1.1\r\n%sContent-Length: 5\r\nContent-Length: 6\r\n%s",
    "a hidden length": b"POST /log-in HTTP/1.1\r\n%sContent-Length: +5\r\n%s",
    "a space before the colon": b"POST /log-in HTTP/1.1\r\n%sTransfer-Encoding : chunked\r\n%s",
}


def send(platform: RunningPlatform, request: bytes, host: str = "youarecoder.localhost") -> bytes:
    """All that comes back on a fresh connection for these bytes."""
    whole = request % (f"Host: {host}:{platform.port}\r\n".encode(), b"Connection: close\r\n\r\n")
    with socket.create_connection(("127.0.0.1", platform.port), timeout=10) as connection:
        connection.sendall(whole)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    return answer


@pytest.mark.parametrize("name", REQUESTS)
def test_what_cannot_be_right_is_the_senders_fault(platform: RunningPlatform, name: str) -> None:
    answer = send(platform, REQUESTS[name])
    status = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    assert status, answer[:200]
    assert 300 <= int(status[1]) < 500, answer[:500]
    assert b"Traceback" not in answer


def test_nobody_reaches_what_is_anothers(platform: RunningPlatform) -> None:
    """Two companies; each id of the one, asked for as the other's admin and as nobody, does not exist."""
    with Person(platform) as ours, Person(platform) as theirs, Person(platform) as nobody:
        ours.sign_up("Bizim AŞ")
        theirs.sign_up("Onların AŞ")
        me = ours.get("/me")["user"]["id"]
        session = ours.get("/sessions")["items"][0]["id"]
        asked = [("DELETE", f"/members/{me}"), ("DELETE", f"/sessions/{session}")]
        asked += [(method, f"/workspaces/{me}{rest}") for method, rest in (("GET", "/access"), ("POST", "/stop"))]
        for method, path in asked:
            assert theirs.api(method, path).status_code == 404, path
            assert nobody.http.request(method, f"/api/v1{path}").status_code == 401, path
        for path in ("/admin/users", "/admin/mails", "/ops/gateway/dead-letters", "/ops/billing/dead-letters"):
            assert theirs.api("GET", path).status_code == 403, path
        assert ours.api("GET", "/me").status_code == 200


def test_who_stole_a_cookie_is_out_when_its_owner_logs_out(platform: RunningPlatform) -> None:
    with Person(platform) as person, Person(platform) as thief:
        person.sign_up("Çıkan AŞ")
        thief.http.cookies.set("session", person.http.cookies["session"])
        assert thief.http.get("/api/v1/me").status_code == 200
        assert person.submit("/dashboard", "/log-out").status_code == 303
        assert thief.http.get("/api/v1/me").status_code == 401


def conversation(platform: RunningPlatform, raw: bytes, patience: float = 10) -> bytes:
    """All that comes back for these very bytes, until the other side closes or says no more."""
    answer = b""
    connection = socket.create_connection(("127.0.0.1", platform.port), timeout=patience)
    with connection, contextlib.suppress(OSError):  # cut off while we still speak: an answer, too
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65_536):
            answer += piece
    return answer


def is_well(platform: RunningPlatform) -> None:
    """Everybody is answered what they asked for, on whatever connection to the gateway it goes.

    By the API: pages are few a minute from one address, and the other stories come from here, too.
    """
    with platform.client() as visitor:
        for _ in range(8):
            assert visitor.get("/api/v1/plans").json()["items"]
            assert visitor.get("/api/v1/me").status_code == 401


SMUGGLED = {
    "length first": b"POST /language HTTP/1.1\r\n%sContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s",
    "chunks first": b"POST /language HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n%s",
    "odd coding": b"POST /language HTTP/1.1\r\n%sContent-Length: %d\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n%s",
    "coding twice": b"POST /language HTTP/1.1\r\n%sContent-Length: %d\r\nTransfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n%s",
    "tab before the coding": b"POST /language HTTP/1.1\r\n%sContent-Length: %d\r\nTransfer-Encoding:\tchunked\r\n\r\n"
    b"0\r\n\r\n%s",
    "coding with a vertical tab": b"POST /language HTTP/1.1\r\n%sContent-Length: %d\r\n"
    b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n%s",
    "folded coding": b"POST /language HTTP/1.1\r\n%sContent-Length: %d\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"
    b"0\r\n\r\n%s",
    "bare line feeds": b"POST /language HTTP/1.1\n%sContent-Length: %d\nTransfer-Encoding: chunked\n\n0\n\n%s",
    "length in a line of another": b"POST /language HTTP/1.1\r\n%sX: a\rContent-Length: %d\r\n\r\n%s",
    "a body where none is read": b"GET /api/v1/plans HTTP/1.1\r\n%sContent-Length: %d\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s",
    "old protocol": b"POST /language HTTP/1.0\r\n%sContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s",
    "two lengths": b"POST /language HTTP/1.1\r\n%sContent-Length: 0\r\nContent-Length: %d\r\n\r\n%s",
    "a list of lengths": b"POST /language HTTP/1.1\r\n%sContent-Length: 0, %d\r\n\r\n%s",
    "a chunk that ends in a bare line feed": b"POST /language HTTP/1.1\r\n%sX: %d\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2;\nxx\r\n0\r\n\r\n%s",
    "a chunk longer than numbers are": b"POST /language HTTP/1.1\r\n%sX: %d\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"10000000000000000\r\n%s",
    "an upgrade nobody wants": b"GET /api/v1/plans HTTP/1.1\r\n%sConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nX: %d\r\n\r\n%s",
    "a websocket nobody wants": b"GET /dashboard HTTP/1.1\r\n%sConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nX: %d\r\n\r\n%s",
}


def test_no_request_hides_in_another(platform: RunningPlatform) -> None:
    """Smuggling: whatever Traefik and the gateway disagree about would answer somebody else with the hidden request.

    The connection itself may be answered twice, as any pipeline; what counts is what everybody else gets.
    """
    inner = b"POST /internal/sessions/resolve HTTP/1.1\r\nHost: identity\r\nContent-Length: 300\r\n\r\nx="
    hidden = b"GET /smuggled HTTP/1.1\r\nHost: youarecoder.localhost\r\nX-Rest: "
    host = b"Host: youarecoder.localhost:%d\r\n" % platform.port
    for number, (name, shape) in enumerate(SMUGGLED.items()):
        prefix = (hidden, inner)[number % 2]
        told = conversation(platform, shape % (host, len(b"0\r\n\r\n") + len(prefix), prefix))
        # Traefik says 500 of chunks it cannot read; ours would carry the id of its log line.
        assert b" 500 " not in told or b"x-correlation-id" not in told.lower(), name
        assert b" 101 " not in told, name
        assert b"user_id" not in told, name
    is_well(platform)


def test_what_is_too_much_is_refused_and_hurts_nobody(platform: RunningPlatform) -> None:
    host = b"Host: youarecoder.localhost:%d\r\nConnection: close\r\n" % platform.port
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    chunks = b"".join(b"10000\r\n" + b"a" * 0x10000 + b"\r\n" for _ in range(40)) + b"0\r\n\r\n"
    for name, raw in {
        "an address": b"GET /%s HTTP/1.1\r\n%s\r\n" % (b"a" * 2_000_000, host),
        "a query": b"GET /?next=%s HTTP/1.1\r\n%s\r\n" % (b"/" * 2_000_000, host),
        "a header": b"GET / HTTP/1.1\r\n%sX: %s\r\n\r\n" % (host, b"a" * 2_000_000),
        "headers": b"GET / HTTP/1.1\r\n%s%s\r\n" % (host, b"".join(b"X%d: a\r\n" % n for n in range(100_000))),
        "cookies": b"GET /account HTTP/1.1\r\n%sCookie: %s\r\n\r\n"
        % (host, b"session=aaaaaaaaaaaaaaaaaaaaaa; " * 40_000),
        "a form": b"POST /language HTTP/1.1\r\n%s%sContent-Length: 3000000\r\n\r\n%s" % (host, form, b"a" * 3_000_000),
        "chunks": b"POST /language HTTP/1.1\r\n%s%sTransfer-Encoding: chunked\r\n\r\n%s" % (host, form, chunks),
        "a callback": b"POST /billing/callback HTTP/1.1\r\n%s%sTransfer-Encoding: chunked\r\n\r\n%s"
        % (host, form, chunks),
        "an API body": b"POST /api/v1/workspaces HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n%s" % (host, chunks),
        "a length": b"POST /language HTTP/1.1\r\n%s%sContent-Length: %s\r\n\r\n" % (host, form, b"9" * 5_000),
        "nesting": b"POST /api/v1/workspaces HTTP/1.1\r\n%sContent-Type: application/json\r\n"
        b"Content-Length: 60000\r\n\r\n%s" % (host, b"[" * 60_000),
    }.items():
        told = conversation(platform, raw)
        status = re.match(rb"HTTP/1\.1 (\d{3})", told)
        # No word at all is what a sender gets who does not stop speaking.
        assert not told or (status and 400 <= int(status[1]) < 500), (name, told[:300])
    is_well(platform)


def test_slow_senders_hold_up_nobody_else(platform: RunningPlatform) -> None:
    """Heads and bodies that never come to their end; what they hold is a connection of Traefik's, none of ours."""
    host = b"Host: youarecoder.localhost:%d\r\n" % platform.port
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    beginnings = (
        b"GET / HTTP/1.1\r\nX-Slow: a",
        b"POST /language HTTP/1.1\r\n%s%sContent-Length: 60000\r\n\r\nemail=a" % (host, form),
        b"POST /billing/callback HTTP/1.1\r\n%s%sContent-Length: 60000\r\n\r\nhash=a" % (host, form),
        b"POST /api/v1/workspaces HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n5\r\n{" % host,
    )
    with contextlib.ExitStack() as held:
        for number in range(160):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", platform.port), timeout=10))
            connection.sendall(beginnings[number % len(beginnings)])
        is_well(platform)
    is_well(platform)


ELSEWHERE = {
    "another host": b"GET /team HTTP/1.1\r\nHost: evil.example\r\n",
    "a host that begins like ours": b"GET /team HTTP/1.1\r\nHost: youarecoder.localhost.evil.example\r\n",
    "a host that ends like ours": b"GET /team HTTP/1.1\r\nHost: evil-youarecoder.localhost\r\n",
    "a name in front of our host": b"GET /team HTTP/1.1\r\nHost: youarecoder.localhost@evil.example\r\n",
    "two hosts": b"GET /team HTTP/1.1\r\n%sHost: evil.example\r\n",
    "a host for the proxy": b"GET /team HTTP/1.1\r\n%sX-Forwarded-Host: evil.example\r\n"
    b"Forwarded: host=evil.example\r\nX-Original-URL: //evil.example\r\nX-Rewrite-URL: //evil.example\r\n"
    b"X-Forwarded-Prefix: //evil.example\r\n",
    "a whole address": b"GET http://evil.example/team HTTP/1.1\r\n%s",
    "two slashes": b"GET //evil.example/ HTTP/1.1\r\n%s",
    "two slashes and dots": b"GET //evil.example/%%2e%%2e HTTP/1.1\r\n%s",
    "slash and backslash": b"GET /\\evil.example HTTP/1.1\r\n%s",
    "an encoded slash": b"GET /%%2f%%2fevil.example HTTP/1.1\r\n%s",
    "another's folder": b"GET /billing/..;/..//evil.example HTTP/1.1\r\n%s",
    "a line end in the way back": b"GET /team?a=%%0d%%0aLocation:%%20//evil.example HTTP/1.1\r\n%s",
    "a line end in the address": b"GET /%%0d%%0aX-Injected:%%20yes HTTP/1.1\r\n%s",
    "a line end in another way back": b"GET /log-in?next=/a%%0d%%0aX-Injected:%%20yes HTTP/1.1\r\n%s",
    "a line end for a workspace": b"GET /workspaces/enter?host=a%%0d%%0aX-Injected:%%20yes HTTP/1.1\r\n%s",
    "a word that was done": b"GET /?done=%%0d%%0aX-Injected:%%20yes HTTP/1.1\r\n%s",
    "an id of the correlation's": b"GET /team HTTP/1.1\r\n%sX-Correlation-Id: aaaaaaaa%%0d%%0aX-Injected: yes\r\n",
    "long-winded UTF-8": b"GET /static/%%c0%%ae%%c0%%ae/%%c0%%ae%%c0%%ae/etc/passwd HTTP/1.1\r\n%s",
    "half a letter": b"GET /log-in?next=%%c3 HTTP/1.1\r\n%s",
    "letters of no alphabet": b"GET /\xff\xfe HTTP/1.1\r\n%s",
    "a null": b"GET /static/app.css%%00.html HTTP/1.1\r\n%s",
    "a form packed": b"POST /language HTTP/1.1\r\n%sContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
    "a form in another alphabet": b"POST /language HTTP/1.1\r\n%sContent-Length: 4\r\n"
    b"Content-Type: application/x-www-form-urlencoded; charset=utf-7\r\n\r\n+AC0",
    "JSON in another alphabet": b"POST /api/v1/workspaces HTTP/1.1\r\n%s"
    b"Content-Type: application/json; charset=utf-16\r\nContent-Length: 4\r\n\r\n\xff\xfe{\x00",
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_nothing_leads_elsewhere_or_adds_a_header(platform: RunningPlatform, name: str) -> None:
    request = ELSEWHERE[name]
    host = b"Host: youarecoder.localhost:%d\r\nConnection: close\r\n" % platform.port
    filled = request % host if b"%s" in request else request.replace(b"%%", b"%") + b"Connection: close\r\n"
    told = conversation(platform, filled if b"\r\n\r\n" in filled else filled + b"\r\n")
    status = re.match(rb"HTTP/1\.[01] (\d{3})", told)
    assert status, told[:300]
    assert int(status[1]) < 500, told[:500]
    head = told.partition(b"\r\n\r\n")[0]
    assert b"\r\nx-injected" not in head.lower()
    for where in re.findall(rb"(?mi)^location: *([^\r\n]*)", head):
        parts = urlsplit(where.decode("latin-1"))
        assert parts.netloc in ("", f"youarecoder.localhost:{platform.port}"), where
        assert not where.startswith((b"//", b"/\\")), where
        assert "evil" not in parts.path or parts.netloc, where
