"""What HTTP clients send and see. Everything that comes in is bounded and cleaned (`fields`)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.identity.fields import (
    Country,
    Email,
    Language,
    Line,
    Name,
    Password,
    Timezone,
    Token,
    TypedEmail,
    UserAgent,
)
from services.identity.login_sessions import Opened
from services.identity.models import Company, Invitation, LoginSession, Role, User


class Sent(BaseModel):
    """What comes in: nothing we do not know."""

    model_config = ConfigDict(extra="forbid")


class SignUp(Sent):
    company_name: Name
    country: Country = "TR"
    name: Name
    email: Email
    password: Password
    language: Language
    timezone: Timezone = "Europe/Istanbul"
    wanted_plan: Annotated[str, Field(pattern="^[a-z0-9_-]{0,40}$")] = ""


class SignedUp(BaseModel):
    email: str


class Nothing(BaseModel):
    """An empty object: the request was taken, and nothing may be told about it."""


class JustEmail(Sent):
    email: TypedEmail


class Link(Sent):
    token: Token
    user_agent: UserAgent = ""


class KnownDevice(Sent):
    """A browser the gateway says this person has come in with before."""

    user_id: UUID
    nonce: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{22}$")]


class LogIn(Sent):
    email: TypedEmail
    password: Password
    user_agent: UserAgent = ""
    device: KnownDevice | None = None


class Secret(Sent):
    secret: Token


class NewPassword(Sent):
    token: Token
    password: Password


class PasswordSet(BaseModel):
    """Whose password it is."""

    user_id: UUID


class Acceptance(Sent):
    token: Token
    name: Name
    password: Password
    language: Language
    user_agent: UserAgent = ""


class PersonChange(Sent):
    name: Name | None = None
    language: Language | None = None


class CompanyChange(Sent):
    name: Name | None = None
    country: Country | None = None
    language: Language | None = None
    timezone: Timezone | None = None
    address: Line | None = None
    tax_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z .-]{0,20}$")] | None = None
    tax_office: Annotated[Line, Field(max_length=80)] | None = None


class PasswordChange(Sent):
    current: Password
    new: Password


class RoleChange(Sent):
    role: Role


class NewInvitation(Sent):
    email: Email
    role: Role = Role.MEMBER


class PrincipalView(BaseModel):
    """Whom a session stands for, as the gateway needs it for its tokens and pages."""

    session_id: UUID
    user_id: UUID
    company_id: UUID | None
    role: Role
    staff: bool
    verified: bool
    email: str
    name: str
    language: Language
    company_name: str
    timezone: str
    expires_at: datetime

    @classmethod
    def of(cls, session: LoginSession, user: User) -> PrincipalView:
        return cls.model_validate(
            {
                "session_id": session.id,
                "user_id": user.id,
                "company_id": user.company_id,
                "role": user.role,
                "staff": user.staff,
                "verified": user.verified_at is not None,
                "email": user.email,
                "name": user.name,
                "language": user.language,
                "company_name": user.company.name,
                "timezone": user.company.timezone,
                "expires_at": session.expires_at,
            }
        )


class SessionOpened(BaseModel):
    """A new session. The secret is shown this once."""

    session_id: UUID
    secret: str
    expires_at: datetime
    user: PrincipalView

    @classmethod
    def of(cls, opened: Opened) -> SessionOpened:
        return cls(
            session_id=opened.session.id,
            secret=opened.secret,
            expires_at=opened.session.expires_at,
            user=PrincipalView.of(opened.session, opened.user),
        )


class Look(BaseModel):
    email: str
    company_name: str
    invited_by: str
    role: Role
    language: Language

    @classmethod
    def of(cls, invitation: Invitation) -> Look:
        company = invitation.company
        return cls.model_validate(
            {
                "email": invitation.email,
                "company_name": company.name,
                "invited_by": invitation.invited_by,
                "role": invitation.role,
                "language": company.language,
            }
        )


class PersonView(BaseModel):
    id: UUID
    email: str
    name: str
    language: Language
    role: Role
    staff: bool
    verified: bool

    @classmethod
    def of(cls, user: User) -> PersonView:
        facts = {name: getattr(user, name) for name in ("id", "email", "name", "language", "role", "staff")}
        return cls.model_validate({**facts, "verified": user.verified_at is not None})


class CompanyView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    country: str
    language: Language
    timezone: str
    address: str
    tax_id: str
    tax_office: str

    @classmethod
    def of(cls, company: Company) -> CompanyView:
        return cls.model_validate(company)


class Me(BaseModel):
    user: PersonView
    company: CompanyView

    @classmethod
    def of(cls, user: User) -> Me:
        return cls(user=PersonView.of(user), company=CompanyView.of(user.company))


class SessionView(BaseModel):
    id: UUID
    created_at: datetime
    last_seen_at: datetime
    ip: str
    user_agent: str
    current: bool


class MemberView(BaseModel):
    user_id: UUID
    email: str
    name: str
    role: Role
    joined_at: datetime
    verified: bool

    @classmethod
    def of(cls, user: User) -> MemberView:
        return cls(
            user_id=user.id,
            email=user.email,
            name=user.name,
            role=Role(user.role),
            joined_at=user.created_at,
            verified=user.verified_at is not None,
        )


class InvitationView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    role: Role
    expires_at: datetime
    invited_by: str
    created_at: datetime

    @classmethod
    def of(cls, invitation: Invitation) -> InvitationView:
        return cls.model_validate(invitation)


class CompanyRow(BaseModel):
    """A company as staff see it."""

    id: UUID
    name: str
    country: str
    created_at: datetime
    members: int


class PersonRow(PersonView):
    """A person as staff see them."""

    company_id: UUID
    company_name: str
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> PersonRow:
        more = {"company_id": user.company_id, "company_name": user.company.name, "created_at": user.created_at}
        return cls.model_validate({**PersonView.of(user).model_dump(), **more})
