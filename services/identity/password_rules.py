"""What may be a password: long enough, not one everybody tries first, not a word from the account itself. Pure.

NIST SP 800-63B-4, section 3.1.1.2: length and a list, no rules about kinds of characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from shared.errors import Invalid

MIN_LENGTH = 10
_LIST = Path(__file__).with_name("common_passwords.txt")
_AS_LETTERS = str.maketrans("013457@$!|", "oieastasil")
_PLAIN = str.maketrans("ıçğöşüâîû", "icgosuaiu")
_WALKS = (
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertyuıopğüasdfghjklşizxcvbnmöç",
    "qazwsxedcrfvtgbyhnujmikolp",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "1q2w3e4r5t6y7u8i9o0p",
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "98765432109876543210",
    "zyxwvutsrqponmlkjihgfedcba",
)


def check(password: str, email: str, *names: str, field: str = "password") -> None:
    """Raises Invalid with the one rule that is broken: password-too-short, password-common, password-is-email."""
    if len(password) < MIN_LENGTH:
        raise _fault(field, "password-too-short", f"Use at least {MIN_LENGTH} characters")
    told = _folded(password)
    if told in _own_words(email, names):
        raise _fault(field, "password-is-email", "Do not use your mail address or a name as the password")
    if is_common(password):
        raise _fault(field, "password-common", "This password is one of those that are tried first")


def is_common(password: str) -> bool:
    """Whether it is a well-known word or walk over the keys, dressed up with digits, signs, capitals or repetition."""
    folded = _folded(password)
    if folded.isdigit() and len(folded) <= 12:
        return True  # dates, telephone and identity numbers
    return any(_is_known(form) for form in _forms(folded))


def _is_known(form: str) -> bool:
    unit = _repeated(form)
    return len(unit) <= 4 or unit in _common() or any(unit in walk or unit[::-1] in walk for walk in _WALKS)


def _forms(folded: str) -> Iterator[str]:
    plain = folded.translate(_PLAIN)
    for text in (folded, plain, plain.translate(_AS_LETTERS)):
        yield text
        core = text.strip("0123456789.,;:!?*+-_#@$%&/()=\"' ")
        yield core
        yield core.replace(" ", "").replace("_", "").replace("-", "").replace(".", "")


def _repeated(text: str) -> str:
    """The shortest text of which `text` is made by repetition."""
    for size in range(1, len(text) // 2 + 1):
        if len(text) % size == 0 and text == text[:size] * (len(text) // size):
            return text[:size]
    return text


def _own_words(email: str, names: Iterable[str]) -> set[str]:
    local, _, domain = email.partition("@")
    words = {email, local, domain, domain.partition(".")[0], *names}
    return {form for word in words if word for form in (_folded(word), _folded(word).replace(" ", ""))}


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("İ", "i").casefold().strip()


@cache
def _common() -> frozenset[str]:
    lines = _LIST.read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def _fault(field: str, code: str, message: str) -> Invalid:
    return Invalid.field(field, code, message)
