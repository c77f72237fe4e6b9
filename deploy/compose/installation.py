"""One installation in one folder: what its operator chose, and what follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local.configuration import Sites
from deploy.local.keys import Keys

HERE = Path(__file__).resolve().parent
SETTINGS = "settings"
NAMES = re.compile(r"[A-Z][A-Z0-9_]{1,60}")

TEMPLATE = """\
# The settings of this installation. After a change: python -m deploy.compose.prepare FOLDER && docker compose up -d
# Secrets do not stand here, but in secrets/SERVICE/NAME, a file each: secrets/notifier/SMTP_URL,
# secrets/billing/PAYTR_MERCHANT_KEY, secrets/billing/PAYTR_MERCHANT_SALT.

# The platform's host. DNS: an A record to this server (and no AAAA: it is served by IPv4).
DOMAIN={domain}
# Each workspace has a name below this one: an A record for *.WORKSPACES_DOMAIN. Never DOMAIN itself or below it.
WORKSPACES_DOMAIN={workspaces_domain}
# Your address: certificates then come from Let's Encrypt. Empty: a certificate that browsers do not know.
ACME_EMAIL=
# A DNS provider by its name in Traefik's documentation (cloudflare, hetzner, ...): one certificate for all workspaces.
# Empty: one for each, and Let's Encrypt makes at most 50 a week. Its token: secrets/traefik/NAME_OF_ITS_VARIABLE.
ACME_DNS_PROVIDER=

MAIL_FROM=YouAreCoder <no-reply@{domain}>
STAFF_EMAIL=
PAYTR_MERCHANT_ID=
BILLING_SELLER_NAME=YouAreCoder
BILLING_SELLER_ADDRESS=
BILLING_SELLER_TAX_ID=
BILLING_SELLER_TAX_OFFICE=

# Published on this address and these ports.
BIND=0.0.0.0
HTTP_PORT=80
HTTPS_PORT=443
# 1: PayTR's sandbox, a mailbox instead of a mail server, and a demo account. Never for customers.
SANDBOX={sandbox}
# Names the containers, where one engine has several installations.
PROJECT=youarecoder
"""
OURS = frozenset(("DOMAIN", "ACME_EMAIL", "ACME_DNS_PROVIDER", "BIND", "HTTP_PORT", "HTTPS_PORT", "SANDBOX", "PROJECT"))
"""Settings that are about containers; all others are the services' own."""


class WrongSettings(RuntimeError):
    """The settings cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Installation:
    """An installation whose settings have been read."""

    folder: Path
    settings: dict[str, str]
    keys: Keys

    @property
    def sandbox(self) -> bool:
        """Whether the outside world is played."""
        return self.settings.get("SANDBOX", "") == "1"

    @property
    def project(self) -> str:
        """What compose calls it."""
        return self.settings.get("PROJECT") or "youarecoder"

    @property
    def public_url(self) -> str:
        """The platform's own address."""
        port = self.settings.get("HTTPS_PORT") or "443"
        return f"https://{self.settings['DOMAIN']}" + ("" if port == "443" else f":{port}")

    @property
    def workspaces_domain(self) -> str:
        """What workspaces' names end in."""
        return self.settings["WORKSPACES_DOMAIN"]

    @property
    def sites(self) -> Sites:
        """The sandboxes' addresses beside the platform's."""
        return Sites.choose(urlsplit(self.public_url).port or 443, {"PUBLIC_URL": self.public_url})

    @property
    def hosts(self) -> list[str]:
        """Every name that browsers ask for."""
        names = [self.settings["DOMAIN"], f"*.{self.workspaces_domain}"]
        sandboxes = [self.sites.mailbox, self.sites.paytr] if self.sandbox else []
        return names + [urlsplit(url).hostname or "" for url in sandboxes]

    @property
    def bridge(self) -> str:
        """The workspaces' network on the host."""
        return f"yac-{self.keys.installation}"

    @property
    def workspaces_subnet(self) -> IPv4Network:
        """4,096 addresses of this installation alone: several may share one engine."""
        place = self._place
        return IPv4Network(f"10.{128 + place // 16}.{place % 16 * 16}.0/20")

    @property
    def doors_subnet(self) -> IPv4Network:
        """The first sixteen of them: for what may speak to workspaces. Never a workspace's own."""
        return next(self.workspaces_subnet.subnets(new_prefix=28))

    @property
    def front_subnet(self) -> IPv4Network:
        """Between Traefik and the gateway."""
        place = self._place
        return IPv4Network(f"10.{224 + place // 1024}.{place // 4 % 256}.{place % 4 * 64}/26")

    @property
    def _place(self) -> int:
        return int(self.keys.installation, 16) % (96 * 16)


def read_settings(file: Path) -> dict[str, str]:
    """NAME=value lines; `#` begins a comment line. Raises WrongSettings."""
    found = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        name, equals, value = line.strip().partition("=")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        # Compose reads a quote, a dollar and a backslash of an environment file each version in its own way.
        if (
            not equals
            or not NAMES.fullmatch(name.strip())
            or any(mark in value for mark in ('"', "'", "$", "\\", " #"))
        ):
            raise WrongSettings(
                f"{file}, line {number}: it must be NAME=value, without quotes, $, \\ and a # after a space"
            )
        found[name.strip()] = value.strip()
    for name in ("DOMAIN", "WORKSPACES_DOMAIN"):
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", found.get(name, "")):
            raise WrongSettings(f"{file}: {name} must be a host's name")
    for name, usual in (("HTTP_PORT", "80"), ("HTTPS_PORT", "443")):
        if not 0 < int(port if (port := found.get(name) or usual).isdecimal() else 0) < 65536:
            raise WrongSettings(f"{file}: {name} must be a port")
    return found
