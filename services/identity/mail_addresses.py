"""Mail addresses: normalised once, here, and nowhere else. Pure.

Two normalisations that differ are a hole: an address that registers as one and logs in as another takes over an
account. The local part is ASCII, which leaves no look-alikes; a domain in other letters is kept in its ASCII form.
"""

from __future__ import annotations

import unicodedata

from email_validator import EmailNotValidError, validate_email

MAX_LENGTH = 254
"""RFC 5321, section 4.5.3.1.3: 256 octets of path, angle brackets included."""


def parse(text: str) -> str:
    """The address to send to, with its local part as typed. Raises ValueError with words for the person.

    The DNS is not asked: it would make sign-up depend on it, and the link we send proves more.
    """
    cleaned = unicodedata.normalize("NFKC", text[: MAX_LENGTH * 2]).strip()
    try:
        # test_environment lets `.test` in: it never delivers, and demos and rehearsals live there.
        found = validate_email(
            cleaned, check_deliverability=False, allow_smtputf8=False, test_environment=True, strict=True
        )
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    if found.ascii_email is None or len(found.ascii_email) > MAX_LENGTH:
        raise ValueError("The address is too long")
    return found.ascii_email


def key(text: str) -> str:
    """What makes two addresses the same. Never raises: what is no address gets a key that no address has."""
    try:
        return parse(text).casefold()
    except ValueError:
        # PostgreSQL takes no NUL. The mark in front keeps `straße@…`, folded to ss, apart from `strasse@…`.
        return "no address: " + text[: MAX_LENGTH * 2].replace("\0", "\ufffd")
