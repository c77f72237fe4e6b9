"""Each kind of door against each kind of caller."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.access import Allow, company_of, user_of
from shared.clock import ManualClock
from shared.errors import Forbidden
from shared.service import Service
from shared.tokens import LIFETIME, Principal, Role
from tests.callers import a_member, an_admin, calling, headers, staff, the_gateway

CALLERS: dict[str, Principal] = {
    "gateway": the_gateway(),
    "without a company": a_member(company_id=None),
    "member": a_member(),
    "unconfirmed member": a_member(verified=False),
    "admin": an_admin(),
    "unconfirmed admin": an_admin(verified=False),
    "staff": staff(),
    "staff, admin of a company": staff(role=Role.ADMIN),
    # What the gateway never signs: a mark without a person is worth nothing.
    "staff mark of nobody": Principal(role=Role.PLATFORM, staff=True),
    "admin role of nobody": Principal(role=Role.ADMIN),
}
PEOPLE = set(CALLERS) - {"gateway", "staff mark of nobody", "admin role of nobody"}
LET_IN = {
    "anyone": set(CALLERS),
    "person": PEOPLE,
    "member": {"member", "admin", "staff", "staff, admin of a company"},
    "admin": {"admin", "staff, admin of a company"},
    "staff": {"staff", "staff, admin of a company"},
    "platform": {"gateway", "staff mark of nobody"},
}


@pytest.mark.parametrize("door", LET_IN)
def test_door(doors: Service, clock: ManualClock, door: str) -> None:
    with calling(doors, None) as client:
        answers = {
            name: client.get(f"/for/{door}", headers=headers(caller, clock.now())) for name, caller in CALLERS.items()
        }
    assert {name for name, answer in answers.items() if answer.status_code == 200} == LET_IN[door]
    assert {answer.status_code for answer in answers.values()} <= {200, 403}


@pytest.mark.parametrize(("door", "caller"), [("member", "unconfirmed member"), ("admin", "unconfirmed admin")])
def test_unconfirmed_is_told_what_to_do(doors: Service, door: str, caller: str) -> None:
    with calling(doors, CALLERS[caller]) as client:
        assert client.get(f"/for/{door}").json()["type"] == "/problems/mail-not-verified"


@pytest.mark.parametrize("door", LET_IN)
@pytest.mark.parametrize("said", [None, "", "Bearer", "Bearer ", "Bearer x.y.z", "Basic YTpi", "bearer  a b", "\xff"])
def test_without_a_good_token_every_door_is_shut(doors: Service, door: str, said: str | None) -> None:
    given = {} if said is None else {"Authorization": said.encode("latin-1")}
    with calling(doors, None) as client:
        answer = client.get(f"/for/{door}", headers=given)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_token_ends(doors: Service, clock: ManualClock) -> None:
    with calling(doors, a_member()) as client:
        assert client.get("/for/member").status_code == 200
        clock.advance(LIFETIME)
        assert client.get("/for/member").status_code == 401


def test_scheme_is_read_in_any_case(doors: Service, clock: ManualClock) -> None:
    token = headers(a_member(), clock.now() + timedelta())["Authorization"].split()[1]
    with calling(doors, None) as client:
        assert client.get("/for/member", headers={"Authorization": f"bEARER {token}"}).status_code == 200


@pytest.mark.parametrize(
    ("scopes", "reads", "writes"),
    [
        ((), True, True),
        (("read",), True, False),
        (("write",), False, True),
        (("read", "write"), True, True),
        (("unheard-of",), False, False),
    ],
)
def test_a_token_given_for_less_does_less(scopes: tuple[str, ...], reads: bool, writes: bool) -> None:
    door = Allow("member", lambda principal: True)
    caller = a_member(scopes=frozenset(scopes))
    for methods, may in ((("GET", "HEAD"), reads), (("POST", "PATCH", "PUT", "DELETE", "UNHEARD"), writes)):
        for method in methods:
            refusal = door.refusal(caller, method)
            assert (refusal is None) == may, method
            assert refusal is None or refusal.code == "out-of-scope"


def test_nobodys_company_and_id_are_refused() -> None:
    member = a_member()
    assert (company_of(member), user_of(member)) == (member.company_id, member.user_id)
    for ask in (company_of, user_of):
        with pytest.raises(Forbidden):
            ask(the_gateway())
