"""Events of one company's life, and for each kind of mail the event that causes it."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, get_args
from uuid import UUID

from shared.events import Event
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
    MemberInvited,
    PasswordResetRequested,
    SecurityAlert,
    UserRegistered,
    VerificationRequested,
)
from shared.events.provisioner import WorkspaceReady, WorkspaceStorageWarning
from shared.events.scheduler import HealthFailed, TrialExpiring
from shared.ids import new_id
from shared.money import Currency, Money
from tests.callers import START

TRIAL_END = START + timedelta(days=14)
LINK = "https://app.example.com/verify?token=Zk3v9sQmT1xW8nLr5bYc7dHp2gJf4aKe"
STAFF = "staff@example.com"
REASONS = get_args(PaymentFailed.model_fields["reason"].annotation)


class Story:
    """One company with one admin, in one language."""

    def __init__(self, language: str = "tr", name: str = "Işıl Çağrı", company: str = "Şişli Yazılım A.Ş.") -> None:
        self.language, self.name, self.company_name = language, name, company
        self.company, self.admin = new_id(), new_id()
        self.email = f"{self.admin.hex[-8:]}@example.com"

    def beginning(self) -> list[Event]:
        """What the notifier has to know before it can write to the company's admin."""
        return [
            CompanyCreated(
                company_id=self.company,
                name=self.company_name,
                country="TR",
                language=self.language,
                timezone="Europe/Istanbul",
                created_at=START,
            ),
            self.person(self.admin, "admin", self.email),
            self.trial(),
        ]

    def person(self, user: UUID, role: Literal["admin", "member"], email: str) -> UserRegistered:
        """Somebody of the company."""
        return UserRegistered(
            company_id=self.company, user_id=user, email=email, name=self.name, language=self.language, role=role
        )

    def trial(self) -> TrialStarted:
        """The company's trial."""
        return TrialStarted(company_id=self.company, plan="team", started_at=START, ends_at=TRIAL_END)

    def paid(self) -> SubscriptionActivated:
        """The company has paid."""
        end = START + timedelta(days=30)
        return SubscriptionActivated(company_id=self.company, plan="team", period_start=START, period_end=end)

    def reminder(self, days: int = 3) -> TrialExpiring:
        """The trial ends soon."""
        return TrialExpiring(company_id=self.company, days_left=days, ends_at=TRIAL_END)

    def failed_payment(self, reason: str = "declined") -> PaymentFailed:
        """A payment was not made."""
        return PaymentFailed.model_validate(
            {
                "company_id": self.company,
                "payment_id": new_id(),
                "plan": "team",
                "amount": Money(minor=297_000, currency=Currency.TRY),
                "reason": reason,
                "reason_code": "0",
                "failed_at": START,
            }
        )

    def event(self, kind: str) -> Event:
        """The event that causes a mail of this kind."""
        return self.causes()[kind]

    def causes(self) -> dict[str, Event]:
        """One for each kind."""
        whom = {
            "company_id": self.company,
            "user_id": self.admin,
            "email": self.email,
            "name": self.name,
            "language": self.language,
        }
        secret = {**whom, "link": LINK, "expires_at": START + timedelta(hours=1)}
        alerts: tuple[Literal["account_locked", "password_changed", "account_exists"], ...]
        alerts = ("account_locked", "password_changed", "account_exists")
        return {
            "welcome": VerificationRequested.model_validate({**secret, "welcome": True}),
            "verification": VerificationRequested.model_validate({**secret, "welcome": False}),
            "password_reset": PasswordResetRequested.model_validate(secret),
            **{
                kind: SecurityAlert.model_validate({**whom, "kind": kind, "ip": "203.0.113.9", "happened_at": START})
                for kind in alerts
            },
            "invitation": MemberInvited(
                company_id=self.company,
                invitation_id=new_id(),
                email=self.email,
                role="member",
                language=self.language,
                company_name=self.company_name,
                invited_by=self.name,
                link=LINK,
                expires_at=START + timedelta(days=7),
            ),
            "workspace_ready": WorkspaceReady(
                company_id=self.company,
                workspace_id=new_id(),
                owner_id=self.admin,
                name="ödeme-servisi",
                host="odeme-1",
                url="https://odeme-1.example.dev",
                took_ms=1_420,
            ),
            "storage_warning": self.storage(80),
            "storage_full": self.storage(100),
            "payment_succeeded": self.invoice(),
            "payment_failed": self.failed_payment(),
            "payment_review": PaymentNeedsReview(
                company_id=self.company, payment_id=new_id(), difference="the currency is USD instead of TRY"
            ),
            "health_alert": HealthFailed(run_id=new_id(), check="billing", detail="readyz answered 503"),
            "trial_expiring": self.reminder(),
            "trial_expired": SubscriptionExpired(
                company_id=self.company,
                plan="team",
                expired_at=TRIAL_END,
                data_kept_until=TRIAL_END + timedelta(days=30),
            ),
        }

    def storage(self, percent: int, owner: UUID | None = None) -> WorkspaceStorageWarning:
        """The company's files take so many per cent of its 50 GB."""
        return WorkspaceStorageWarning(
            company_id=self.company,
            workspace_id=new_id(),
            owner_id=owner or self.admin,
            name="ödeme-servisi",
            percent=percent,
            used_bytes=percent * (1 << 29),
            limit_bytes=50 << 30,
            workspace_bytes=1_717_986_918,
        )

    def invoice(self) -> InvoiceIssued:
        """A paid invoice of ₺2.970,00."""
        lira = Currency.TRY
        return InvoiceIssued(
            company_id=self.company,
            invoice_id=new_id(),
            number="YAC2026000000017",
            payment_id=new_id(),
            plan="team",
            net=Money(minor=247_500, currency=lira),
            tax=Money(minor=49_500, currency=lira),
            total=Money(minor=297_000, currency=lira),
            issued_at=START,
            period_start=START,
            period_end=START + timedelta(days=30),
            document_path="/documents/invoices/17.pdf?signature=Qm-0_x",
        )


KINDS = tuple(Story().causes())
FOR_STAFF = ("payment_review", "health_alert")
