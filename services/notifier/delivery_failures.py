"""Why a mail was not taken: whether it may pass, and what staff read of it."""

from __future__ import annotations

import aiosmtplib

from services.notifier import chosen_words

PERMANENT = range(500, 600)
"""SMTP's "no, and do not ask again" (RFC 5321, section 4.2.1)."""


class AttachmentUnavailable(Exception):
    """The document that goes along cannot be had now."""


class LinkExpired(Exception):
    """The link in it is of no use any more; the reader has to ask for another."""


def is_permanent(error: Exception) -> bool:
    """Whether trying again cannot help: the server refused this mail for good, or the mail itself is at fault.

    A refused log-in, sender or greeting is ours to mend, whatever its code: the mail waits until it is.
    """
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(refused.code in PERMANENT for refused in error.recipients)
    if isinstance(error, aiosmtplib.SMTPDataError):
        return error.code in PERMANENT
    return not isinstance(error, (aiosmtplib.SMTPException, AttachmentUnavailable, OSError, TimeoutError))


def reason_of(error: Exception) -> str:
    """What staff read in the delivery log: the server's words, none of the mail's."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        said = "; ".join(f"{refused.code} {refused.message}" for refused in error.recipients)
    elif isinstance(error, aiosmtplib.SMTPResponseException):
        said = f"{error.code} {error.message}"
    elif isinstance(error, AttachmentUnavailable):
        said = str(error)
    elif isinstance(error, LinkExpired):
        said = "the link in it expired before it could be sent"
    else:
        said = type(error).__name__
    return chosen_words.one_line(said)[:1_000]  # a server may answer with anything
