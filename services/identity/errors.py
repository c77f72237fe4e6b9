"""What identity answers when it cannot. Words for who asks, and never a word about somebody else's account."""

from __future__ import annotations

from shared.errors import Conflict, Gone, TooMany, Unauthenticated, Unavailable


class WrongCredentials(Unauthenticated):
    """The one answer for an unknown mail, a wrong password and a locked account."""

    code = "wrong-credentials"
    title = "The mail address or the password is wrong, or the account is locked for a while"


class LinkExpired(Gone):
    """The one answer for a link that is used, too old, or was never given."""

    code = "link-expired"
    title = "This link has been used or is too old"


class LastAdmin(Conflict):
    code = "last-admin"
    title = "A company keeps at least one admin: make somebody else admin first"


class AlreadyMember(Conflict):
    code = "already-member"
    title = "This person is a member of your company already"


class AlreadyInvited(Conflict):
    code = "already-invited"
    title = "This address has an open invitation: send it again or withdraw it"


class AccountExists(Conflict):
    """Shown only to who holds the link that was sent to the address, so it tells nobody else."""

    code = "account-exists"
    title = "There is an account with this mail address already; it has to leave its company first"


class TooManyInvitations(Conflict):
    code = "too-many-invitations"
    title = "Too many invitations are open: withdraw some first"


class TooSoon(TooMany):
    code = "too-soon"
    title = "This was sent a moment ago"


class Busy(Unavailable):
    code = "busy"
    title = "Many people log in at the moment; try again in a few seconds"
