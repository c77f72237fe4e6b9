"""Roles, members, invitations; the last admin; and nobody sees another company."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from services.identity import invitations, members
from shared.events.identity import (
    CompanyCreated,
    CompanyUpdated,
    MemberInvited,
    MemberJoined,
    MemberRemoved,
    MemberRoleChanged,
    SessionRevoked,
    UserRegistered,
    UserUpdated,
    VerificationRequested,
)
from shared.ids import new_id
from tests.identity.conftest import PASSWORD, House, LoggedIn, token_of


def invite(house: House, admin: LoggedIn, email: str = "can@example.com", **more: Any) -> Any:
    given = more.pop("given", {})
    return house.ask(
        admin.principal, "POST", "/api/v1/invitations", json={"email": email, "role": "member", **more}, **given
    )


def last_token(house: House) -> str:
    return token_of(house.facts(MemberInvited)[-1].link)


def accept(house: House, token: str, **changes: Any) -> Any:
    body = {"token": token, "name": "Can Demir", "password": PASSWORD, "language": "en", **changes}
    return house.door("/invitations/accept", **body)


def test_invited_looked_at_accepted(house: House) -> None:
    admin = house.founder()
    made = invite(house, admin)
    assert made.status_code == 201
    assert made.json()["invited_by"] == "Ayşe Yılmaz"
    fact = house.facts(MemberInvited)[0]
    assert fact.link.startswith("http://youarecoder.localhost:8080/invitation?token=")
    assert (fact.company_name, fact.role, fact.language) == ("Örnek A.Ş.", "member", "tr")
    assert fact.expires_at == house.clock.now() + timedelta(days=7)
    token = last_token(house)
    assert house.door("/invitations/look", token=token).json() == {
        "email": "can@example.com",
        "company_name": "Örnek A.Ş.",
        "invited_by": "Ayşe Yılmaz",
        "role": "member",
        "language": "tr",
    }
    joined = house.who(accept(house, token))
    assert joined.company_id == admin.company_id
    assert house.resolve(joined.secret).json()["verified"] is True
    assert house.facts(UserRegistered)[-1].role == "member"
    assert house.facts(MemberJoined)[0].user_id == joined.user_id
    assert len(house.facts(VerificationRequested)) == 1, "who came by a link needs no other"
    assert accept(house, token).status_code == 410
    assert house.ask(admin.principal, "GET", "/api/v1/invitations").json()["items"] == []
    people = house.ask(joined.principal, "GET", "/api/v1/members").json()["items"]
    assert [(person["email"], person["role"]) for person in people] == [
        ("ayse@example.com", "admin"),
        ("can@example.com", "member"),
    ]


def test_an_invitation_dies_by_time_withdrawal_and_a_new_link(house: House) -> None:
    admin = house.founder()
    path = f"/api/v1/invitations/{invite(house, admin).json()['id']}"
    first = last_token(house)
    assert house.ask(admin.principal, "POST", f"{path}/resend").status_code == 202
    second = last_token(house)
    again = house.ask(admin.principal, "POST", f"{path}/resend")
    assert (again.status_code, again.headers["retry-after"]) == (429, "60")
    assert accept(house, first).status_code == 410
    assert house.door("/invitations/look", token=second).status_code == 200
    assert house.ask(admin.principal, "DELETE", path).status_code == 204
    assert accept(house, second).status_code == 410
    assert invite(house, admin).status_code == 201
    house.clock.advance(timedelta(days=7))
    assert accept(house, last_token(house)).status_code == 410
    assert invite(house, admin).status_code == 201, "what has run out is not in the way"


def test_two_at_once_accept_once(house: House) -> None:
    invite(house, house.founder())
    token = last_token(house)
    with ThreadPoolExecutor(5) as pool:
        answers = sorted(pool.map(lambda _: accept(house, token).status_code, range(5)))
    assert answers == [201, 410, 410, 410, 410]
    assert len(house.facts(MemberJoined)) == 1


def test_inviting_tells_an_admin_nothing_about_strangers(house: House) -> None:
    admin = house.founder()
    house.founder(email="eve@example.com", company_name="Eve")
    known, unknown = invite(house, admin, "eve@example.com"), invite(house, admin, "nobody@example.com")
    assert known.status_code == unknown.status_code == 201
    assert known.json().keys() == unknown.json().keys()
    tokens = {fact.email: token_of(fact.link) for fact in house.facts(MemberInvited)}
    refused = accept(house, tokens["eve@example.com"])
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/account-exists")
    assert house.log_in("eve@example.com").json()["user"]["company_name"] == "Eve"


def test_who_is_here_or_asked_already_is_not_asked_again(house: House) -> None:
    admin = house.founder()
    assert invite(house, admin, "AYSE@example.com").json()["type"] == "/problems/already-member"
    assert invite(house, admin).status_code == 201
    assert invite(house, admin, "Can@Example.com").json()["type"] == "/problems/already-invited"
    assert len(house.facts(MemberInvited)) == 1, "the refused one told nothing"


def test_an_idempotency_key_invites_once(house: House) -> None:
    admin = house.founder()
    given = {"headers": {"Idempotency-Key": "click-0001"}}
    first, second = (invite(house, admin, given=given) for _ in range(2))
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert len(house.facts(MemberInvited)) == 1


def test_invitations_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations, "MOST_OPEN", 2)
    admin = house.founder()
    codes = [invite(house, admin, f"can{n}@example.com").status_code for n in range(3)]
    assert codes == [201, 201, 409]


def test_weak_password_or_odd_name_keeps_the_invitation(house: House) -> None:
    invite(house, house.founder())
    token = last_token(house)
    assert accept(house, token, password="can@example.com").json()["errors"][0]["code"] == "password-is-email"
    assert accept(house, token, name="Can\r\nDemir").status_code == 422
    assert accept(house, token).status_code == 201


def test_a_role_takes_effect_at_once(house: House) -> None:
    admin = house.founder()
    can = house.join(admin, "can@example.com")
    path = f"/api/v1/members/{can.user_id}"
    assert house.ask(admin.principal, "PATCH", path, json={"role": "admin"}).json()["role"] == "admin"
    assert house.resolve(can.secret).json()["role"] == "admin"
    fact = house.facts(MemberRoleChanged)[0]
    assert (fact.user_id, fact.role) == (can.user_id, "admin")
    assert house.ask(admin.principal, "PATCH", path, json={"role": "admin"}).status_code == 200
    assert len(house.facts(MemberRoleChanged)) == 1, "nothing changed the second time"


def test_the_last_admin_neither_leaves_nor_steps_down(house: House) -> None:
    admin = house.founder()
    can = house.join(admin, "can@example.com")
    mine = f"/api/v1/members/{admin.user_id}"
    for method, more in (("DELETE", {}), ("PATCH", {"json": {"role": "member"}})):
        answer = house.ask(admin.principal, method, mine, **more)
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/last-admin")
    house.ask(admin.principal, "PATCH", f"/api/v1/members/{can.user_id}", json={"role": "admin"})
    assert house.ask(admin.principal, "DELETE", mine).status_code == 204


@pytest.mark.parametrize("how", ["leave", "step down", "demote each other", "remove each other"])
def test_two_admins_at_once_leave_one(house: House, how: str) -> None:
    one = house.founder()
    two = house.join(one, "can@example.com", "admin")

    def act(me: LoggedIn, other: LoggedIn) -> int:
        path = f"/api/v1/members/{(other if 'other' in how else me).user_id}"
        if how in ("leave", "remove each other"):
            return house.ask(me.principal, "DELETE", path).status_code
        return house.ask(me.principal, "PATCH", path, json={"role": "member"}).status_code

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(act, one, two), pool.submit(act, two, one)
        statuses = sorted((first.result(), second.result()))
    assert statuses[0] in (200, 204)
    assert statuses[1] in (401, 403, 409)
    roles = [house.resolve(who.secret).json().get("role") for who in (one, two)]
    assert roles.count("admin") == 1


def test_a_change_of_members_waits_for_the_one_before(house: House) -> None:
    one = house.founder()
    two = house.join(one, "can@example.com", "admin")
    with ThreadPoolExecutor(1) as pool:
        with house.service.database.unit_of_work() as session:
            members.remove(session, one.principal, one.user_id, house.clock.now())
            leaving = pool.submit(house.ask, two.principal, "DELETE", f"/api/v1/members/{two.user_id}")
            with pytest.raises(TimeoutError):
                leaving.result(0.5)
        assert leaving.result().json()["type"] == "/problems/last-admin"


def test_removal_ends_sessions_at_once_and_frees_the_address(house: House) -> None:
    admin = house.founder()
    can = house.join(admin, "can@example.com")
    phone = house.who(house.log_in("can@example.com"))
    house.door("/password/forgot", email="can@example.com")
    assert house.ask(admin.principal, "DELETE", f"/api/v1/members/{can.user_id}").status_code == 204
    assert [house.resolve(secret).status_code for secret in (can.secret, phone.secret)] == [401, 401]
    assert {fact.session_id for fact in house.facts(SessionRevoked)} == {can.session_id, phone.session_id}
    assert [fact.user_id for fact in house.facts(MemberRemoved)] == [can.user_id]
    assert house.log_in("can@example.com").status_code == 401
    for path in ("/me", "/members", "/sessions"):
        assert house.ask(can.principal, "GET", f"/api/v1{path}").status_code == 401, "a token outlives nothing"
    again = house.join(admin, "can@example.com")
    assert again.user_id != can.user_id
    assert house.ask(admin.principal, "DELETE", f"/api/v1/members/{again.user_id}").status_code == 204
    assert house.sign_up(email="can@example.com").status_code == 202
    assert len(house.facts(CompanyCreated)) == 2


def test_a_member_leaves_alone_and_does_nothing_an_admin_does(house: House) -> None:
    admin = house.founder()
    can = house.join(admin, "can@example.com")
    eli = house.join(admin, "eli@example.com")
    open_one = invite(house, admin, "new@example.com").json()["id"]
    tries: list[tuple[str, str, dict[str, Any]]] = [
        ("PATCH", f"/members/{can.user_id}", {"role": "admin"}),
        ("PATCH", f"/members/{admin.user_id}", {"role": "member"}),
        ("DELETE", f"/members/{eli.user_id}", {}),
        ("DELETE", f"/members/{admin.user_id}", {}),
        ("GET", "/invitations", {}),
        ("POST", "/invitations", {"email": "x@example.com", "role": "admin"}),
        ("DELETE", f"/invitations/{open_one}", {}),
        ("POST", f"/invitations/{open_one}/resend", {}),
        ("PATCH", "/company", {"name": "Mine"}),
        ("GET", "/admin/companies", {}),
        ("GET", "/admin/users", {}),
        ("GET", "/ops/identity/dead-letters", {}),
    ]
    for method, path, body in tries:
        answer = house.ask(can.principal, method, f"/api/v1{path}", json=body)
        assert answer.status_code == 403, (method, path, answer.text)
    assert house.ask(can.principal, "DELETE", f"/api/v1/members/{can.user_id}").status_code == 204


def test_a_token_older_than_a_demotion_does_nothing(house: House) -> None:
    admin = house.founder()
    can = house.join(admin, "can@example.com", "admin")
    house.ask(admin.principal, "PATCH", f"/api/v1/members/{can.user_id}", json={"role": "member"})
    assert can.principal.role == "admin"
    assert invite(house, can, "x@example.com").status_code == 403
    path = f"/api/v1/members/{can.user_id}"
    assert house.ask(can.principal, "PATCH", path, json={"role": "admin"}).status_code == 403


def test_another_company_is_not_there(house: House) -> None:
    ours = house.founder()
    can = house.join(ours, "can@example.com")
    theirs = house.founder(email="eve@example.com", company_name="Eve")
    open_one = invite(house, ours, "new@example.com").json()["id"]
    tries: list[tuple[str, str, dict[str, Any]]] = [
        ("PATCH", f"/members/{can.user_id}", {"role": "admin"}),
        ("DELETE", f"/members/{can.user_id}", {}),
        ("DELETE", f"/invitations/{open_one}", {}),
        ("POST", f"/invitations/{open_one}/resend", {}),
        ("DELETE", f"/sessions/{can.session_id}", {}),
    ]
    for method, path, body in tries:
        answer = house.ask(theirs.principal, method, f"/api/v1{path}", json=body)
        assert answer.status_code == 404, (method, path)
        known = {**answer.json(), "correlation_id": ""}
        nowhere = house.ask(theirs.principal, method, f"/api/v1/{path.split('/')[1]}/{new_id()}", json=body)
        if "resend" not in path:
            assert {**nowhere.json(), "correlation_id": ""} == known, "existing looks like not existing"
    assert len(house.ask(theirs.principal, "GET", "/api/v1/members").json()["items"]) == 1
    assert house.ask(theirs.principal, "GET", "/api/v1/invitations").json()["items"] == []
    assert house.ask(theirs.principal, "GET", "/api/v1/company").json()["name"] == "Eve"
    assert house.resolve(can.secret).status_code == 200


def test_details_change_and_are_told_once(house: House) -> None:
    admin = house.founder()
    body = {"name": "Örnek Yazılım", "address": "Moda Cad. 1, Kadıköy", "tax_id": "1234567890", "tax_office": "Kadıköy"}
    for _ in range(2):
        answer = house.ask(admin.principal, "PATCH", "/api/v1/company", json=body)
        assert answer.status_code == 200
    assert body.items() <= answer.json().items()
    (fact,) = house.facts(CompanyUpdated)
    assert (fact.name, fact.tax_id, fact.country) == ("Örnek Yazılım", "1234567890", "TR")
    me = house.ask(admin.principal, "PATCH", "/api/v1/me", json={"name": "Ayşe  Kaya", "language": "en"}).json()
    assert (me["user"]["name"], me["user"]["language"]) == ("Ayşe Kaya", "en")
    assert house.facts(UserUpdated)[0].name == "Ayşe Kaya"


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x\ny"},
        {"address": "a\x00b"},
        {"tax_id": "<b>"},
        {"role": "admin"},
        {"country": "ZZ"},
        {"id": str(new_id())},
    ],
)
def test_odd_details_are_refused(house: House, body: dict[str, str]) -> None:
    admin = house.founder()
    assert house.ask(admin.principal, "PATCH", "/api/v1/company", json=body).status_code == 422
    assert house.facts(CompanyUpdated) == []


@pytest.mark.parametrize("body", [{"staff": True}, {"role": "admin"}, {"email": "x@example.com"}, {"verified": True}])
def test_nobody_grants_themselves_anything(house: House, body: dict[str, Any]) -> None:
    admin = house.founder()
    assert house.ask(admin.principal, "PATCH", "/api/v1/me", json=body).status_code == 422
