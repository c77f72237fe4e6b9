"""How often one may ask (A14), and which language one is answered in (F6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.types import Scope

from gateway import client, limits
from gateway.assets import Assets
from gateway.limits import Limits, Rule, TooManyRequests
from tests.gateway.conftest import House, log_in, token_in


def test_a_bucket_empties_and_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: now[0])
    rule, state = Rule("test", 3, 30), Limits()
    assert [state.take(rule, "a").remaining for _ in range(3)] == [2, 1, 0]
    with pytest.raises(TooManyRequests) as refused:
        state.take(rule, "a")
    assert refused.value.retry_after == 10
    assert state.take(rule, "b").remaining == 2
    now[0] += 10
    assert state.take(rule, "a").remaining == 0
    now[0] += 1000
    assert state.take(rule, "a").headers() == {
        "RateLimit-Limit": "3",
        "RateLimit-Remaining": "2",
        "RateLimit-Reset": "10",
    }


def test_buckets_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUCKETS", 10)
    state = Limits()
    for number in range(100):
        state.take(limits.PAGES, str(number))
    assert len(state._buckets) == 10


def test_guessing_passwords_is_slowed_by_account_from_whatever_address(open_house: Callable[..., House]) -> None:
    house = open_house(rate_scale=1.0)
    house.world.somebody("a@example.com")
    statuses = []
    for number in range(12):
        browser = house.new_browser(client=(f"198.51.100.{number}", 1))
        statuses.append(log_in(browser, "A@example.com" if number % 2 else "a@example.com", "wrong").status_code)
    assert statuses == [401] * 10 + [429] * 2
    assert log_in(house.browser, "other@example.com", "wrong").status_code == 401


def test_strangers_guesses_do_not_slow_a_browser_the_owner_has_used(open_house: Callable[..., House]) -> None:
    house = open_house(rate_scale=1.0)
    house.world.somebody("a@example.com")
    owner = house.new_browser()
    assert log_in(owner, "a@example.com").status_code == 303
    del owner.cookies["session"]
    for number in range(12):
        last = log_in(house.new_browser(client=(f"198.51.100.{number}", 1)), "a@example.com", "wrong")
    assert last.status_code == 429
    assert log_in(owner, "a@example.com").status_code == 303
    del owner.cookies["session"]
    guesses = [log_in(owner, "a@example.com", "wrong").status_code for _ in range(10)]
    assert guesses[-1] == 429, "who stole that browser is slowed like anybody"


def test_one_address_cannot_try_many_accounts(open_house: Callable[..., House]) -> None:
    house = open_house(rate_scale=1.0)
    token = token_in(house.browser.get("/log-in").text)
    statuses = [
        house.browser.post(
            "/log-in", data={"email": f"{n}@example.com", "password": "x", "csrf_token": token}
        ).status_code
        for n in range(25)
    ]
    assert statuses[:20] == [401] * 20
    assert set(statuses[20:]) == {429}


def test_a_refusal_says_when_to_come_again_as_page_or_problem(open_house: Callable[..., House]) -> None:
    house = open_house(rate_scale=0.01)
    house.browser.get("/")
    page = house.browser.get("/")
    while page.status_code == 200:
        page = house.browser.get("/")
    assert page.status_code == 429
    assert int(page.headers["retry-after"]) > 0
    assert page.headers["ratelimit-remaining"] == "0"
    assert page.headers["content-type"].startswith("text/html")
    for _ in range(10):
        told = house.browser.get("/api/v1/plans")
    assert told.status_code == 429
    assert told.headers["content-type"] == "application/problem+json"
    assert told.headers["ratelimit-limit"] == "6"
    assert int(told.headers["retry-after"]) > 0


def test_every_page_tells_what_is_left(house: House) -> None:
    headers = house.browser.get("/").headers
    assert int(headers["ratelimit-remaining"]) < int(headers["ratelimit-limit"])
    assert "ratelimit-reset" in headers


def test_made_up_cookies_do_not_reach_identity_for_ever(open_house: Callable[..., House]) -> None:
    house = open_house(rate_scale=0.02)
    browser = house.new_browser()
    for number in range(40):
        browser.cookies.set("session", f"{number:043}", domain="youarecoder.localhost")
        last = browser.get("/api/v1/plans")
    assert last.status_code == 429
    assert house.world.calls.count(("POST", "/internal/sessions/resolve")) <= 13


def test_mails_to_one_address_are_few(open_house: Callable[..., House]) -> None:
    house = open_house(rate_scale=1.0)
    token = token_in(house.browser.get("/forgot").text)
    answers = [house.browser.post("/forgot", data={"email": "a@example.com", "csrf_token": token}) for _ in range(6)]
    assert [a.status_code for a in answers] == [200] * 4 + [429] * 2


def scope(peer: str, *forwarded: str) -> Scope:
    return {"client": (peer, 1), "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded]}


def test_the_last_entry_of_the_last_header_is_our_proxys_word() -> None:
    from ipaddress import ip_network

    trusted = (ip_network("10.0.0.0/8"),)
    assert client.address(scope("10.1.1.1", "1.1.1.1", "2.2.2.2, 3.3.3.3"), trusted) == "3.3.3.3"
    assert client.address(scope("11.1.1.1", "1.1.1.1"), trusted) == "11.1.1.1"
    assert client.address(scope("10.1.1.1", ""), trusted) == "10.1.1.1"
    assert client.address(scope("10.1.1.1", "1.1.1.1,"), trusted) == client.UNKNOWN
    assert client.address(scope("10.1.1.1", "1.1.1.1"), ()) == "10.1.1.1"
    assert client.address({"client": None, "headers": []}, trusted) == client.UNKNOWN
    assert client.network("2001:db8::1") == client.network("2001:db8::ffff") == "2001:db8::/64"


@pytest.mark.parametrize(
    ("wish", "language"),
    [
        ("tr-TR,tr;q=0.9", "tr"),
        ("en-GB", "en"),
        ("de,en;q=0.5,tr;q=0.4", "en"),
        ("de", "tr"),
        ("", "tr"),
        (";;q=x,", "tr"),
    ],
)
def test_the_browser_chooses_the_language(house: House, wish: str, language: str) -> None:
    assert f'lang="{language}"' in house.browser.get("/", headers={"accept-language": wish}).text


def test_the_switch_wins_over_the_browser_and_the_person_over_both(house: House) -> None:
    token = token_in(house.browser.get("/log-in").text)
    answer = house.browser.post("/language", data={"language": "tr", "next": "/log-in", "csrf_token": token})
    assert answer.headers["location"] == "/log-in"
    assert 'lang="tr"' in house.browser.get("/log-in", headers={"accept-language": "en"}).text
    browser = house.logged_in(house.world.somebody("a@example.com", language="en"))
    browser.cookies.set("language", "tr", domain="youarecoder.localhost")
    assert 'lang="en"' in browser.get("/account").text
    token = token_in(browser.get("/account").text)
    browser.post("/language", data={"language": "tr", "next": "/", "csrf_token": token})
    assert ("PATCH", "/api/v1/me") in house.world.calls
    unknown = browser.post("/language", data={"language": "xx", "next": "/team", "csrf_token": token})
    assert "set-cookie" not in unknown.headers


def test_assets_have_a_hash_and_stay_for_a_year(house: House) -> None:
    assets: Assets = house.service.app.state.templates.assets
    url = assets.url("app.css")
    answer = house.browser.get(url)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/css")
    for wrong in ("/static/app.css", "/static/../settings.py", "/static/%2e%2e/settings.py", url + "x"):
        assert house.browser.get(wrong).status_code == 404
    assert house.browser.post(url).status_code == 404
    with pytest.raises(KeyError):
        assets.url("../settings.py")


def test_buckets_are_bounded_in_size_however_long_an_address_is_typed() -> None:
    state, rule = Limits(), Rule("test", 1, 60)
    long = "a" * 10_000
    state.take(rule, long + "1")
    state.take(rule, long + "2")
    with pytest.raises(TooManyRequests):
        state.take(rule, long + "1")
    assert max(len(key) for _, key in state._buckets) <= 64
