"""Logging in and out: nobody's session but one's own, and no session that outlives its end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.events.identity import MemberRemoved, MemberRoleChanged, SessionRevoked
from tests.gateway.conftest import PLATFORM, House, log_in, token_in


def test_logging_in_sets_a_host_only_cookie_and_leads_back(house: House) -> None:
    house.world.somebody("a@example.com")
    answer = log_in(house.browser, "a@example.com", next="/team?x=1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/team?x=1"
    cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith("session="))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert "domain" not in cookie.lower()
    assert house.browser.get("/dashboard").status_code == 200


def test_over_https_the_cookie_is_bound_to_the_host_by_its_name(open_house: object) -> None:
    house: House = open_house(public_url="https://youarecoder.example")  # type: ignore[operator]
    house.world.somebody("a@example.com")
    answer = log_in(house.browser, "a@example.com")
    cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith("__Host-session="))
    assert "Secure" in cookie
    assert answer.headers["strict-transport-security"]


def test_a_planted_session_is_neither_used_nor_kept(house: House) -> None:
    """Fixation: the secret after log-in is never one the browser came with, and the old session ends."""
    house.world.somebody("victim@example.com")
    attacker = house.world.somebody("attacker@example.com")
    planted, _ = house.world.log_in(attacker)
    house.browser.cookies.set("session", planted, domain="youarecoder.localhost")
    page = house.browser.get("/account")
    answer = house.browser.post(
        "/log-in",
        data={
            "email": "victim@example.com",
            "password": "correct horse battery staple",
            "csrf_token": token_in(page.text),
        },
    )
    assert answer.status_code == 303
    assert planted not in "".join(answer.headers.get_list("set-cookie"))
    assert planted not in house.world.sessions


def test_a_wrong_password_keeps_the_mail_address_and_says_why(house: House) -> None:
    answer = log_in(house.browser, "nobody@example.com", "wrong")
    assert answer.status_code == 401
    assert "nobody@example.com" in answer.text
    assert "wrong" not in answer.text.split("<form")[1]
    assert "set-cookie" not in answer.headers or "session=" not in answer.headers["set-cookie"]


def test_identity_is_asked_once_a_minute(house: House) -> None:
    browser = house.logged_in(house.world.somebody("a@example.com"))
    for _ in range(3):
        assert browser.get("/account").status_code == 200
    assert house.world.calls.count(("POST", "/internal/sessions/resolve")) == 1
    house.clock.advance(timedelta(seconds=61))
    browser.get("/account")
    assert house.world.calls.count(("POST", "/internal/sessions/resolve")) == 2


def test_a_revoked_session_ends_at_once_though_memory_knew_it(house: House) -> None:
    who = house.world.somebody("a@example.com")
    browser = house.logged_in(who)
    assert browser.get("/account").status_code == 200
    secret = browser.cookies["session"]
    session_id = house.world.sessions[secret][0]
    # Identity still says yes: the answer and the event may cross.
    house.hear(
        SessionRevoked(
            company_id=who.company_id, session_id=session_id, user_id=who.user_id, revoked_at=house.clock.now()
        )
    )
    answer = browser.get("/account")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/log-in?next=%2Faccount&expired=1"


@pytest.mark.parametrize("event", [MemberRemoved, MemberRoleChanged])
def test_a_changed_membership_is_asked_anew(house: House, event: type) -> None:
    who = house.world.somebody("a@example.com")
    browser = house.logged_in(who)
    assert browser.get("/settings").status_code == 200
    who.role = "member"
    more = {"role": "member"} if event is MemberRoleChanged else {}
    house.hear(event(company_id=who.company_id, user_id=who.user_id, **more))
    answer = browser.post("/settings", data={"name": "x", "csrf_token": token_in(browser.get("/account").text)})
    assert answer.status_code == 403


def test_logging_out_ends_the_session_at_identity(house: House) -> None:
    browser = house.logged_in(house.world.somebody("a@example.com"))
    token = token_in(browser.get("/account").text)
    answer = browser.post("/log-out", data={"csrf_token": token})
    assert answer.status_code == 303
    assert house.world.sessions == {}
    assert browser.get("/account").status_code == 303


def test_an_expired_session_leads_to_log_in_and_back(house: House) -> None:
    house.browser.cookies.set("session", "x" * 43, domain="youarecoder.localhost")
    answer = house.browser.get("/team?cursor=abc")
    assert answer.headers["location"] == "/log-in?next=%2Fteam%3Fcursor%3Dabc&expired=1"
    lost = house.browser.post("/team/invite", data={}, headers={"referer": f"{PLATFORM}/team"})
    assert lost.headers["location"].startswith("/log-in?next=%2Fteam")
    foreign = house.browser.post("/team/invite", data={}, headers={"referer": "https://evil.example/team"})
    assert foreign.headers["location"].startswith("/log-in?next=%2Fdashboard")


def test_an_unverified_person_is_led_to_the_mail_page(house: House) -> None:
    browser = house.logged_in(house.world.somebody("a@example.com", verified=False))
    answer = browser.get("/dashboard")
    assert (answer.status_code, answer.headers["location"]) == (303, "/verify")
    assert "a@example.com" in browser.get("/verify").text


def test_a_link_in_a_mail_confirms_only_by_a_button(house: House) -> None:
    house.world.somebody("a@example.com")
    page = house.browser.get("/verify?token=a@example.com")
    assert ("POST", "/internal/verification/confirm") not in house.world.calls
    token = token_in(page.text)
    answer = house.browser.post("/verify", data={"token": "a@example.com", "csrf_token": token})
    assert answer.headers["location"] == "/dashboard?done=verified"
    assert house.browser.get("/dashboard").status_code == 200


def test_a_used_link_says_so(house: House) -> None:
    token = token_in(house.browser.get("/log-in").text)
    answer = house.browser.post("/verify", data={"token": "used", "csrf_token": token})
    assert answer.status_code == 410
    assert house.browser.post("/reset", data={"token": "used", "csrf_token": token}).status_code == 410
    assert house.browser.get("/invitation?token=used").status_code == 410


def test_sign_up_keeps_what_was_typed_and_never_the_password(house: House) -> None:
    token = token_in(house.browser.get("/sign-up?plan=team").text)
    typed = {
        "company_name": 'Şirket "A"',
        "name": "İpek",
        "email": "i@example.com",
        "password": "short",
        "wanted_plan": "team",
    }
    answer = house.browser.post("/sign-up", data={**typed, "csrf_token": token})
    assert answer.status_code == 422
    assert "İpek" in answer.text
    assert "Şirket &#34;A&#34;" in answer.text
    assert 'value="short"' not in answer.text
    good = house.browser.post("/sign-up", data={**typed, "password": "x" * 20, "csrf_token": token})
    assert good.headers["location"] == "/verify?done=written"
    assert "i@example.com" in house.browser.get("/verify").text


def test_names_are_escaped(house: House) -> None:
    """S22: what people call themselves is text."""
    browser = house.logged_in(house.world.somebody("a@example.com"))
    assert "<b>Yılmaz" not in browser.get("/team").text
    assert "&lt;b&gt;Yılmaz" in browser.get("/team").text


def test_without_identity_nobody_is_anybody(house: House) -> None:
    browser = house.logged_in(house.world.somebody("a@example.com"))
    services = house.service.app.state.services
    services.upstreams = {name: up for name, up in services.upstreams.items() if name != "identity"}
    assert browser.get("/dashboard").status_code == 503
