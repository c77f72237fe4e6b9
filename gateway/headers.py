"""What every answer tells the browser to refuse: other people's scripts, frames, referrers, sniffing."""

from __future__ import annotations

from enum import Enum

from starlette.datastructures import MutableHeaders

from gateway.settings import Settings

OWN_ONLY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'"
)


class Policy(Enum):
    """A page's Content-Security-Policy. Who needs more than PAGE says why here."""

    PAGE = "page"
    LOG_IN = "log in"
    """Browsers apply form-action to redirects, too: logging in may lead on to the workspace that was asked for."""
    PAYMENT = "payment"
    """PayTR's form, and inside it the bank's own 3-D Secure page, whose address nobody knows: any https frame."""
    PAYMENT_RESULT = "payment result"
    """PayTR leads there inside its frame in our page; from there it breaks out."""

    def text(self, settings: Settings) -> str:
        """The header's value."""
        forms, frames, framed = "'self'", "", "'none'"
        if self is Policy.LOG_IN:
            forms = f"'self' {settings.workspace_origins}"
        elif self is Policy.PAYMENT:
            frames = f"; frame-src https: 'self' {settings.paytr_browser_origin}"
        elif self is Policy.PAYMENT_RESULT:
            framed = f"'self' {settings.paytr_browser_origin}"
        return f"{OWN_ONLY}; form-action {forms}; frame-ancestors {framed}{frames}"


NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def harden(headers: MutableHeaders, settings: Settings) -> None:
    """Fills in what an answer does not say itself."""
    policy = headers.setdefault("Content-Security-Policy", NOTHING)
    if "frame-ancestors 'none'" in policy:
        headers["X-Frame-Options"] = "DENY"
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Referrer-Policy", "same-origin")
    headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers.setdefault("Cache-Control", "no-store")
    if settings.secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"
