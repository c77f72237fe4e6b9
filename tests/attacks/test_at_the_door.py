"""What a stranger with a socket can send to the whole platform's one port: nothing of it is our own fault."""

from __future__ import annotations

import re
import socket

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
