"""Errors a caller can understand, as RFC 9457 problem details.

    Problem                 an answer with a status, a stable code and words for the caller
    ├── BadRequest          400  it cannot be read
    ├── Unauthenticated     401  we do not know who asks
    ├── Forbidden           403  we know, and the answer is no
    ├── NotFound            404  not there, or not for this caller: the two look alike
    ├── Conflict            409  it contradicts what is
    ├── Gone                410  it was there and is over
    ├── TooLarge            413  more than we read
    ├── Invalid             422  read, and wrong: `errors` name the fields
    ├── TooMany             429  too often; `retry_after` says when
    └── Unavailable         503  not now; the caller may try again

A service raises children of these from `errors.py`, named for the situation; `shared.http` maps them once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field: its dotted path, a stable code and words for a person."""

    field: str
    code: str
    message: str


class Problem(Exception):
    """An answer with a status. `code` is the stable last part of the problem's `type`."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong on our side"

    def __init__(self, detail: str = "", *, errors: list[FieldError] | None = None, **extra: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = errors or []
        self.extra = extra


class BadRequest(Problem):
    status, code, title = 400, "bad-request", "The request could not be read"


class Unauthenticated(Problem):
    status, code, title = 401, "unauthenticated", "Log in first"


class Forbidden(Problem):
    status, code, title = 403, "forbidden", "You may not do this"


class NotFound(Problem):
    status, code, title = 404, "not-found", "There is nothing here"


class Conflict(Problem):
    status, code, title = 409, "conflict", "This contradicts the present state"


class Gone(Problem):
    status, code, title = 410, "gone", "This is over"


class TooLarge(Problem):
    status, code, title = 413, "too-large", "The request is too large"


class Invalid(Problem):
    status, code, title = 422, "invalid", "Some of it is wrong"

    @classmethod
    def field(cls, field: str, code: str, message: str) -> Invalid:
        """One field is at fault."""
        return cls(message, errors=[FieldError(field, code, message)])


class TooMany(Problem):
    status, code, title = 429, "too-many-requests", "Too many requests"

    def __init__(self, detail: str = "", *, retry_after: int, **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.retry_after = retry_after


class Unavailable(Problem):
    status, code, title = 503, "unavailable", "Not available at the moment"
