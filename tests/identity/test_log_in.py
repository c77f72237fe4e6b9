"""Log-in, the lock, sessions; and what a stranger can learn or take, which is nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import bcrypt
import pytest
from sqlalchemy import func, select, update

from services.identity import login_failures, mail_limits, passwords
from services.identity.housekeeping import Housekeeper
from services.identity.models import LoginFailures, LoginSession, User
from shared.events.identity import SecurityAlert, SessionRevoked
from shared.ids import new_id
from tests.callers import a_member
from tests.identity.conftest import PASSWORD, House, LoggedIn, seconds


def fail(house: House, times: int, email: str = "ayse@example.com") -> None:
    for _ in range(times):
        assert house.log_in(email, "not the password").status_code == 401


def checks() -> float:
    return passwords.checked._value.get()


def without_id(answer: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in answer.items() if name != "correlation_id"}


def test_log_in_gives_a_session_and_log_out_ends_it(house: House) -> None:
    founder = house.founder()
    answer = house.log_in(" AYSE@Example.com ")
    assert answer.status_code == 201
    body = answer.json()
    assert body["expires_at"].startswith("2026-12-22T09:30")
    assert len(body["secret"]) == 43
    principal = house.resolve(body["secret"]).json()
    assert principal["user_id"] == str(founder.user_id)
    assert principal["company_name"] == "Örnek A.Ş."
    assert (principal["role"], principal["staff"], principal["timezone"]) == ("admin", False, "Europe/Istanbul")
    assert house.door("/sessions/end", secret=body["secret"]).status_code == 204
    assert house.door("/sessions/end", secret=body["secret"]).status_code == 204
    assert house.resolve(body["secret"]).status_code == 401
    assert [str(fact.session_id) for fact in house.facts(SessionRevoked)] == [body["session_id"]]


def test_unknown_wrong_and_locked_are_one_answer_by_one_path(house: House) -> None:
    house.founder()
    seen = []
    for email in ("ayse@example.com", "nobody@example.com", "no address at all", "nul\0@example.com"):
        for _ in range(7):  # the last two are locked
            before = checks()
            answer = house.log_in(email, "not the password")
            seen.append((answer.status_code, str(without_id(answer.json())), checks() - before))
    before = checks()
    answer = house.log_in()  # right, and locked
    seen.append((answer.status_code, str(without_id(answer.json())), checks() - before))
    assert len(set(seen)) == 1
    assert seen[0][0] == 401
    assert seen[0][2] == 1, "each attempt compares one hash"


def test_what_may_tell_nothing_takes_its_time_whatever_happened(new_house: Callable[..., House]) -> None:
    """Longer than either path needs, so that the clock does not tell whose an address is."""
    house = new_house(refusal_time=timedelta(seconds=0.4))
    house.founder()
    for email in ("ayse@example.com", "nobody@example.com"):
        for ask in (
            lambda e=email: house.log_in(e, "not the password"),
            lambda e=email: house.door("/password/forgot", email=e),
            lambda e=email: house.door("/verification/resend", email=e),
            lambda e=email: house.sign_up(email=e),
        ):
            assert seconds(ask) >= 0.4


NONCE = "a" * 22


def device_of(who: LoggedIn, nonce: str = NONCE) -> dict[str, str]:
    return {"user_id": str(who.user_id), "nonce": nonce}


def from_device(house: House, device: dict[str, str], password: str = PASSWORD) -> int:
    body = {"email": "ayse@example.com", "password": password, "device": device}
    return house.door("/sessions", **body).status_code


def test_who_locks_an_account_does_not_keep_its_owner_out_of_a_known_device(house: House) -> None:
    founder = house.founder()
    fail(house, 5)
    assert house.log_in().status_code == 401, "locked for strangers"
    assert from_device(house, device_of(founder)) == 201
    assert house.log_in().status_code == 401, "and still so: the owner's log-in gives nobody new guesses"


def test_a_known_device_guesses_no_more_than_a_stranger(house: House) -> None:
    """A stolen device cookie: five guesses, then a lock, which is the device's alone."""
    founder = house.founder()
    for _ in range(5):
        assert from_device(house, device_of(founder), "not the password") == 401
    assert from_device(house, device_of(founder)) == 401
    assert from_device(house, device_of(founder, "b" * 22)) == 201
    assert house.log_in().status_code == 201


def test_a_device_is_its_owners_only(house: House) -> None:
    """An attacker's own device cookie buys no guesses at somebody else's account."""
    house.founder()
    other = house.founder(email="kotu@example.com", company_name="Kötü")
    fail(house, 4)
    assert from_device(house, device_of(other), "not the password") == 401, "counted with the strangers': the fifth"
    assert from_device(house, device_of(other)) == 401
    assert house.log_in().status_code == 401


@pytest.mark.parametrize("device", [{"user_id": "x", "nonce": NONCE}, {"user_id": str(new_id()), "nonce": ""}, {}, "x"])
def test_odd_devices_are_refused(house: House, device: object) -> None:
    body = {"email": "ayse@example.com", "password": PASSWORD, "device": device}
    assert house.door("/sessions", **body).status_code == 422


def test_five_in_a_row_lock_for_half_an_hour_and_tell_the_owner_once(house: House) -> None:
    house.founder()
    fail(house, 4)
    assert house.log_in().status_code == 201, "four are forgiven"
    fail(house, 5)
    assert house.log_in().status_code == 401
    fail(house, 20)
    (alert,) = house.facts(SecurityAlert)
    assert (alert.kind, alert.email, alert.happened_at) == ("account_locked", "ayse@example.com", house.clock.now())
    house.clock.advance(timedelta(minutes=29, seconds=59))
    assert house.log_in().status_code == 401
    house.clock.advance(timedelta(seconds=1))
    assert house.log_in().status_code == 201


def test_after_a_lock_five_are_free_again(house: House) -> None:
    house.founder()
    fail(house, 5)
    house.clock.advance(timedelta(minutes=31))
    fail(house, 4)
    assert house.log_in().status_code == 201


def test_a_lock_throws_nobody_out_and_fills_no_mailbox(house: House) -> None:
    founder = house.founder()
    for _ in range(12):
        fail(house, 5)
        house.clock.advance(timedelta(minutes=31))
    assert house.resolve(founder.secret).status_code == 200
    assert len(house.facts(SecurityAlert)) == mail_limits.ACCOUNT_LOCKED.a_day


def test_locking_an_unknown_address_tells_nobody(house: House) -> None:
    fail(house, 8, "nobody@example.com")
    assert house.facts() == []


def test_attempts_at_once_do_not_dodge_the_lock(house: House) -> None:
    house.founder()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: house.log_in(password=f"guess {n} of many").status_code, range(16)))
    assert set(answers) == {401}
    assert house.log_in().status_code == 401, "locked by the first five"
    assert len(house.facts(SecurityAlert)) == 1


def test_too_many_at_once_are_told_to_come_again(house: House) -> None:
    turns = [passwords.turn() for _ in range(passwords.PARALLEL)]
    for held in turns:
        held.__enter__()
    places = 0
    try:
        while passwords._queue.acquire(blocking=False):
            places += 1
        assert places == passwords.WAITING
        answer = house.log_in()
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/busy")
    finally:
        for _ in range(places):
            passwords._queue.release()
        for held in turns:
            held.__exit__(None, None, None)
    assert house.log_in().status_code == 401


def test_an_imported_bcrypt_hash_opens_and_is_upgraded(house: House) -> None:
    founder = house.founder()
    old = bcrypt.hashpw(b"the old platform's word", bcrypt.gensalt(4)).decode()
    with house.service.database.unit_of_work() as session:
        session.execute(update(User).values(password_hash=old))
    assert house.log_in(password="not it at all").status_code == 401
    assert house.log_in(password="the old platform's word").status_code == 201
    with house.service.database.unit_of_work() as session:
        assert session.get_one(User, founder.user_id).password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert house.log_in(password="the old platform's word").status_code == 201


@pytest.mark.parametrize("password", ["x" * 73, "nul\x00inside it", "ö" * 60])
def test_odd_passwords_against_bcrypt_are_wrong_not_errors(house: House, password: str) -> None:
    house.founder()
    old = bcrypt.hashpw(b"something else", bcrypt.gensalt(4)).decode()
    with house.service.database.unit_of_work() as session:
        session.execute(update(User).values(password_hash=old))
    assert house.log_in(password=password).status_code == 401


def test_the_same_password_typed_in_another_form_is_the_same(house: House) -> None:
    house.founder(password="çılgın köprü 7")
    assert house.log_in(password="c\u0327ılgın ko\u0308pru\u0308 7").status_code == 201


def test_only_digests_are_kept_and_no_secret_comes_from_a_client(house: House) -> None:
    founder = house.founder()
    with house.service.database.unit_of_work() as session:
        stored = session.scalars(select(LoginSession.digest)).all()
    assert founder.secret.encode() not in b"".join(stored)
    mine = "A" * 43
    answer = house.door("/sessions", email="ayse@example.com", password=PASSWORD, user_agent="", secret=mine)
    assert answer.status_code == 422
    assert house.resolve(mine).status_code == 401
    secrets = {house.log_in().json()["secret"] for _ in range(3)}
    assert len(secrets) == 3


@pytest.mark.parametrize("secret", ["x", "ç" * 43, "\x00" * 43, "' or 1=1 --", "A" * 200])
def test_guessed_secrets_open_nothing(house: House, secret: str) -> None:
    assert house.resolve(secret).status_code == 401
    assert house.door("/sessions/end", secret=secret).status_code == 204


def test_a_session_lasts_thirty_days_and_survives_two_quiet_weeks(house: House) -> None:
    founder = house.founder()
    house.clock.advance(timedelta(days=14))
    assert house.resolve(founder.secret).status_code == 200
    house.clock.advance(timedelta(days=15, hours=23))
    assert house.resolve(founder.secret).status_code == 200
    house.clock.advance(timedelta(hours=1))
    assert house.resolve(founder.secret).status_code == 401


def test_last_seen_is_written_once_a_minute(house: House) -> None:
    founder = house.founder()

    def seen() -> object:
        with house.service.database.unit_of_work() as session:
            return session.get_one(LoginSession, founder.session_id).last_seen_at

    first = seen()
    house.clock.advance(timedelta(seconds=59))
    house.resolve(founder.secret)
    assert seen() == first
    house.clock.advance(timedelta(seconds=1))
    house.resolve(founder.secret)
    assert seen() == house.clock.now()


def test_sessions_are_listed_and_ended_by_their_owner_only(house: House) -> None:
    founder = house.founder()
    other = house.founder(email="eve@example.com")
    phone = house.who(house.log_in())
    page = house.ask(founder.principal, "GET", "/api/v1/sessions").json()
    assert [(row["id"], row["current"]) for row in page["items"]] == [
        (str(phone.session_id), False),
        (str(founder.session_id), True),
    ]
    assert (page["items"][0]["user_agent"], page["items"][0]["ip"]) == ("Firefox", "203.0.113.7")
    assert "secret" not in str(page)
    assert "digest" not in str(page)
    path = f"/api/v1/sessions/{phone.session_id}"
    assert house.ask(other.principal, "DELETE", path).status_code == 404
    assert house.resolve(phone.secret).status_code == 200
    assert house.ask(founder.principal, "DELETE", path).status_code == 204
    assert house.resolve(phone.secret).status_code == 401
    assert house.ask(founder.principal, "DELETE", path).status_code == 404
    assert house.facts(SessionRevoked)[-1].session_id == phone.session_id


def test_pages_of_sessions(house: House) -> None:
    founder = house.founder()
    for _ in range(4):
        house.log_in()
    seen, cursor = [], ""
    while True:
        page = house.ask(founder.principal, "GET", f"/api/v1/sessions?limit=2{cursor}").json()
        seen += [row["id"] for row in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len(set(seen)) == len(seen) == 5
    assert seen == sorted(seen, reverse=True)
    assert house.ask(founder.principal, "GET", "/api/v1/sessions?cursor=ş").status_code == 422


def test_the_oldest_of_too_many_sessions_gives_way(house: House) -> None:
    founder = house.founder()
    with house.service.database.unit_of_work() as session:
        for number in range(49):
            session.add(
                LoginSession(
                    id=new_id(),
                    user_id=founder.user_id,
                    digest=b"%d" % number,
                    created_at=house.clock.now(),
                    last_seen_at=house.clock.now(),
                    expires_at=house.clock.now() + timedelta(days=1),
                    ip="",
                    user_agent="",
                )
            )
    assert house.resolve(founder.secret).status_code == 200
    newest = house.log_in().json()["secret"]
    assert house.resolve(founder.secret).status_code == 401
    assert house.resolve(newest).status_code == 200


@pytest.mark.parametrize(
    "path", ["/sign-up", "/sessions", "/sessions/resolve", "/password/forgot", "/invitations/look"]
)
def test_the_inner_doors_open_for_the_gateway_only(house: House, path: str) -> None:
    founder = house.founder()
    for who, status in ((None, 401), (founder.principal, 403), (a_member(staff=True), 403)):
        assert house.ask(who, "POST", f"/internal{path}", json={}).status_code == status


def test_a_tokens_bearer_who_has_no_account_here_is_nobody(house: House) -> None:
    for path in ("/me", "/company", "/members", "/sessions"):
        assert house.ask(a_member(), "GET", f"/api/v1{path}").status_code == 401
    assert house.ask(a_member(staff=True), "GET", "/api/v1/admin/companies").status_code == 401


def test_housekeeping_takes_what_is_over_and_only_that(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.identity.housekeeping.BATCH", 2)
    monkeypatch.setattr("services.identity.housekeeping.UNKNOWN_KEPT", 3)
    house.founder()
    fail(house, 1)
    for number in range(8):
        fail(house, 1, f"nobody{number}@example.com")
    keeper = Housekeeper(house.service.database, house.clock)
    assert keeper.clean() == 5, "the flood, down to what is kept"
    with house.service.database.unit_of_work() as session:
        assert session.scalar(select(func.count()).where(LoginFailures.known)) == 1
    house.clock.advance(timedelta(days=29))
    fresh: LoggedIn = house.who(house.log_in())
    house.clock.advance(timedelta(days=1))
    assert keeper.clean() > 0
    assert house.resolve(fresh.secret).status_code == 200
    with house.service.database.unit_of_work() as session:
        assert session.scalars(select(LoginSession.id)).all() == [fresh.session_id]
        assert session.scalar(select(func.count()).select_from(LoginFailures)) == 0


def test_the_count_is_kept_under_a_digest_whatever_was_typed(house: House) -> None:
    fail(house, 1, "x" * 320)
    with house.service.database.unit_of_work() as session:
        assert [len(subject) for subject in session.scalars(select(LoginFailures.subject))] == [32]
    assert login_failures.ALLOWED == 5
