"""What identity tells: companies, people, who belongs to whom, and what happens to log-ins."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from shared.events import CompanyEvent, Language, Text

Role = Literal["admin", "member"]


class PersonEvent(CompanyEvent):
    """An event of one person in a company."""

    subject_field: ClassVar[str] = "user_id"

    user_id: UUID


class LinkMailed(PersonEvent):
    """A person is sent a link that opens something, once, until it expires. Who has the link has what it opens."""

    sensitive: ClassVar[bool] = True

    email: Text
    name: Text
    language: Language
    link: Text
    expires_at: datetime


class CompanyCreated(CompanyEvent):
    """A company exists and its first admin has signed up. It does not say that the admin's mail is verified."""

    type: ClassVar[str] = "company.created"
    subject_field: ClassVar[str] = "company_id"

    name: Text
    country: Text
    language: Language
    timezone: Text
    created_at: datetime
    wanted_plan: Text = ""
    """The plan whose button was pressed; billing decides what to make of it."""


class CompanyUpdated(CompanyEvent):
    """The company's own details are now these. It does not say which of them changed."""

    type: ClassVar[str] = "company.updated"
    subject_field: ClassVar[str] = "company_id"

    name: Text
    country: Text
    language: Language
    timezone: Text
    address: Text = ""
    tax_id: Text = ""
    tax_office: Text = ""


class UserRegistered(PersonEvent):
    """A person has an account in this company. It does not say that the mail address is verified."""

    type: ClassVar[str] = "user.registered"

    email: Text
    name: Text
    language: Language
    role: Role


class UserUpdated(PersonEvent):
    """The person's name or language is now this."""

    type: ClassVar[str] = "user.updated"

    email: Text
    name: Text
    language: Language


class VerificationRequested(LinkMailed):
    """A person is to confirm their mail address by this link. It does not say that they did."""

    type: ClassVar[str] = "verification.requested"

    welcome: bool
    """True the first time, when the mail also welcomes."""


class UserVerified(PersonEvent):
    """The person has shown that the mail address is theirs."""

    type: ClassVar[str] = "user.verified"
    unread_because: ClassVar[str | None] = "identity decides by it; for reports and webhooks to come"


class MemberInvited(CompanyEvent):
    """An admin has invited a mail address into the company. It does not say that an account exists."""

    type: ClassVar[str] = "member.invited"
    subject_field: ClassVar[str] = "invitation_id"
    sensitive: ClassVar[bool] = True

    invitation_id: UUID
    email: Text
    role: Role
    language: Language
    company_name: Text
    invited_by: Text
    link: Text
    expires_at: datetime


class MemberJoined(PersonEvent):
    """The person is now a member of the company in this role."""

    type: ClassVar[str] = "member.joined"

    role: Role


class MemberRoleChanged(PersonEvent):
    """The person's role in the company is now this."""

    type: ClassVar[str] = "member.role_changed"

    role: Role


class MemberRemoved(PersonEvent):
    """The person no longer belongs to the company. Their workspaces still exist; what becomes of them is not said."""

    type: ClassVar[str] = "member.removed"


class PasswordResetRequested(LinkMailed):
    """A person may set a new password by this link, once, until it expires."""

    type: ClassVar[str] = "password.reset_requested"


class SessionRevoked(CompanyEvent):
    """A session is over before its time: log-out, reset, removal, or revoked by its owner."""

    type: ClassVar[str] = "session.revoked"
    subject_field: ClassVar[str] = "session_id"

    session_id: UUID
    user_id: UUID
    revoked_at: datetime


class SecurityAlert(PersonEvent):
    """Something happened to an account that its owner should know at once."""

    type: ClassVar[str] = "security.alert"

    email: Text
    name: Text
    language: Language
    kind: Literal["account_locked", "password_changed", "account_exists"]
    ip: Text
    happened_at: datetime
