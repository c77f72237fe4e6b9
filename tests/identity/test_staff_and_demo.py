"""What staff see; the demo company of a local machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr, ValidationError

from services.identity.demo import EMAIL, ensure_demo
from services.identity.settings import Settings
from shared.events.identity import CompanyCreated, UserRegistered, UserVerified, VerificationRequested
from shared.settings import Environment
from tests.callers import PUBLIC_KEY
from tests.identity.conftest import House, LoggedIn

WORD = "for looking around"


@pytest.fixture
def demo_house(new_house: Callable[..., House]) -> House:
    return new_house(demo_password=SecretStr(WORD))


def start(house: House) -> None:
    assert house.service.start
    asyncio.run(house.service.start())


def demo(house: House) -> LoggedIn:
    return house.who(house.log_in(EMAIL, WORD))


def test_a_start_makes_the_demo_once_and_all_hear_of_it(demo_house: House) -> None:
    start(demo_house)
    start(demo_house)
    kinds = [type(fact) for fact in demo_house.facts()]
    assert kinds == [CompanyCreated, UserRegistered, UserVerified]
    principal = demo_house.resolve(demo(demo_house).secret).json()
    assert (principal["role"], principal["staff"], principal["verified"]) == ("admin", True, True)
    assert demo_house.facts(VerificationRequested) == []


def test_replicas_that_start_at_once_make_one(demo_house: House) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: start(demo_house), range(4)))
    assert len(demo_house.facts(CompanyCreated)) == 1


def test_a_new_password_takes_effect_at_the_next_start(demo_house: House, new_house: Callable[..., House]) -> None:
    start(demo_house)
    later = new_house(demo_password=SecretStr("another word for it"))
    start(later)
    assert later.log_in(EMAIL, "another word for it").status_code == 201
    assert later.log_in(EMAIL, WORD).status_code == 401


def test_without_a_password_there_is_no_demo(house: House) -> None:
    start(house)
    assert house.facts() == []


def test_production_refuses_the_demo(house: House) -> None:
    with pytest.raises(ValidationError, match="IDENTITY_DEMO_PASSWORD"):
        Settings(
            environment=Environment.PRODUCTION,
            public_url="https://youarecoder.example",
            database_url=SecretStr("postgresql://x"),
            token_public_key=PUBLIC_KEY,
            demo_password=SecretStr(WORD),
        )
    settings = house.service.settings.model_copy(
        update={"environment": Environment.PRODUCTION, "demo_password": SecretStr(WORD)}
    )
    assert isinstance(settings, Settings)
    with house.service.database.unit_of_work() as session:
        ensure_demo(session, settings, house.clock.now())
    assert house.facts() == []


def test_staff_see_all_companies_and_find_people(demo_house: House) -> None:
    start(demo_house)
    staff = demo(demo_house)
    founder = demo_house.founder()
    demo_house.join(founder, "can@example.com")
    companies = demo_house.ask(staff.principal, "GET", "/api/v1/admin/companies").json()["items"]
    assert [(row["name"], row["members"]) for row in companies] == [("Örnek A.Ş.", 2), ("Demo", 1)]
    page = demo_house.ask(staff.principal, "GET", "/api/v1/admin/companies?limit=1").json()
    rest = demo_house.ask(staff.principal, "GET", f"/api/v1/admin/companies?limit=1&cursor={page['next']}").json()
    assert [row["name"] for row in page["items"] + rest["items"]] == ["Örnek A.Ş.", "Demo"]

    def found(q: str) -> list[str]:
        answer = demo_house.ask(staff.principal, "GET", "/api/v1/admin/users", params={"q": q})
        assert answer.status_code == 200, answer.text
        return [row["email"] for row in answer.json()["items"]]

    assert found("") == ["can@example.com", "ayse@example.com", EMAIL]
    assert found("AYSE") == ["ayse@example.com"]
    assert found("%") == found("_yse") == found("' or 1=1") == found("ğ" * 50) == []
    refused = demo_house.ask(staff.principal, "GET", "/api/v1/admin/users?q=%00")
    assert refused.status_code == 422
