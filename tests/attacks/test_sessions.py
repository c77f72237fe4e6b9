"""Whoever has, had, plants or guesses a session: in front of the real services, with their events on the bus."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from gateway import csrf, devices, sessions, workspace_cookie
from gateway.forward_auth import forward_auth_app
from gateway.tickets import Leave
from services.identity import passwords
from tests.attacks.conftest import People
from tests.attacks.town import COOKIE_HOST, PASSWORD, Town, Visitor, ask_app, eventually

pytestmark = pytest.mark.xdist_group("town")

NEW = "başka katır, başka han 9"


@pytest.fixture
def admin(town: Town) -> Visitor:
    """A company of the test's own."""
    return town.founder("Oturum AŞ")


def thief_of(victim: Visitor) -> Visitor:
    """Somebody else's browser with the victim's cookie, which works."""
    thief = Visitor(victim.town)
    thief.steal(victim.secret)
    assert thief.http.get("/api/v1/me").status_code == 200
    return thief


def is_out(thief: Visitor) -> bool:
    return thief.http.get("/api/v1/me").status_code == 401 and thief.http.get("/account").status_code == 303


# What ends somebody's sessions: (admin, member) -> whose session must be over at once.


def logs_out(admin: Visitor, member: Visitor) -> None:
    assert member.submit("/log-out", "/account").status_code == 303


def resets_the_password(admin: Visitor, member: Visitor) -> None:
    other = Visitor(member.town)
    assert other.submit("/forgot", "/forgot", email=member.email).status_code == 200
    token = member.town.link(member.email, "reset")
    assert other.submit("/reset", token=token, password=NEW).status_code == 303


def is_removed(admin: Visitor, member: Visitor) -> None:
    who = member.session.user_id
    assert admin.submit(f"/team/members/{who}/remove", "/team").status_code == 303


def leaves(admin: Visitor, member: Visitor) -> None:
    who = member.session.user_id
    assert member.submit(f"/team/members/{who}/remove", "/account").status_code == 303


def changes_the_password_elsewhere(admin: Visitor, member: Visitor) -> None:
    other = Visitor(member.town, member.email)
    assert other.log_in().status_code == 303
    assert other.submit("/account/password", "/account", current=PASSWORD, new=NEW).status_code == 303


def ends_it_elsewhere(admin: Visitor, member: Visitor) -> None:
    other, mine = Visitor(member.town, member.email), member.session.session_id
    assert other.log_in().status_code == 303
    assert other.submit(f"/account/sessions/{mine}/end", "/account").status_code == 303


def logs_in_again(admin: Visitor, member: Visitor) -> None:
    assert member.submit("/log-in", "/account", email=member.email, password=PASSWORD).status_code == 303


ENDINGS: list[Callable[[Visitor, Visitor], None]] = [
    logs_out,
    resets_the_password,
    is_removed,
    leaves,
    changes_the_password_elsewhere,
    ends_it_elsewhere,
    logs_in_again,
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
def test_a_stolen_session_is_worth_nothing_afterwards(
    town: Town, admin: Visitor, ending: Callable[[Visitor, Visitor], None]
) -> None:
    """The cookie, and with it the way into a workspace whose page is open: also where memory knew it."""
    member = town.joins(admin)
    thief, before = thief_of(member), member.session
    settings, state = town.services["gateway"].settings, town.services["gateway"].app.state
    workspace = UUID(member.api("POST", "/api/v1/workspaces", json={"name": "mine"}).json()["id"])
    host = member.http.get(f"/api/v1/workspaces/{workspace}").json()["host"]
    eventually(lambda: state.knowledge.place(host), "the gateway knows the workspace")
    leave = Leave(host, workspace, before.company_id, before.user_id, before.session_id)
    pass_ = workspace_cookie.make(settings, leave, settings.clock.now())
    door = forward_auth_app(settings, state.knowledge, settings.clock)

    def enters() -> int:
        cookie = f"{workspace_cookie.name(settings)}={pass_}"
        asked = {"cookie": cookie, "x-forwarded-host": f"{host}.workspaces.localhost", "x-forwarded-method": "GET"}
        return int(town.call(ask_app, door, "GET", "/forward-auth", asked, b"").status)

    assert enters() == 200
    ending(admin, member)
    eventually(lambda: is_out(thief), "the stolen session is over")
    eventually(lambda: enters() == 401, "and so is the way into the workspace")
    # Its secret is not what the victim has now, and nothing brings it back.
    assert member.secret != thief.secret or is_out(member)
    assert thief.submit("/account/profile", name="Hırsız").status_code in (303, 403)
    assert is_out(thief)


def test_a_role_that_was_taken_is_gone_from_a_session_that_goes_on(town: Town, admin: Visitor) -> None:
    other = town.joins(admin, "admin")
    thief = thief_of(other)
    token = other.form_token("/team")
    assert thief.http.get("/api/v1/invoices").status_code == 200
    body = {"role": "member"}
    assert admin.submit(f"/team/members/{other.session.user_id}/role", "/team", **body).status_code == 303
    for _ in range(3):
        assert thief.http.get("/api/v1/invoices").status_code == 403
    form = {"csrf_token": token, "email": "mole@example.com", "role": "admin"}
    assert thief.http.post("/team/invite", data=form).status_code == 403
    assert thief.http.get("/api/v1/me").json()["user"]["role"] == "member"


@pytest.mark.parametrize("way", ["log in", "confirm", "accept an invitation"])
def test_a_session_planted_before_is_not_the_one_afterwards(town: Town, admin: Visitor, way: str) -> None:
    """Fixation: by a made-up secret, and by the attacker's own session, which ends."""
    attacker = town.joins(admin)
    planted = attacker.secret
    for secret in (planted, "x" * 43):
        victim = town.newcomer("Kurban AŞ")
        if way == "accept an invitation":
            victim = Visitor(town, f"{secret[:6]}{victim.email}")
            assert admin.submit("/team/invite", "/team", email=victim.email, role="member").status_code == 303
        victim.steal(secret)
        page = "/account" if secret == planted else "/log-in"
        token = victim.form_token(page)
        if way == "log in":
            form = {"email": victim.email, "password": PASSWORD}
            answer = victim.http.post("/log-in", data={**form, "csrf_token": token})
        elif way == "confirm":
            link = town.link(victim.email, "verify")
            answer = victim.http.post("/verify", data={"token": link, "csrf_token": token})
        else:
            form = {"token": town.link(victim.email, "invitation"), "name": "Can", "password": PASSWORD}
            answer = victim.http.post("/invitation", data={**form, "csrf_token": token})
        assert answer.status_code == 303, answer.text
        made = [one for one in answer.headers.get_list("set-cookie") if one.startswith("session=")]
        assert len(made) == 1
        assert secret not in made[0]
        assert is_out(attacker) or secret != planted


def test_two_session_cookies_are_nobodys(town: Town, people: People) -> None:
    """Cookie tossing: a page of a workspace plants its owner's session for a parent domain of ours, if a browser lets
    it. Whichever comes first, the visitor is not taken for the attacker."""
    mine, theirs = people.admin.secret, people.stranger.secret
    for pair in (f"session={theirs}; session={mine}", f"session={mine}; session={theirs}", f"session={mine};session=x"):
        answer = Visitor(town).http.get("/api/v1/me", headers={"cookie": pair})
        assert answer.status_code == 401, pair
    assert Visitor(town).http.get("/api/v1/me", headers={"cookie": f"a=b; session={mine}; c=d"}).status_code == 200


def test_a_planted_guest_cookie_makes_no_form_of_ours(town: Town, people: People) -> None:
    """Log-in CSRF: the attacker's own guest cookie and token, planted; only together are they worth a log-in, and the
    browser says that another site sent it."""
    attacker = Visitor(town)
    token = attacker.form_token("/log-in")
    victim = Visitor(town)
    form = {"email": people.stranger.email, "password": PASSWORD, "csrf_token": token}
    assert victim.http.post("/log-in", data=form).status_code == 403
    victim.http.cookies.set("guest", attacker.http.cookies["guest"], domain=COOKIE_HOST)
    for told in ({"origin": "http://a.workspaces.localhost:8080"}, {"sec-fetch-site": "same-site"}):
        assert victim.http.post("/log-in", data=form, headers=told).status_code == 403
    assert not victim.secret


def test_a_reset_ends_a_strangers_lock_and_this_browser_stays_free(town: Town, admin: Visitor) -> None:
    """An attacker who goes on guessing locks strangers' browsers only."""

    def guesses() -> None:
        for number in range(6):
            answer = Visitor(town, admin.email).log_in(f"guess {number} of many")
            assert answer.status_code == 401

    guesses()
    assert Visitor(town, admin.email).log_in().status_code == 401, "locked, and right"
    owner = Visitor(town, admin.email)
    assert owner.submit("/forgot", "/forgot", email=admin.email).status_code == 200
    token = town.link(admin.email, "reset")
    assert owner.submit("/reset", token=token, password=NEW).status_code == 303
    guesses()
    assert Visitor(town, admin.email).log_in(NEW).status_code == 401, "locked again"
    assert owner.log_in(NEW).status_code == 303
    # The browser the owner always used knows the person, too.
    admin.http.cookies.delete("session")
    assert admin.log_in(NEW).status_code == 303


def test_a_device_cookie_is_the_gateways_own_word(town: Town, admin: Visitor) -> None:
    settings = town.services["gateway"].settings
    name = devices.cookie_name(settings)
    value = admin.http.cookies.get(name, domain=COOKIE_HOST)
    assert value is not None
    user, nonce, signature = value.split(".")
    for number in range(6):
        Visitor(town, admin.email).log_in(f"guess {number} of many")
    other = town.founder("Başka AŞ").http.cookies.get(name, domain=COOKIE_HOST)
    assert other is not None
    for forged in (f"{user}.{nonce[::-1]}.{signature}", f"{user}.{nonce}.{signature[::-1]}", other, f"{user}.{nonce}."):
        browser = Visitor(town, admin.email)
        browser.http.cookies.set(name, forged, domain=COOKIE_HOST)
        assert browser.log_in().status_code == 401, forged
    browser.http.cookies.set(name, value, domain=COOKIE_HOST)
    assert browser.log_in().status_code == 303


@pytest.mark.parametrize("where", ["log-in", "forgot", "sign-up", "verify/resend"])
def test_known_and_unknown_addresses_cost_the_same_and_look_the_same(town: Town, people: People, where: str) -> None:
    """The same page, the same headers and the same number of passwords compared and hashed; never by the clock."""

    def seen(email: str) -> tuple[object, ...]:
        visitor = Visitor(town)
        form = {"email": email, "password": "not the password of anybody", "company_name": "A", "name": "Ali Veli"}
        page = "/verify" if where == "verify/resend" else f"/{where}"
        token = visitor.form_token(page)
        before, hashed = passwords.checked._value.get(), len(made)
        answer = visitor.http.post(f"/{where}", data={"csrf_token": token, **form})
        work = passwords.checked._value.get() - before, len(made) - hashed
        text = answer.text.replace(email, "…").replace(token, "…")
        headers = {name for name in answer.headers if name != "content-length"}
        return answer.status_code, answer.headers.get("location"), text, headers, work

    made: list[str] = []
    real = passwords.hash_password
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "hash_password", lambda text: (made.append(text), real(text))[1])
        known, unknown = seen(people.stranger.email), seen(f"nobody-{where.replace('/', '-')}@example.com")
    assert known == unknown


def test_every_cookie_of_ours_is_for_this_host_and_no_script(town: Town, admin: Visitor) -> None:
    """By name, over https, browsers refuse them from anybody else (`__Host-`)."""
    visitor = Visitor(town, admin.email)
    answer = visitor.log_in()
    given = [*answer.headers.get_list("set-cookie"), *Visitor(town).http.get("/log-in").headers.get_list("set-cookie")]
    assert {one.partition("=")[0] for one in given} >= {"session", "device", "guest"}
    for one in (one for one in given if "Max-Age=0" not in one):  # what is taken back
        assert "HttpOnly" in one, one
        assert "samesite=lax" in one.lower(), one
        assert "domain" not in one.lower(), one
    secure = type(town.services["gateway"].settings).model_construct(public_url="https://x.example")
    names = [part.cookie_name(secure) for part in (sessions, csrf, devices)] + [workspace_cookie.name(secure)]
    assert all(name.startswith("__Host-") for name in names)


TARGETS = [
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/%5cevil.example",
    "/%2f/evil.example",
    "https://evil.example",
    "https:evil.example",
    "http://youarecoder.localhost:8080@evil.example",
    "http://youarecoder.localhost.evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "javascript:alert(1)",
    "/dashboard/..//evil.example",
    "/.//evil.example",
    "///evil.example",
    " //evil.example",
    "/dashboard\r\nSet-Cookie: session=x",
]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_leads_elsewhere(town: Town, people: People, target: str) -> None:
    """`next` at log-in, at the way to a workspace, at the language switch; and what stands in the address itself."""
    logged_in, stranger = people.stranger, Visitor(town, people.stranger.email)
    answers = [
        logged_in.http.get("/log-in", params={"next": target}),
        logged_in.submit("/language", "/account", language="en", next=target),
        stranger.submit("/log-in", email=stranger.email, password=PASSWORD, next=target),
        stranger.http.get("/workspaces/enter", params={"host": "a", "to": target}),
    ]
    for answer in answers:
        where = urlsplit(answer.headers.get("location", "/"))
        assert not where.scheme, answer.headers
        assert not where.netloc, answer.headers
        assert where.path.startswith("/")
        assert not where.path.startswith(("//", "/\\"))
        assert "evil" not in where.path
        assert "session=x" not in answer.headers.get_list("set-cookie")
        for following in parse_qs(where.query).get("next", []):
            assert "evil" not in urlsplit(following).path
