"""The kinds of text people send, each bounded and cleaned."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Literal
from zoneinfo import available_timezones

from babel import Locale
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from services.identity import mail_addresses, names, passwords


def _cleaned(code: str, clean: Callable[[str], str]) -> AfterValidator:
    """A validator whose fault carries a stable code of ours."""

    def check(text: str) -> str:
        try:
            return clean(text)
        except ValueError as error:
            raise PydanticCustomError(code, "{reason}", {"reason": str(error)}) from None

    return AfterValidator(check)


_NO_COUNTRIES = frozenset(("EU", "EZ", "UN", "QO", "XA", "XB", "ZZ"))
"""Babel's territories that are unions, placeholders or made for tests."""


def _country(code: str) -> str:
    if code not in Locale("en").territories or code in _NO_COUNTRIES:
        raise ValueError("This is no country's ISO 3166 code")
    return code


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def _timezone(name: str) -> str:
    if name not in _timezones():
        raise ValueError("This is no time zone of the IANA database")
    return name


def _line(text: str) -> str:
    return names.printable(text).strip()


Email = Annotated[str, Field(max_length=320), _cleaned("mail-address", mail_addresses.parse)]
TypedEmail = Annotated[str, Field(max_length=320)]
"""Not checked: what is no address is answered like one that nobody has."""
Name = Annotated[str, Field(max_length=200), _cleaned("name", names.clean)]
Password = Annotated[str, Field(min_length=1, max_length=passwords.MAX_LENGTH)]
Token = Annotated[str, Field(min_length=1, max_length=200)]
UserAgent = Annotated[str, Field(max_length=4096)]
Language = Literal["tr", "en"]
Country = Annotated[str, Field(pattern="^[A-Z]{2}$"), _cleaned("country", _country)]
Timezone = Annotated[str, Field(max_length=64), _cleaned("time-zone", _timezone)]
Line = Annotated[str, Field(max_length=300), _cleaned("text", _line)]
