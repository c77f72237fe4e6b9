"""Where a browser may be sent after it logged in: a path of ours, nothing else (lessons S7)."""

from __future__ import annotations

from urllib.parse import urlsplit

MAX = 500
HOME = "/dashboard"


def safe_path(given: str | None, default: str = HOME) -> str:
    """`given` where it is a path on this host, else `default`.

    Browsers drop tabs and line ends inside addresses, read `\\` as `/`, and take `//host` for another host; so what
    is let through is printable ASCII, begins with exactly one slash, and parses to a path with neither scheme nor host.
    """
    if not given or len(given) > MAX or not given.isascii() or not given.isprintable():
        return default
    if not given.startswith("/") or given.startswith("//") or "\\" in given or " " in given:
        return default
    try:
        parts = urlsplit(given)
    except ValueError:
        return default
    if parts.scheme or parts.netloc or "//" in parts.path or _leads_elsewhere(parts.path):
        return default
    return given


def _leads_elsewhere(path: str) -> bool:
    """Encoded slashes and dots that something on the way might decode into another host or folder."""
    lowered = path.lower()
    return any(trick in lowered for trick in ("%2f", "%5c", "%2e", "%00", "/../", "/./")) or lowered.endswith("/..")
