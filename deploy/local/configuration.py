"""How the parts on one machine find each other: the settings of every service, as environment variables.

What the operator has set wins: `SMTP_URL`, `AMQP_URL`, `PAYTR_*` and `*_DATABASE_URL` switch a part to a real one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from deploy.database import SERVICES
from deploy.local.keys import Keys
from deploy.local.processes import free_port
from shared.settings import COMMON, ServiceSettings

BACKEND = tuple(service for service in SERVICES if service != "gateway")
SANDBOX_MERCHANT = "100001"
DEMO_EMAIL = "demo@youarecoder.test"


@dataclass(frozen=True)
class Addresses:
    """Who listens where. All but `public` is on the loopback interface."""

    public: int
    gateway: int
    auth: int
    mailbox: int
    smtp: int
    paytr: int
    ops: dict[str, int]
    http: dict[str, int]

    @classmethod
    def choose(cls, public: int) -> Addresses:
        """Free ports for everything behind the public one."""
        single = {name: free_port() for name in ("gateway", "auth", "mailbox", "smtp", "paytr")}
        ops = {name: free_port() for name in (*SERVICES, "platform")}
        return cls(public=public, ops=ops, http={name: free_port() for name in BACKEND}, **single)


@dataclass(frozen=True)
class Given:
    """What the operator's environment says about each part that has a stand-in."""

    smtp: bool
    paytr: bool
    databases: bool
    broker: bool

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Given:
        """Which parts are real."""
        return cls(
            smtp="SMTP_URL" in environment,
            # One of them is enough to mean PayTR; what is missing is then asked for.
            paytr=any(f"PAYTR_MERCHANT_{part}" in environment for part in ("ID", "KEY", "SALT")),
            databases=all(database_variable(service) in environment for service in SERVICES),
            broker="AMQP_URL" in environment,
        )


@dataclass(frozen=True)
class Sites:
    """The addresses a person's browser is given: the platform's, and the sandboxes' beside it."""

    public: str
    mailbox: str
    paytr: str

    @classmethod
    def choose(cls, port: int, outside: Mapping[str, str]) -> Sites:
        """`PUBLIC_URL` decides: its scheme and port (a proxy's, perhaps) are the sandboxes' too.

        Browsers resolve *.localhost by themselves (RFC 6761, 6.3). For any other host the sandboxes are names below
        it; below an address there are no names, and the sandboxes stay on this machine.
        """
        here = "" if port == 80 else f":{port}"
        public = outside.get("PUBLIC_URL") or f"http://youarecoder.localhost{here}"
        scheme, _, rest = public.partition("://")
        host, _, given_port = rest.partition(":")
        there = f":{given_port}" if given_port else ""
        if host == "localhost" or host.endswith(".localhost"):
            pattern = f"{scheme}://{{}}.localhost{there}"
        elif host.replace(".", "").isdigit() or not host or host.startswith("["):
            pattern = f"http://{{}}.localhost{here}"
        else:
            pattern = f"{scheme}://{{}}.{host}{there}"
        return cls(public=public, mailbox=pattern.format("mailbox"), paytr=pattern.format("paytr"))


def database_variable(service: str) -> str:
    """Where a service's database is said."""
    return f"{service.upper()}_DATABASE_URL"


def environment(
    data: Path, keys: Keys, addresses: Addresses, databases: Mapping[str, str], outside: Mapping[str, str]
) -> dict[str, str]:
    """Every variable the services read; `outside` is the operator's own environment and wins."""
    given, sites = Given.read(outside), Sites.choose(addresses.public, outside)
    ours = {
        "ENVIRONMENT": "local",
        "TOKEN_PUBLIC_KEY": keys.token_public_key,
        "PUBLIC_URL": sites.public,
        "WORKSPACES_DOMAIN": "workspaces.localhost",
        "CLOCK_FILE": str(data / "clock"),
        "GATEWAY_SIGNING_KEY": keys.signing_key,
        "GATEWAY_COOKIE_KEY": keys.cookie_key,
        "GATEWAY_TRUSTED_PROXIES": "127.0.0.1",
        "GATEWAY_PORT": str(addresses.gateway),
        "GATEWAY_AUTH_PORT": str(addresses.auth),
        "GATEWAY_AUTH_CERTIFICATE": str(data / "auth.pem"),
        "GATEWAY_AUTH_KEY": str(data / "auth-key.pem"),
        "BILLING_DOCUMENT_KEY": keys.document_key,
        "IDENTITY_DEMO_PASSWORD": keys.demo_password,
        "PROVISIONER_ROUTES_DIRECTORY": str(data / "routes"),
        "PROVISIONER_TRAEFIK_URL": f"http://127.0.0.1:{addresses.public}",
        "PROVISIONER_PROBE_SECRET": keys.probe_secret,
        "PROVISIONER_INSTALLATION": keys.installation,
        **_network(keys.installation),
        "NOTIFIER_BILLING_URL": f"http://127.0.0.1:{addresses.http['billing']}",
    }
    ours |= {database_variable(name): url for name, url in databases.items()}
    ours |= {f"{name.upper()}_OPS_PORT": str(addresses.ops[name]) for name in SERVICES}
    ours |= {f"{name.upper()}_PORT": str(addresses.http[name]) for name in BACKEND}
    ours |= {f"GATEWAY_{name.upper()}_URL": f"http://127.0.0.1:{addresses.http[name]}" for name in BACKEND}
    if "DOCKER_HOST" in outside:
        ours["PROVISIONER_DOCKER_HOST"] = outside["DOCKER_HOST"]
    if not given.smtp:
        ours |= {
            "SMTP_URL": f"smtp://127.0.0.1:{addresses.smtp}",
            "MAIL_FROM": "YouAreCoder <no-reply@youarecoder.test>",
            "STAFF_EMAIL": DEMO_EMAIL,
            "GATEWAY_MAILBOX_URL": sites.mailbox,
        }
    if not given.paytr:
        ours |= {
            "PAYTR_MERCHANT_ID": SANDBOX_MERCHANT,
            "PAYTR_MERCHANT_KEY": keys.paytr_merchant_key,
            "PAYTR_MERCHANT_SALT": keys.paytr_merchant_salt,
            "PAYTR_URL": f"http://127.0.0.1:{addresses.paytr}",
            "PAYTR_BROWSER_URL": sites.paytr,
            "PAYTR_TEST_MODE": "1",
        }
    return {**ours, **{name: value for name, value in outside.items() if name in ours or name == "AMQP_URL"}}


def _network(installation: str) -> dict[str, str]:
    """The workspaces' network of this installation: several may share one engine, and each has its own addresses."""
    place = int(installation, 16) % (96 * 16)
    return {
        "PROVISIONER_NETWORK": f"youarecoder-{installation}",
        "PROVISIONER_BRIDGE": f"yac-{installation}",
        "PROVISIONER_SUBNET": f"10.{128 + place // 16}.{place % 16 * 16}.0/20",
    }


def faults(outside: Mapping[str, str]) -> list[str]:
    """What is wrong with the settings of all services in this process's environment, one line a variable.

    A variable is named as the operator set it in `outside`; values are never told: they may be secrets.
    """
    found: dict[str, str] = {}
    for service in SERVICES:
        kind: type[ServiceSettings] = import_module(f"{package_of(service)}.settings").Settings
        try:
            kind()
        except ValidationError as error:
            for fault in error.errors(include_input=False, include_url=False):
                words = fault["msg"].removeprefix("Value error, ")
                if not fault["loc"]:  # the settings do not fit together
                    found.setdefault(words, words)
                    continue
                name = str(fault["loc"][0])
                setting = name.removeprefix(kind.prefix).lower()
                if setting in COMMON | kind.plain and name not in outside:
                    name = setting.upper()
                meant = kind.model_fields[setting].description
                found.setdefault(name, f"{name}: {words}" + (f" ({meant})" if meant else ""))
    return list(found.values())


def package_of(service: str) -> str:
    """The import name of a service."""
    return f"services.{service}" if service in BACKEND else service


def health_urls(addresses: Addresses, separate: bool) -> str:
    """SCHEDULER_HEALTH_URLS: one process to ask, or each."""
    asked = SERVICES if separate else ("platform",)
    return json.dumps({name: f"http://127.0.0.1:{addresses.ops[name]}/readyz" for name in asked})


def host_of(url: str) -> str:
    """The host and port of an address, as a Host header says it."""
    return urlsplit(url).netloc
