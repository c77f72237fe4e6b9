"""Where a request comes from. A header a client can set is never believed (see `trusted_proxies`)."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

Networks = tuple[IPv4Network | IPv6Network, ...]
UNKNOWN = "0.0.0.0"


def address(scope: Scope, trusted: Networks) -> str:
    """The client's address: the TCP peer's, or what our own proxy says it saw.

    Our proxy appends its peer to X-Forwarded-For, so only the last entry of the last such header is its word; all
    before it came from outside.
    """
    peer = _normal((scope.get("client") or ("",))[0])
    if not trusted or not _is_within(peer, trusted):
        return peer
    given = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    if not given:
        return peer
    return _normal(given[-1].rpartition(b",")[2].decode("latin-1").strip()) if given[-1] else peer


def network(ip: str) -> str:
    """What one customer usually has: the address itself, or the /64 of an IPv6 address."""
    parsed = ip_address(ip)
    return str(IPv6Network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else ip


@lru_cache(maxsize=10_000)
def _normal(text: str) -> str:
    try:
        parsed = ip_address(text)
    except ValueError:
        return UNKNOWN
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


@lru_cache(maxsize=10_000)
def _is_within(ip: str, networks: Networks) -> bool:
    parsed = ip_address(ip)
    return any(parsed in network for network in networks)
