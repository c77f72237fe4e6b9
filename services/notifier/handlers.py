"""Facts in, mails queued. What a mail says is in `mails/`; when it goes is the sender's matter."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.notifier import mailing, recipients
from services.notifier.mailing import Reader
from services.notifier.models import Company, Recipient
from shared.events.billing import (
    InvoiceIssued,
    PaymentFailed,
    PaymentNeedsReview,
    SubscriptionActivated,
    SubscriptionExpired,
    TrialStarted,
)
from shared.events.identity import (
    CompanyCreated,
    CompanyUpdated,
    MemberInvited,
    MemberJoined,
    MemberRemoved,
    MemberRoleChanged,
    PasswordResetRequested,
    SecurityAlert,
    UserRegistered,
    UserUpdated,
    VerificationRequested,
)
from shared.events.provisioner import WorkspaceReady, WorkspaceStorageWarning
from shared.events.scheduler import HealthFailed, TrialExpiring
from shared.i18n import DEFAULT_TIMEZONE
from shared.messaging.consumer import Context, Handlers


def know_company(session: Session, event: CompanyCreated | CompanyUpdated, context: Context) -> None:
    """Keeps the company's name, language and time zone."""
    recipients.put_company(
        session,
        event.company_id,
        context.envelope.sequence,
        name=event.name,
        language=event.language,
        timezone=event.timezone,
    )


def know_person(session: Session, event: UserRegistered | UserUpdated, context: Context) -> None:
    """Keeps the person's address, name and language; the role where it is told."""
    recipients.put_person(
        session,
        event.user_id,
        event.company_id,
        context.envelope.sequence,
        email=event.email,
        name=event.name,
        language=event.language,
    )
    if isinstance(event, UserRegistered):
        recipients.set_role(session, event.user_id, event.company_id, event.role, context.envelope.sequence)


def know_role(session: Session, event: MemberJoined | MemberRoleChanged, context: Context) -> None:
    """Keeps who is an admin: they are told about money."""
    recipients.set_role(session, event.user_id, event.company_id, event.role, context.envelope.sequence)


def forget_member(session: Session, event: MemberRemoved, context: Context) -> None:
    """Who has left is told nothing more."""
    recipients.remove(session, event.user_id, context.envelope.sequence)


def know_trial(session: Session, event: TrialStarted, context: Context) -> None:
    """Remembers the trial, so that a late reminder of a paid one is not sent."""
    recipients.set_trial(session, event.company_id, event.ends_at, context.envelope.sequence)


def forget_trial(session: Session, event: SubscriptionActivated, context: Context) -> None:
    """It was paid for: no reminders any more."""
    recipients.set_trial(session, event.company_id, None, context.envelope.sequence)


def mail_verification(session: Session, event: VerificationRequested, context: Context) -> None:
    """Welcome with the link to confirm, or the link alone when it was asked for again."""
    kind = "welcome" if event.welcome else "verification"
    facts = {"link": event.link, "expires_at": event.expires_at.isoformat()}
    _to_one(session, event, event.company_id, kind, facts, context)


def mail_reset(session: Session, event: PasswordResetRequested, context: Context) -> None:
    """The link to set a new password."""
    facts = {"link": event.link, "expires_at": event.expires_at.isoformat()}
    _to_one(session, event, event.company_id, "password_reset", facts, context)


def mail_alert(session: Session, event: SecurityAlert, context: Context) -> None:
    """Something happened to the account."""
    facts = {"ip": event.ip, "happened_at": event.happened_at.isoformat()}
    _to_one(session, event, event.company_id, event.kind, facts, context)


def mail_invitation(session: Session, event: MemberInvited, context: Context) -> None:
    """The link to join a company."""
    facts = {"link": event.link, "invited_by": event.invited_by, "expires_at": event.expires_at.isoformat()}
    _, timezone = recipients.company(session, event.company_id)
    reader = Reader(event.email, "", event.language, timezone)
    _queue(session, reader, event.company_name, "invitation", facts, context)


def mail_workspace_ready(session: Session, event: WorkspaceReady, context: Context) -> None:
    """The first time a workspace can be opened; not to an owner who has left since."""
    owner = recipients.known(session, event.owner_id)
    if owner.active and owner.company_id == event.company_id:
        link = f"{context.settings.public_url}/workspaces/{event.workspace_id}"
        facts = {"workspace": event.name, "link": link, "seconds": event.took_ms / 1000}
        _to_one(session, owner, event.company_id, "workspace_ready", facts, context)


def mail_storage(session: Session, event: WorkspaceStorageWarning, context: Context) -> None:
    """The company's storage is nearly full, or full: its admins are told, and whose workspace has grown most."""
    kind = "storage_full" if event.percent >= 100 else "storage_warning"
    facts = {
        "workspace": event.name,
        "used": event.used_bytes,
        "limit": event.limit_bytes,
        "takes": event.workspace_bytes,
        "link": f"{context.settings.public_url}/dashboard",
    }
    _to_admins(session, event.company_id, kind, facts, context)
    owner = recipients.known(session, event.owner_id)
    if owner.active and owner.company_id == event.company_id:
        _to_one(session, owner, event.company_id, kind, facts, context)  # once, also where the owner is an admin


def mail_invoice(session: Session, event: InvoiceIssued, context: Context) -> None:
    """A payment was received; its invoice goes along."""
    facts = {
        "plan": event.plan,
        "number": event.number,
        "net": event.net.model_dump(mode="json"),
        "tax": event.tax.model_dump(mode="json"),
        "total": event.total.model_dump(mode="json"),
        "period_end": event.period_end.isoformat(),
        "link": _billing_page(context),
        "attachment": {"path": event.document_path, "name": f"{event.number}.pdf"},
    }
    _to_admins(session, event.company_id, "payment_succeeded", facts, context)


def mail_payment_failed(session: Session, event: PaymentFailed, context: Context) -> None:
    """A payment did not go through, and what to do."""
    facts = {
        "plan": event.plan,
        "amount": event.amount.model_dump(mode="json"),
        "reason": event.reason,
        "link": _billing_page(context),
    }
    _to_admins(session, event.company_id, "payment_failed", facts, context)


def mail_trial_expiring(session: Session, event: TrialExpiring, context: Context) -> None:
    """A reminder, unless the trial was paid for or is over. Raises NotYetKnown."""
    company = session.get(Company, event.company_id)
    if company is None:
        raise recipients.NotYetKnown(f"nobody has told us of {event.company_id} yet")
    if company.trial_ends_at != event.ends_at or event.ends_at <= context.now:
        return
    facts = {"days_left": event.days_left, "ends_at": event.ends_at.isoformat(), "link": _billing_page(context)}
    _to_admins(session, event.company_id, "trial_expiring", facts, context)


def mail_trial_expired(session: Session, event: SubscriptionExpired, context: Context) -> None:
    """The trial is over, the data is kept, and how to come back."""
    facts = {"data_kept_until": event.data_kept_until.isoformat(), "link": _billing_page(context)}
    _to_admins(session, event.company_id, "trial_expired", facts, context)


def mail_review(session: Session, event: PaymentNeedsReview, context: Context) -> None:
    """Staff must look at a payment."""
    _to_staff(session, "payment_review", {"payment": str(event.payment_id), "difference": event.difference}, context)


def mail_health(session: Session, event: HealthFailed, context: Context) -> None:
    """Staff must look at the platform."""
    _to_staff(session, "health_alert", {"check": event.check, "detail": event.detail}, context)


def _to_one(
    session: Session,
    person: Recipient | VerificationRequested | PasswordResetRequested | SecurityAlert,
    company_id: UUID,
    kind: str,
    facts: dict[str, Any],
    context: Context,
) -> None:
    """To somebody we know, or whom the event itself names: its address may be newer than our projection."""
    company, timezone = recipients.company(session, company_id)
    reader = Reader(person.email, person.name, person.language, timezone)
    _queue(session, reader, company, kind, facts, context)


def _to_admins(session: Session, company_id: UUID, kind: str, facts: dict[str, Any], context: Context) -> None:
    """Raises NotYetKnown where no admin is known: the bus brings the event again."""
    for admin in recipients.admins(session, company_id):
        _to_one(session, admin, company_id, kind, facts, context)


def _to_staff(session: Session, kind: str, facts: dict[str, Any], context: Context) -> None:
    if context.settings.staff_email:
        reader = Reader(context.settings.staff_email, "", "en", DEFAULT_TIMEZONE)
        facts = {**facts, "link": f"{context.settings.public_url}/admin"}
        _queue(session, reader, "", kind, facts, context)


def _queue(session: Session, reader: Reader, company: str, kind: str, facts: dict[str, Any], context: Context) -> None:
    facts = {"site": context.settings.public_url, "company": company, **facts}
    mailing.queue(session, context.envelope.id, kind, reader, facts, context.now)


def _billing_page(context: Context) -> str:
    return f"{context.settings.public_url}/billing/"


HANDLERS: Handlers = {
    CompanyCreated: know_company,
    CompanyUpdated: know_company,
    UserRegistered: know_person,
    UserUpdated: know_person,
    MemberJoined: know_role,
    MemberRoleChanged: know_role,
    MemberRemoved: forget_member,
    TrialStarted: know_trial,
    SubscriptionActivated: forget_trial,
    VerificationRequested: mail_verification,
    PasswordResetRequested: mail_reset,
    SecurityAlert: mail_alert,
    MemberInvited: mail_invitation,
    WorkspaceReady: mail_workspace_ready,
    WorkspaceStorageWarning: mail_storage,
    InvoiceIssued: mail_invoice,
    PaymentFailed: mail_payment_failed,
    PaymentNeedsReview: mail_review,
    TrialExpiring: mail_trial_expiring,
    SubscriptionExpired: mail_trial_expired,
    HealthFailed: mail_health,
}
