"""Whatever is typed: an answer below 500, problem+json, and nothing half done."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.identity import mail_addresses, names, password_rules
from shared.errors import Invalid
from shared.events.identity import CompanyCreated
from tests.callers import headers, the_gateway
from tests.identity.conftest import PASSWORD, House

SLOW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
anything = st.text(st.characters(), max_size=120)  # surrogates and control characters, too
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
mails = (
    anything | st.emails() | st.builds(lambda a, b: f"{a}@{b}", anything, st.sampled_from(["example.com", "ör.nek"]))
)

DOORS = {
    "/sign-up": ["company_name", "name", "email", "password", "language", "country", "timezone", "wanted_plan"],
    "/verification/resend": ["email"],
    "/verification/confirm": ["token", "user_agent"],
    "/sessions": ["email", "password", "user_agent"],
    "/sessions/resolve": ["secret"],
    "/sessions/end": ["secret"],
    "/password/forgot": ["email"],
    "/password/reset": ["token", "password"],
    "/invitations/look": ["token"],
    "/invitations/accept": ["token", "name", "password", "language"],
}


def post(house: House, path: str, body: Any) -> int:
    sent = {**headers(the_gateway(), house.clock.now()), "content-type": "application/json"}
    answer = house.client.post(f"/internal{path}", content=json.dumps(body), headers=sent)
    assert answer.status_code < 500, (path, body, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code


@SLOW
@given(mails, anything, anything)
def test_any_mail_and_name_signs_up_or_is_refused(house: House, email: str, name: str, company: str) -> None:
    before = len(house.facts(CompanyCreated))
    body = {"company_name": company, "name": name, "email": email, "password": PASSWORD, "language": "tr"}
    status = post(house, "/sign-up", body)
    assert status in (202, 422)
    assert status == 202 or len(house.facts(CompanyCreated)) == before


@pytest.mark.parametrize("path", DOORS)
@settings(SLOW, max_examples=15)
@given(st.data())
def test_any_body_at_any_door(house: House, path: str, data: st.DataObject) -> None:
    fields = {name: data.draw(anything | values) for name in DOORS[path]}
    assert post(house, path, data.draw(st.just(fields) | values)) < 500


@SLOW
@given(anything, anything)
def test_any_words_at_the_peoples_doors(house: House, one: str, two: str) -> None:
    admin = house.who(house.log_in()) if house.facts() else house.founder()
    for method, path, body in (
        ("PATCH", "/me", {"name": one}),
        ("PATCH", "/company", {"name": one, "address": two, "tax_office": one, "tax_id": two}),
        ("POST", "/invitations", {"email": one, "role": "member"}),
        ("POST", "/invitations", {"email": one, "role": two}),
        ("POST", "/me/password", {"current": one, "new": two}),
    ):
        sent = {**headers(admin.principal, house.clock.now()), "content-type": "application/json"}
        answer = house.client.request(method, f"/api/v1{path}", content=json.dumps(body), headers=sent)
        assert answer.status_code < 500, (path, body, answer.text)


@given(mails)
def test_the_key_of_an_address_is_the_key_of_its_key(email: str) -> None:
    try:
        parsed = mail_addresses.parse(email)
    except ValueError:
        return
    key = mail_addresses.key(email)
    assert key == mail_addresses.key(parsed) == mail_addresses.key(key) == mail_addresses.key(f"  {email.upper()} ")
    assert key.isascii()
    assert len(parsed) <= mail_addresses.MAX_LENGTH


@pytest.mark.parametrize("text", ["straße@example.com", "ay\0se@example.com", "strasse@example.com@", ""])
def test_what_is_no_address_is_nobodys(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        mail_addresses.parse(text)
    assert mail_addresses.key(text).startswith("no address: ")
    assert "\0" not in mail_addresses.key(text)


@given(anything)
def test_a_cleaned_name_is_clean_and_fits_a_header(text: str) -> None:
    try:
        name = names.clean(text)
    except ValueError:
        return
    assert name == names.clean(name)
    assert 1 <= len(name) <= 80
    assert not set(name) & set("\r\n\0\u2028\u202e")
    name.encode()


@given(anything, mails)
def test_password_rules_never_break(password: str, email: str) -> None:
    faults: list[str] = []
    try:
        password_rules.check(password, email, "Ayşe")
    except Invalid as fault:
        faults = [error.code for error in fault.errors]
    assert len(faults) <= 1
    assert set(faults) <= {"password-too-short", "password-common", "password-is-email"}
    assert ("password-too-short" in faults) == (len(password) < password_rules.MIN_LENGTH)
