"""Who is told what: facts that come late, twice or in another order; reminders nobody needs any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from services.notifier.models import Mail
from shared.clock import ManualClock
from shared.events.identity import MemberJoined, MemberRemoved, MemberRoleChanged, UserUpdated
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from shared.messaging.retry import retry_one
from shared.service import Service
from tests.callers import START
from tests.notifier.conftest import Hear
from tests.notifier.stories import TRIAL_END, Story

Rows = Callable[[], list[Mail]]


def test_reminders_are_sent_while_the_trial_runs(story: Story, hear: Hear, rows: Rows, clock: ManualClock) -> None:
    for days in (7, 3, 1):
        clock.advance(TRIAL_END - timedelta(days=days) - clock.now())
        hear(story.reminder(days))
    assert [row.facts["days_left"] for row in rows()] == [7, 3, 1]


def test_who_has_paid_is_not_reminded(story: Story, hear: Hear, rows: Rows) -> None:
    hear(story.paid(), story.reminder())
    assert rows() == []


def test_a_trial_told_late_does_not_undo_the_payment(hear: Hear, rows: Rows) -> None:
    story = Story()
    company, admin, trial = story.beginning()
    hear(company, admin)
    hear(story.paid(), sequence=20)
    hear(trial, sequence=10)
    hear(story.reminder())
    assert rows() == []


def test_after_the_end_nobody_is_reminded(story: Story, hear: Hear, rows: Rows, clock: ManualClock) -> None:
    clock.advance(timedelta(days=14))
    hear(story.reminder(1))
    assert rows() == []


def test_a_reminder_of_another_end_is_not_ours(story: Story, hear: Hear, rows: Rows) -> None:
    hear(story.reminder().model_copy(update={"ends_at": START + timedelta(days=2)}))
    assert rows() == []


@pytest.mark.parametrize("kind", ["payment_succeeded", "payment_failed", "trial_expiring", "trial_expired"])
def test_mails_to_admins_wait_until_an_admin_is_known(
    kind: str, hear: Hear, rows: Rows, consumer: Consumer, notifier: Service
) -> None:
    story = Story()
    company, admin, trial = story.beginning()
    hear(company, trial, story.event(kind))
    assert rows() == []
    hear(admin)
    with notifier.database.unit_of_work() as session:
        session.execute(text("update failed_deliveries set due_at = now()"))
    assert retry_one(consumer)
    (mail,) = rows()
    assert (mail.kind, mail.recipient) == (kind, story.email)


def test_a_reminder_waits_for_the_company_itself(hear: Hear, rows: Rows, notifier: Service) -> None:
    hear(Story().reminder())
    assert rows() == []
    with notifier.database.unit_of_work() as session:
        assert session.execute(text("select count(*) from failed_deliveries")).scalar_one() == 1


def test_who_has_left_is_told_nothing_of_the_company(story: Story, hear: Hear, rows: Rows) -> None:
    other = new_id()
    hear(story.person(other, "admin", "left@example.com"))
    hear(MemberRemoved(company_id=story.company, user_id=other))
    hear(story.invoice())
    hear(story.event("workspace_ready").model_copy(update={"owner_id": other}))
    assert [row.recipient for row in rows()] == [story.email]


def test_what_is_older_than_we_know_changes_nothing(story: Story, hear: Hear, rows: Rows) -> None:
    other = new_id()
    who = {"company_id": story.company, "user_id": other}
    hear(story.person(other, "member", "late@example.com"), sequence=10)
    hear(MemberRemoved.model_validate(who), sequence=40)
    hear(MemberJoined.model_validate({**who, "role": "admin"}), sequence=20)
    hear(MemberRoleChanged.model_validate({**who, "role": "admin"}), sequence=30)
    hear(story.invoice())
    assert [row.recipient for row in rows()] == [story.email]
    hear(MemberJoined.model_validate({**who, "role": "admin"}), sequence=50)
    newer = {**who, "email": "new@example.com", "name": "New", "language": "en"}
    hear(UserUpdated.model_validate(newer), sequence=60)
    hear(UserUpdated.model_validate({**newer, "email": "old@example.com"}), sequence=55)
    hear(story.invoice())
    assert sorted(row.recipient for row in rows()[1:]) == sorted([story.email, "new@example.com"])


def test_an_owner_of_another_company_is_not_told(story: Story, hear: Hear, rows: Rows) -> None:
    stranger = Story()
    hear(*stranger.beginning())
    hear(story.event("workspace_ready").model_copy(update={"owner_id": stranger.admin}))
    assert rows() == []


def test_names_longer_than_ours_are_cut_and_not_refused(hear: Hear, rows: Rows) -> None:
    story = Story(name="n" * 1_000, company="c" * 1_000)
    hear(*story.beginning(), story.event("welcome"), story.invoice())
    assert [len(row.recipient_name) for row in rows()] == [200, 200]
