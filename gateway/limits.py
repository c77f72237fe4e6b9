"""How often one may ask: token buckets in memory, by address and by account, bounded in number (A14).

Answers carry RateLimit-Limit, RateLimit-Remaining and RateLimit-Reset
(draft-ietf-httpapi-ratelimit-headers-07 and before), a refusal Retry-After, too.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from dataclasses import dataclass

from fastapi import Request

from shared.errors import TooMany

BUCKETS = 50_000
LONG = 64
"""Longer keys (what somebody typed as a mail address) are kept as a hash: bounded in size as they are in number."""


@dataclass(frozen=True)
class Rule:
    """At most `burst` at once, refilled evenly over `seconds`."""

    name: str
    burst: int
    seconds: int


PAGES = Rule("pages", 240, 60)
API = Rule("api", 600, 60)
ACCOUNTS = Rule("accounts", 30, 60)
"""Pages and forms before log-in, by address: an office behind one address shares it."""
LOG_IN = Rule("log-in", 20, 300)
"""By address, over all accounts."""
LOG_IN_ACCOUNT = Rule("log-in account", 10, 300)
"""By account, over all addresses. Identity locks at five wrong ones; this bounds the work a locked one makes."""
SIGN_UP = Rule("sign-up", 10, 600)
MAIL_ACCOUNT = Rule("mail account", 4, 600)
"""Mails to one address that anybody can ask for."""
LINKS = Rule("links", 20, 300)
"""One-time links: their tokens cannot be guessed, and are not to be tried either."""
BAD_CALLBACK = Rule("bad callback", 30, 60)
"""Callbacks that billing refused. PayTR's own are never refused, so they never wait."""
UNKNOWN_SESSION = Rule("unknown session", 600, 60)
"""Cookies that memory does not know and identity must be asked about, by address."""
TICKETS = Rule("tickets", 60, 60)


@dataclass
class State:
    """What is left of a rule for a key."""

    limit: int
    remaining: int
    reset: int
    """Seconds until the bucket is full."""

    def headers(self) -> dict[str, str]:
        """The standard headers."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }


class Limits:
    """The buckets. Monotonic time, not the injected clock: a shifted calendar must not lift a limit."""

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take(self, rule: Rule, key: str, cost: int = 1) -> State:
        """Takes from the key's bucket. Raises TooMany where it is empty."""
        state = self.look(rule, key, cost)
        if state.remaining < 0:
            raise TooManyRequests(state)
        return state

    def look(self, rule: Rule, key: str, cost: int = 0) -> State:
        """What is left after taking `cost`; a negative rest means it was not taken."""
        burst = max(1, int(rule.burst * self._scale))
        rate = burst / rule.seconds
        now = time.monotonic()
        if len(key) > LONG:
            key = hashlib.sha256(key.encode()).hexdigest()
        level, at = self._buckets.pop((rule.name, key), (float(burst), now))
        level = min(burst, level + (now - at) * rate)
        rest = level - cost
        if rest >= 0:
            level = rest
        self._buckets[(rule.name, key)] = (level, now)
        while len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
        wait = (burst - level) / rate if rest >= 0 else (cost - level) / rate
        return State(burst, math.floor(rest), math.ceil(wait))


class TooManyRequests(TooMany):
    """Tells when to come again."""

    def __init__(self, state: State) -> None:
        super().__init__(retry_after=max(1, state.reset))
        self.state = State(state.limit, 0, max(1, state.reset))


def take(request: Request, rule: Rule, key: str) -> None:
    """Takes from a bucket and leaves what is left for the answer's headers. Raises TooManyRequests."""
    state: Limits = request.app.state.limits
    request.state.rate = state.take(rule, key)
