"""What the notifier answers when it cannot."""

from __future__ import annotations

from shared.errors import Conflict, NotFound


class NoSuchMail(NotFound):
    code = "no-such-mail"
    title = "There is no such mail"


class CannotResend(Conflict):
    code = "cannot-resend"
    title = "This mail cannot be sent again: its contents were removed once it was sent"
