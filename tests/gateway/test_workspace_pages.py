"""What people do with a workspace on its pages: another name, a restart, a deletion and back, without a script."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.gateway.conftest import House, token_in


class Visit:
    """Somebody with a workspace, at a browser."""

    def __init__(self, house: House, language: str = "en") -> None:
        self.house = house
        self.owner = house.world.somebody("a@example.com", language=language)
        self.id: UUID = house.world.workspace(self.owner, "box")
        self.browser = house.logged_in(self.owner)
        self._token = token_in(self.browser.get("/account").text)

    def do(self, action: str, **fields: str) -> Any:
        """Sends a form of the workspace's."""
        return self.browser.post(f"/workspaces/{self.id}/{action}", data={"csrf_token": self._token, **fields})

    def page(self, path: str = "") -> str:
        """The workspace's page, or another one."""
        answer = self.browser.get(path or f"/workspaces/{self.id}")
        assert answer.status_code == 200
        return str(answer.text)

    @property
    def kept(self) -> dict[str, Any]:
        """What the provisioner keeps."""
        return self.house.world.workspaces[self.id]


def test_another_name(house: House) -> None:
    visit = Visit(house)
    answer = visit.do("rename", name="  <b>Ödev</b> ")
    assert answer.headers["location"] == f"/workspaces/{visit.id}?done=workspace-renamed"
    assert visit.kept["name"] == "<b>Ödev</b>"
    page = visit.page(answer.headers["location"])
    assert "The name was changed." in page
    assert "<h1>&lt;b&gt;Ödev&lt;/b&gt;</h1>" in page


def test_a_name_that_is_taken_comes_back_as_it_was_typed(house: House) -> None:
    visit = Visit(house)
    house.world.workspace(visit.owner, "taken")
    answer = visit.do("rename", name="taken")
    assert answer.status_code == 409
    assert 'value="taken" required aria-invalid="true"' in answer.text
    assert '<details class="ask" open>' in answer.text
    assert "Your company has a workspace of this name." in answer.text
    assert visit.kept["name"] == "box"


@pytest.mark.parametrize(
    ("language", "says"),
    [
        ("en", "It can be undone for 7 days, until"),
        ("tr", "7 gün boyunca,"),
    ],
)
def test_a_deletion_says_that_and_until_when_it_can_be_undone(house: House, language: str, says: str) -> None:
    visit = Visit(house, language)
    asked = visit.page(f"/workspaces/{visit.id}?ask=delete")
    assert says in asked
    assert "2026-11-29T09:30:00Z" in asked  # in UTC on hover
    assert "12:30" in asked  # in the company's time
    assert '<details class="ask" open>' in asked


def test_deleted_and_brought_back(house: House) -> None:
    visit = Visit(house)
    answer = visit.do("delete")
    assert answer.headers["location"] == f"/workspaces/{visit.id}?done=workspace-deleted"
    page = visit.page(answer.headers["location"])
    assert f'action="/workspaces/{visit.id}/restore"' in page
    assert "2026-11-29T09:30:00Z" in page
    for action in ("start", "stop", "restart", "rename", "delete"):
        assert f'action="/workspaces/{visit.id}/{action}"' not in page
    assert "box" not in visit.page("/dashboard").partition("<main")[2]
    listed = visit.page("/workspaces/deleted")
    assert f'action="/workspaces/{visit.id}/restore"' in listed
    assert "2026-11-29T09:30:00Z" in listed

    back = visit.do("restore")
    assert back.headers["location"] == f"/workspaces/{visit.id}?done=workspace-restored"
    assert "The workspace is back, with all its files." in visit.page(back.headers["location"])
    assert "No workspace was deleted lately." in visit.page("/workspaces/deleted")


def test_brought_back_under_another_name(house: House) -> None:
    visit = Visit(house)
    visit.do("delete")
    house.world.workspace(visit.owner, "box")
    refused = visit.do("restore")
    assert refused.status_code == 409
    assert 'value="box" required aria-invalid="true"' in refused.text
    assert visit.do("restore", name=" box two ").status_code == 303
    assert (visit.kept["name"], visit.kept["state"]) == ("box two", "stopped")


def test_what_a_state_offers(house: House) -> None:
    visit = Visit(house)
    offers = {
        "requested": {"stop"},
        "starting": {"stop"},
        "running": {"stop", "restart"},
        "stopping": set(),
        "stopped": {"start"},
        "failed": {"start"},
    }
    for state, actions in offers.items():
        visit.kept["state"] = state
        for path in (f"/workspaces/{visit.id}", "/dashboard"):
            page = visit.page(path)
            found = {action for action in ("start", "stop", "restart") if f'/workspaces/{visit.id}/{action}"' in page}
            assert found == actions, (state, path)
    visit.kept["state"] = "starting"
    assert "Cancel the start" in visit.page()
    assert visit.do("restart").headers["location"] == f"/workspaces/{visit.id}?done=workspace-restarting"
    assert ("POST", f"/api/v1/workspaces/{visit.id}/restart") in house.world.calls
