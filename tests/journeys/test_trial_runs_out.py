"""Nobody pays: reminders 7, 3 and 1 days before the end, the trial expires, workspaces stop, their data stays;
a payment brings them back.
"""

from __future__ import annotations

from datetime import timedelta

import docker
import pytest

from tests.journeys.person import Person
from tests.journeys.platform import RunningPlatform, eventually
from tests.journeys.test_first_workspace import run_inside, write_file

pytestmark = pytest.mark.e2e

REMINDER = "left of your trial"


def test_a_trial_runs_out_and_a_payment_brings_everything_back(
    platform: RunningPlatform, docker_engine: docker.DockerClient
) -> None:
    with Person(platform, "en") as person:
        person.sign_up("Slow Payers Ltd")
        person.wait_for_subscription("trialing")
        workspace = person.new_workspace("kept")
        person.wait_for_workspace(workspace["id"], "running")
        write_file(docker_engine, workspace["id"], "/home/coder/work.txt", "precious")

        for days, expected in ((7, 1), (4, 2), (2, 3)):
            platform.move_time(timedelta(days=days, minutes=1))
            eventually(
                lambda n=expected: len(platform.mails(person.email, REMINDER)) == n, f"reminder number {expected}"
            )

        platform.move_time(timedelta(days=1))
        person.wait_for_subscription("expired")
        person.wait_for_workspace(workspace["id"], "stopped")
        eventually(lambda: platform.mails(person.email, "Your trial is over"), "the mail that the trial is over")
        refused = person.api("POST", f"/workspaces/{workspace['id']}/start")
        assert refused.status_code == 403
        assert refused.json()["type"] == "/problems/not-entitled"
        assert len(platform.mails(person.email, REMINDER)) == 3

        person.pay("team")
        person.wait_for_subscription("active")
        person.wait_for_workspace(workspace["id"], "running")
        assert run_inside(docker_engine, workspace["id"], ["cat", "/home/coder/work.txt"]) == "precious"
