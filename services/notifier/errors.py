"""What the notifier answers when it cannot."""

from __future__ import annotations

from shared.errors import Conflict, NotFound


class NoSuchMail(NotFound):
    code = "no-such-mail"
    title = "There is no such mail"


class CannotResend(Conflict):
    code = "cannot-resend"
    title = "Only a mail that failed in the last seven days can be sent again"
