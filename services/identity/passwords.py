"""Passwords: argon2id hashes, bounded work, and bcrypt hashes of imported people until their next log-in.

The parameters are OWASP's second choice (19 MiB, two passes, one lane): https://cheatsheetseries.owasp.org/
cheatsheets/Password_Storage_Cheat_Sheet.html. The first choice (46 MiB) would let a burst of log-ins on a small
machine take the memory that workspaces need, for the same strength.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from prometheus_client import Counter

from services.identity.errors import Busy

MAX_LENGTH = 200
PARALLEL = 2
WAITING = 24
"""Requests that may wait for their turn; more are told to come again, so that hashing cannot eat all threads."""
PATIENCE_S = 10

checked = Counter("password_checks_total", "Passwords compared with a hash, a person's or the dummy")

_argon2 = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_turns = threading.BoundedSemaphore(PARALLEL)
_queue = threading.BoundedSemaphore(PARALLEL + WAITING)
_DUMMY = _argon2.hash("nobody has this password: it is compared where there is no account")


@contextmanager
def turn() -> Iterator[None]:
    """The right to hash. Raises Busy where too many wait already. Taken before a database connection is."""
    if not _queue.acquire(blocking=False):
        raise Busy
    try:
        if not _turns.acquire(timeout=PATIENCE_S):
            raise Busy
        try:
            yield
        finally:
            _turns.release()
    finally:
        _queue.release()


def hash_password(password: str) -> str:
    """The argon2id hash, some 30 ms and 19 MiB. The caller holds a `turn`."""
    return _argon2.hash(_normal(password))


def verify(stored: str | None, password: str) -> bool:
    """Whether it is the password of `stored`; without one it takes as long and is not. The caller holds a `turn`."""
    checked.inc()
    if stored is not None and _is_bcrypt(stored):
        try:
            # bcrypt reads 72 bytes; the platforms the hashes come from cut silently, this library refuses.
            return bcrypt.checkpw(password.encode()[:72], stored.encode())
        except ValueError:
            return False
    try:
        return _argon2.verify(stored or _DUMMY, _normal(password)) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(stored: str) -> bool:
    """Whether the hash is to be made again at the next log-in: bcrypt, or older parameters."""
    return _is_bcrypt(stored) or _argon2.check_needs_rehash(stored)


def _is_bcrypt(stored: str) -> bool:
    return stored.startswith(("$2a$", "$2b$", "$2y$"))


def _normal(password: str) -> str:
    # NIST SP 800-63B-4, section 3.1.1.2: the same password typed on another keyboard is the same.
    return unicodedata.normalize("NFKC", password)
