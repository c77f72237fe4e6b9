"""A person at a browser without scripts: pages, forms, links in mails, and the API with the same session."""

from __future__ import annotations

import json
import re
import secrets
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.journeys.platform import RunningPlatform, eventually

PASSWORD = "korrekt-pferd-batterie-7"
CSRF = re.compile(r'name="csrf_token"\s+value="([^"]+)"')
META = re.compile(r'<meta\s+name="csrf-token"\s+content="([^"]+)"')


class Person:
    """Somebody with a mail address, a language and a cookie jar."""

    def __init__(self, platform: RunningPlatform, language: str = "tr", name: str = "Ayşe Yılmaz") -> None:
        self.platform = platform
        self.language = language
        self.name = name
        self.email = f"{language}-{secrets.token_hex(5)}@example.com"
        self.http = platform.client()
        self.http.headers["Accept-Language"] = language

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def see(self, path: str, status: int = 200) -> str:
        """The page at `path`, redirects followed."""
        answer = self.http.get(path, follow_redirects=True, headers={"Accept": "text/html"})
        assert answer.status_code == status, f"{path}: {answer.status_code}\n{answer.text[:2000]}"
        return answer.text

    def submit(self, page: str, action: str, **fields: str) -> httpx.Response:
        """Fills the form of `page` and sends it to `action`; redirects are not followed."""
        token = CSRF.search(self.see(page))
        assert token, f"no form on {page}"
        return self.http.post(action, data={"csrf_token": unescape(token[1]), **fields})

    def sign_up(self, company: str, plan: str = "") -> None:
        """Signs up, opens the mail, confirms."""
        answer = self.submit(
            "/sign-up",
            "/sign-up",
            company_name=company,
            name=self.name,
            email=self.email,
            password=PASSWORD,
            country="TR",
            wanted_plan=plan,
        )
        assert answer.status_code == 303, answer.text[:3000]
        self.follow_mail_link("", "verify")

    def follow_mail_link(self, subject: str, page: str) -> None:
        """Opens the link of the newest mail and presses its one button."""
        mail = self.platform.mail(self.email, subject)
        link = re.search(rf"https?://\S+/{page}\?token=\S+", mail["text"])
        assert link, mail["text"]
        parts = urlsplit(link[0])
        path = f"{parts.path}?{parts.query}"
        token = parts.query.partition("token=")[2]
        answer = self.submit(path, f"/{page}", token=token)
        assert answer.status_code == 303, answer.text[:3000]

    def log_in(self, email: str, password: str) -> httpx.Response:
        """Logs in by the form."""
        return self.submit("/log-in", "/log-in", email=email, password=password, next="/dashboard")

    def token(self) -> str:
        """What scripts on the page send with every change."""
        token = META.search(self.see("/dashboard"))
        assert token, "no token for scripts on the page"
        return unescape(token[1])

    def api(
        self, method: str, path: str, body: dict[str, Any] | None = None, token: str = "", **headers: str
    ) -> httpx.Response:
        """An API call with the browser's session; a `token` that is known saves a look at the page."""
        if method != "GET":
            headers["X-CSRF-Token"] = token or self.token()
        return self.http.request(method, f"/api/v1{path}", json=body, headers=headers)

    def get(self, path: str) -> Any:
        """The JSON of an API resource."""
        answer = self.api("GET", path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:1000]}"
        return answer.json()

    def wait_for_subscription(self, status: str) -> dict[str, Any]:
        """The subscription once it has this status."""

        def look() -> dict[str, Any] | None:
            answer = self.api("GET", "/subscription")
            found: dict[str, Any] = answer.json()
            return found if answer.status_code == 200 and found["status"] == status else None

        return eventually(look, f"the subscription is {status}")

    def new_workspace(self, name: str) -> dict[str, Any]:
        """Asks for a workspace."""
        answer = eventually(
            lambda: a if (a := self.api("POST", "/workspaces", {"name": name})).status_code == 202 else None,
            "a workspace is accepted (the entitlement has arrived)",
        )
        made: dict[str, Any] = answer.json()
        return made

    def wait_for_workspace(self, workspace_id: str, state: str, patience: float = 120) -> dict[str, Any]:
        """The workspace once it is in this state."""
        last: dict[str, Any] = {}

        def look() -> dict[str, Any] | None:
            nonlocal last
            last = self.get(f"/workspaces/{workspace_id}")
            assert last["state"] != "failed" or state == "failed", last
            return last if last["state"] == state else None

        try:
            return eventually(look, f"workspace {state}", patience)
        except AssertionError as error:
            raise AssertionError(f"{error}; now {json.dumps(last)}") from None

    def enter(self, workspace: dict[str, Any]) -> httpx.Client:
        """Opens the workspace from the platform's page; returns a client that is inside."""
        to_host = self.http.get(f"/workspaces/{workspace['id']}/open")
        assert to_host.status_code in (302, 303), to_host.text[:2000]
        inside = self.platform.client()
        inside.base_url = httpx.URL(workspace["url"])
        entered = inside.get(to_host.headers["location"])
        assert entered.status_code in (302, 303), entered.text[:2000]
        return inside

    def pay(self, plan: str, outcome: str = "success") -> dict[str, Any]:
        """Chooses a plan, pays in PayTR's frame; returns the payment as it was shown."""
        answer = self.submit("/billing/", f"/billing/subscribe/{plan}", currency="TRY", key=secrets.token_hex(12))
        assert answer.status_code in (200, 201), answer.text[:3000]
        frame = re.search(r'id="paytriframe"[^>]*src="([^"]+)"|src="([^"]+)"[^>]*id="paytriframe"', answer.text)
        assert frame, answer.text[:3000]
        self.platform.pay(unescape(frame[1] or frame[2]), outcome)
        newest: dict[str, Any] = self.get("/payments")["items"][0]
        return newest
