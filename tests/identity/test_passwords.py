"""Reset by link, change by its owner."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from services.identity import bearer_secrets
from services.identity.log_in import log_in
from services.identity.models import OneTimeToken
from shared.events.identity import (
    PasswordResetRequested,
    SecurityAlert,
    SessionRevoked,
    UserVerified,
    VerificationRequested,
)
from tests.identity.conftest import PASSWORD, House, token_of

NEW = "yepyeni bir söz 8"


def ask_link(house: House) -> str:
    assert house.door("/password/forgot", email="AYSE@example.com").status_code == 202
    return token_of(house.facts(PasswordResetRequested)[-1].link)


def test_a_reset_sets_the_password_and_ends_every_session(house: House) -> None:
    founder = house.founder()
    phone = house.who(house.log_in())
    token = ask_link(house)
    assert house.facts(PasswordResetRequested)[0].expires_at == house.clock.now() + timedelta(hours=1)
    assert house.door("/password/reset", token=token, password=NEW).status_code == 200
    assert {fact.session_id for fact in house.facts(SessionRevoked)} == {founder.session_id, phone.session_id}
    assert house.resolve(founder.secret).status_code == 401
    assert house.log_in().status_code == 401
    assert house.log_in(password=NEW).status_code == 201
    assert [alert.kind for alert in house.facts(SecurityAlert)] == ["password_changed"]


def test_a_link_works_once_for_an_hour_and_for_its_purpose(house: House) -> None:
    house.sign_up()
    verify = token_of(house.facts(VerificationRequested)[0].link)
    assert house.door("/password/reset", token=verify, password=NEW).status_code == 410
    token = ask_link(house)
    assert house.door("/verification/confirm", token=token).status_code == 410
    assert house.door("/password/reset", token=token, password=NEW).status_code == 200
    assert house.door("/password/reset", token=token, password=NEW).status_code == 410
    house.clock.advance(timedelta(minutes=5))
    late = ask_link(house)
    house.clock.advance(timedelta(hours=1))
    assert house.door("/password/reset", token=late, password=NEW).status_code == 410


def test_a_weak_password_does_not_use_the_link_up(house: House) -> None:
    house.founder()
    token = ask_link(house)
    refused = house.door("/password/reset", token=token, password="password2026")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "password-common")
    assert house.door("/password/reset", token=token, password=NEW).status_code == 200


def test_two_at_once_use_a_link_once(house: House) -> None:
    house.founder()
    token = ask_link(house)
    words = [f"söz {number} çok uzun" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda w: house.door("/password/reset", token=token, password=w).status_code, words))
    assert sorted(answers) == [200, 410, 410, 410, 410, 410]
    right = words[answers.index(200)]
    assert house.log_in(password=right).status_code == 201


def test_a_log_in_at_the_moment_of_a_reset_leaves_no_session_behind(house: House) -> None:
    house.founder()
    token = ask_link(house)
    with ThreadPoolExecutor(1) as pool:
        with house.service.database.unit_of_work() as session:
            opened = log_in(session, "ayse@example.com", PASSWORD, "", "", house.clock.now())
            assert opened
            reset = pool.submit(house.door, "/password/reset", token=token, password=NEW)
            with pytest.raises(TimeoutError):
                reset.result(0.5)  # it waits for the log-in to commit, and then sees its session
        assert reset.result().status_code == 200
    assert house.resolve(opened.secret).status_code == 401


def test_a_successful_reset_ends_the_other_links_and_a_lock(house: House) -> None:
    house.founder()
    first = ask_link(house)
    house.clock.advance(timedelta(minutes=2))
    second = ask_link(house)
    assert first != second
    for _ in range(5):
        house.log_in(password="not the password")
    assert house.door("/password/reset", token=second, password=NEW).status_code == 200
    assert house.door("/password/reset", token=first, password=NEW).status_code == 410
    assert house.log_in(password=NEW).status_code == 201


def test_forgot_answers_the_same_for_all_and_mails_at_most_once_a_minute(house: House) -> None:
    house.founder()
    answers = [house.door("/password/forgot", email=email) for email in ("ayse@example.com", "nobody@example.com", "?")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(202, "{}")}
    house.door("/password/forgot", email="ayse@example.com")
    assert len(house.facts(PasswordResetRequested)) == 1


def test_the_link_goes_to_the_address_on_record(house: House) -> None:
    house.founder(email="ayse@mail.example.com")
    house.door("/password/forgot", email="ａyse@mail.example.com")  # folds to the same key
    (fact,) = house.facts(PasswordResetRequested)
    assert fact.email == "ayse@mail.example.com"


def test_a_reset_shows_that_the_address_is_theirs(house: House) -> None:
    house.sign_up()
    assert house.door("/password/reset", token=ask_link(house), password=NEW).status_code == 200
    assert len(house.facts(UserVerified)) == 1
    assert house.log_in(password=NEW).json()["user"]["verified"] is True


@pytest.mark.parametrize("token", ["x", "A" * 43, "' or true --", "ç\x00"])
def test_guessed_links_open_nothing(house: House, token: str) -> None:
    house.founder()
    ask_link(house)
    assert house.door("/password/reset", token=token, password=NEW).status_code == 410
    assert house.door("/verification/confirm", token=token).status_code == 410
    assert house.door("/invitations/look", token=token).status_code == 410


def test_the_database_holds_no_link(house: House) -> None:
    house.founder()
    token = ask_link(house)
    with house.service.database.unit_of_work() as session:
        kept = session.scalars(select(OneTimeToken.digest)).all()
    assert bearer_secrets.digest(token) in kept
    assert token.encode() not in b"".join(kept)


def test_its_owner_changes_it_and_keeps_this_session_only(house: House) -> None:
    founder = house.founder()
    phone = house.who(house.log_in())
    body = {"current": PASSWORD, "new": NEW}
    assert house.ask(founder.principal, "POST", "/api/v1/me/password", json=body).status_code == 204
    assert house.resolve(founder.secret).status_code == 200
    assert house.resolve(phone.secret).status_code == 401
    assert house.log_in(password=NEW).status_code == 201
    assert [alert.kind for alert in house.facts(SecurityAlert)] == ["password_changed"]


def test_a_stolen_session_cannot_guess_the_password_for_long(house: House) -> None:
    founder = house.founder()

    def change(current: str, new: str = NEW) -> tuple[int, str]:
        body = {"current": current, "new": new}
        answer = house.ask(founder.principal, "POST", "/api/v1/me/password", json=body)
        return answer.status_code, answer.json()["errors"][0]["code"] if answer.status_code == 422 else ""

    for _ in range(5):
        assert change("not the password") == (422, "wrong-password")
    assert change(PASSWORD) == (422, "wrong-password")
    assert house.log_in().status_code == 201, "that locks changes, not log-ins"
    house.clock.advance(timedelta(minutes=30))
    assert change(PASSWORD, "password2026") == (422, "password-common")
    assert change(PASSWORD) == (204, "")
