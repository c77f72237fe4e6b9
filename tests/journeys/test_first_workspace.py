"""Sign-up → mail → confirmed → trial → new workspace → editor → a file that survives stop and start, a restart, and a
deletion that is undone → Team paid → active, 20 workspaces, invoice, its mail.
"""

from __future__ import annotations

import contextlib
import io

import docker
import pypdf
import pytest

from tests.journeys.person import Person
from tests.journeys.platform import RunningPlatform, eventually

pytestmark = pytest.mark.e2e


def write_file(engine: docker.DockerClient, workspace_id: str, path: str, text: str) -> None:
    """Writes as the workspace's own user, as a terminal in the editor does."""
    run_inside(engine, workspace_id, ["sh", "-c", f"printf %s '{text}' > {path}"])


def run_inside(engine: docker.DockerClient, workspace_id: str, command: list[str]) -> str:
    """Runs a command in the workspace's container."""
    label = f"youarecoder.workspace={workspace_id}"
    container = engine.containers.list(filters={"label": label})[0]
    code, output = container.exec_run(command)
    assert code == 0, output
    text: str = output.decode()
    return text


def change_and_bring_back(person: Person, workspace_id: str) -> None:
    """Another name, a restart, a deletion and its undo, each by its page; in the end the workspace runs."""
    page = f"/workspaces/{workspace_id}"

    def press(action: str, **fields: str) -> None:
        answer = person.submit(page, f"{page}/{action}", **fields)
        assert answer.status_code == 303, f"{action}: {answer.text[:3000]}"

    press("rename", name="Şarkı söyleyen ördek")
    assert "Şarkı söyleyen ördek" in person.see("/dashboard")
    press("restart")
    person.wait_for_workspace(workspace_id, "running")
    press("delete")
    assert "Şarkı söyleyen ördek" not in person.see("/dashboard")
    assert person.get("/workspaces/quota")["used"] == 0
    assert f"{page}/restore" in person.see("/workspaces/deleted")
    person.wait_for_workspace(workspace_id, "deleted")
    press("restore")
    assert person.get(f"/workspaces/{workspace_id}")["state"] == "stopped"
    press("start")
    assert person.wait_for_workspace(workspace_id, "running")["name"] == "Şarkı söyleyen ördek"


@pytest.mark.parametrize("language", ["tr", "en"])
def test_from_landing_page_to_a_paid_team(
    platform: RunningPlatform, docker_engine: docker.DockerClient, language: str
) -> None:
    with Person(platform, language) as person:
        assert "YouAreCoder" in person.see("/")

        person.sign_up("Ördek & Oğulları Yazılım")
        assert person.get("/me")["user"]["verified"] is True
        assert person.wait_for_subscription("trialing")["plan"] == "starter"

        workspace = person.new_workspace("first")
        workspace = person.wait_for_workspace(workspace["id"], "running")
        assert [stage["name"] for stage in workspace["stages"]][-1] == "route_answers"
        with contextlib.closing(person.enter(workspace)) as editor:
            page = editor.get("/", follow_redirects=True)
            assert page.status_code == 200
            assert "workbench" in page.text

        write_file(docker_engine, workspace["id"], "/home/coder/note.txt", "kept")
        assert person.api("POST", f"/workspaces/{workspace['id']}/stop").status_code == 202
        person.wait_for_workspace(workspace["id"], "stopped")
        assert person.api("POST", f"/workspaces/{workspace['id']}/start").status_code == 202
        person.wait_for_workspace(workspace["id"], "running")
        assert run_inside(docker_engine, workspace["id"], ["cat", "/home/coder/note.txt"]) == "kept"

        change_and_bring_back(person, workspace["id"])
        assert run_inside(docker_engine, workspace["id"], ["cat", "/home/coder/note.txt"]) == "kept"

        payment = person.pay("team")
        assert payment["amount"] == {"minor": 297_000, "currency": "TRY"}
        subscription = person.wait_for_subscription("active")
        assert (subscription["plan"], subscription["entitlements"]["workspaces"]) == ("team", 20)
        eventually(lambda: person.get("/workspaces/quota")["limit"] == 20, "the provisioner knows the new limit")
        assert "20" in person.see("/dashboard")

        invoice = eventually(lambda: person.get("/invoices")["items"], "an invoice exists")[0]
        assert invoice["total"] == {"minor": 297_000, "currency": "TRY"}
        document = person.http.get(f"/billing/invoices/{invoice['id']}.pdf")
        text = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(document.content)).pages)
        assert invoice["number"] in text
        assert "Ördek & Oğulları Yazılım" in text

        subject = "Ödemeniz alındı: ₺2.970,00" if language == "tr" else "Payment received: ₺2,970.00"
        mail = platform.mail(person.email, subject)
        assert [attachment["filename"] for attachment in mail["attachments"]] == [f"{invoice['number']}.pdf"]
