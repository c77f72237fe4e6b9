"""Sign-up, verification, welcome: the main path and what goes wrong around it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from shared.events.identity import (
    CompanyCreated,
    SecurityAlert,
    UserRegistered,
    UserVerified,
    VerificationRequested,
)
from tests.callers import headers, the_gateway
from tests.identity.conftest import APPLICATION, House, token_of


def test_sign_up_tells_company_user_and_link_in_this_order(house: House) -> None:
    answer = house.sign_up()
    assert (answer.status_code, answer.json()) == (202, {"email": "ayse@example.com"})
    company, user, link = house.facts()
    assert isinstance(company, CompanyCreated)
    assert (company.name, company.country, company.timezone) == ("Örnek A.Ş.", "TR", "Europe/Istanbul")
    assert (company.wanted_plan, company.created_at) == ("team", house.clock.now())
    assert isinstance(user, UserRegistered)
    assert (user.role, user.company_id, user.language) == ("admin", company.company_id, "tr")
    assert isinstance(link, VerificationRequested)
    assert link.welcome
    assert link.link.startswith("http://youarecoder.localhost:8080/verify?token=")
    assert link.expires_at == house.clock.now() + timedelta(hours=24)


def test_the_link_confirms_and_logs_in_once(house: House) -> None:
    house.sign_up()
    token = token_of(house.facts(VerificationRequested)[0].link)
    first = house.door("/verification/confirm", token=token)
    assert first.status_code == 200
    assert first.json()["user"]["verified"] is True
    assert house.resolve(first.json()["secret"]).json()["email"] == "ayse@example.com"
    assert len(house.facts(UserVerified)) == 1
    again = house.door("/verification/confirm", token=token)
    assert (again.status_code, again.json()["type"]) == (410, "/problems/link-expired")


def test_before_confirming_one_may_log_in_but_not_act_for_the_company(house: House) -> None:
    house.sign_up()
    someone = house.who(house.log_in())
    assert house.ask(someone.principal, "GET", "/api/v1/me").json()["user"]["verified"] is False
    refused = house.ask(someone.principal, "GET", "/api/v1/company")
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/mail-not-verified")


def test_the_link_dies_after_a_day(house: House) -> None:
    house.sign_up()
    token = token_of(house.facts(VerificationRequested)[0].link)
    house.clock.advance(timedelta(hours=24))
    assert house.door("/verification/confirm", token=token).status_code == 410


def test_another_link_at_most_once_a_minute_and_ten_a_day_and_silently(house: House) -> None:
    house.sign_up()
    assert house.door("/verification/resend", email="AYSE@example.com").status_code == 202
    assert len(house.facts(VerificationRequested)) == 1
    for _ in range(20):
        house.clock.advance(timedelta(seconds=61))
        assert house.door("/verification/resend", email="ayse@example.com").json() == {}
    links = house.facts(VerificationRequested)
    assert len(links) == 10
    assert not links[1].welcome
    house.clock.advance(timedelta(days=1))
    house.door("/verification/resend", email="ayse@example.com")
    assert len(house.facts(VerificationRequested)) == 11


def test_confirming_kills_the_other_links(house: House) -> None:
    house.sign_up()
    house.clock.advance(timedelta(minutes=2))
    house.door("/verification/resend", email="ayse@example.com")
    old, new = (token_of(fact.link) for fact in house.facts(VerificationRequested))
    assert house.door("/verification/confirm", token=new).status_code == 200
    assert house.door("/verification/confirm", token=old).status_code == 410
    house.clock.advance(timedelta(minutes=2))
    house.door("/verification/resend", email="ayse@example.com")
    assert len(house.facts(VerificationRequested)) == 2


def test_a_known_address_gets_the_same_answer_and_its_owner_an_alert(house: House) -> None:
    first = house.sign_up()
    second = house.sign_up(email=" AYSE@Example.COM ", company_name="Başka")
    assert first.status_code == second.status_code
    assert second.json().keys() == first.json().keys()
    assert len(house.facts(CompanyCreated)) == 1
    (alert,) = house.facts(SecurityAlert)
    assert (alert.kind, alert.email, alert.ip) == ("account_exists", "ayse@example.com", "203.0.113.7")
    for _ in range(20):
        house.sign_up()
    assert len(house.facts(SecurityAlert)) == 1, "nobody's mailbox is filled through us"


def test_ten_sign_ups_at_once_make_one_company(house: House) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: house.sign_up().status_code, range(10)))
    assert answers == [202] * 10
    assert [len(house.facts(kind)) for kind in (CompanyCreated, UserRegistered, VerificationRequested)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("kısa7!", "password-too-short"),
        ("password123!", "password-common"),
        ("P@ssw0rd2026", "password-common"),
        ("Galatasaray1905", "password-common"),
        ("seniseviyorum", "password-common"),
        ("ŞİFREŞİFRE", "password-common"),
        ("1234567890", "password-common"),
        ("qwertyuiop", "password-common"),
        ("aaaaaaaaaaaa", "password-common"),
        ("05321234567", "password-common"),
        ("AYSE@example.com", "password-is-email"),
        ("ayşe yılmaz", "password-is-email"),
        ("Örnek A.Ş.", "password-is-email"),
    ],
)
def test_weak_passwords_are_named(house: House, password: str, code: str) -> None:
    answer = house.sign_up(password=password)
    assert answer.status_code == 422
    assert [(e["field"], e["code"]) for e in answer.json()["errors"]] == [("password", code)]
    assert house.facts() == []


@pytest.mark.parametrize("password", ["kırk7 katır mı?", "tr0ubled.Hippo!", "x" * 3 + "Vq9#mm2 L", "çay-simit-vapur"])
def test_good_passwords_pass(house: House, password: str) -> None:
    assert house.sign_up(password=password).status_code == 202


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "ayse"},
        {"email": "ayse@example.com\r\nBcc: all@example.com"},
        {"email": "аyse@example.com"},  # a Cyrillic look-alike
        {"email": "a" * 65 + "@example.com"},
        {"email": "a@" + "b" * 300 + ".com"},
        {"email": 5},
        {"name": ""},
        {"name": "   "},
        {"name": "x" * 81},
        {"name": "Ayşe\r\nBcc: all@example.com"},
        {"name": "Ay\x00şe"},
        {"name": "\u202egnp.exe"},
        {"name": "\ud800"},
        {"company_name": "Win at https://evil.example"},
        {"company_name": "\u200b\u200b"},
        {"country": "XX"},
        {"country": "tr"},
        {"language": "de"},
        {"timezone": "Mars/Olympus"},
        {"timezone": "../../etc/passwd"},
        {"wanted_plan": "<script>"},
        {"password": "ab" * 101},
        {"role": "admin"},
        {"staff": True},
    ],
)
def test_wrong_fields_are_refused(house: House, changes: dict[str, Any]) -> None:
    body = json.dumps({**APPLICATION, **changes})
    sent = {**headers(the_gateway(), house.clock.now()), "content-type": "application/json"}
    answer = house.client.post("/internal/sign-up", content=body, headers=sent)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]
    assert house.facts() == []


def test_a_body_larger_than_we_read_is_refused(house: House) -> None:
    answer = house.sign_up(name="x" * 100_000)
    assert answer.status_code in (400, 413)
    assert answer.headers["content-type"] == "application/problem+json"
