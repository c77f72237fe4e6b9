"""Makes what the containers need: images, keys, secrets as files, Traefik's settings, and compose's `.env`.

    python -m deploy.compose.prepare FOLDER [--sandbox] [--without-images]

The first time it writes FOLDER/settings for you to edit. It can be run again at any time: keys stay, everything else
follows the settings and the code. Needs root: each secret belongs to the account of the one container that reads it.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import yaml

from deploy import certificates
from deploy.compose import broker, traefik
from deploy.compose.installation import HERE, OURS, SETTINGS, TEMPLATE, Installation, WrongSettings, read_settings
from deploy.database import SERVICES
from deploy.local import engine, images, keys
from deploy.local.configuration import BACKEND, DEMO_EMAIL, SANDBOX_MERCHANT
from gateway.settings import Settings

SERVICE_ID, TRAEFIK_ID, POSTGRES_ID, RABBITMQ_ID = 10001, 10002, 10003, 10004
"""Accounts inside the images (deploy/images)."""
IMAGES = ("firewall", "workspace", "postgres", "rabbitmq", "traefik", "setup", *SERVICES)
SOCKET = Path("/var/run/docker.sock")
LINGER = 4
"""Seconds a stopping service still answers on connections it has; clients keep idle ones for two."""

SETTINGS_NEEDED = ("MAIL_FROM", "PAYTR_MERCHANT_ID", "BILLING_SELLER_ADDRESS", "BILLING_SELLER_TAX_ID")
SECRETS_NEEDED = ("notifier/SMTP_URL", "billing/PAYTR_MERCHANT_KEY", "billing/PAYTR_MERCHANT_SALT")
"""What only the operator knows. (The seller's name has a default.)"""


def main() -> int:
    """The command line; 0 when done, 1 with words when not."""
    parser = argparse.ArgumentParser(prog="python -m deploy.compose.prepare", description="Make what containers need.")
    parser.add_argument("folder", type=Path, help="where settings, secrets and keys are kept")
    parser.add_argument("--sandbox", action="store_true", help="new settings: try it on this machine, by *.localhost")
    parser.add_argument("--without-images", action="store_true", help="the images are made already")
    chosen = parser.parse_args()
    try:
        return prepare(chosen.folder.absolute(), sandbox=chosen.sandbox, make_images=not chosen.without_images)
    except (WrongSettings, engine.EngineUnavailable, images.ImageUnavailable, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


def prepare(folder: Path, *, sandbox: bool, make_images: bool) -> int:
    """Makes or renews everything in the folder. Raises WrongSettings, ImageUnavailable, EngineUnavailable."""
    if os.geteuid() != 0:
        raise WrongSettings("Only root can give each secret to the one container that reads it: run it as root.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    settings = folder / SETTINGS
    if not settings.exists():
        names = ("youarecoder.localhost", "workspaces.localhost") if sandbox else ("", "")
        settings.write_text(TEMPLATE.format(domain=names[0], workspaces_domain=names[1], sandbox=int(sandbox)))
        if not sandbox:
            print(f"Now edit {settings}, then run this again.")
            return 0
    installation = Installation(folder, read_settings(settings), keys.load(folder / "keys.json"))
    if make_images:
        client = engine.ensure(folder / "engine", print)
        try:
            for name in (*IMAGES, *(("sandbox",) if installation.sandbox else ())):
                images.ensure(client, name, print)
        finally:
            client.close()
    write(installation)
    missing = _missing(installation)
    if missing:
        print("Still missing:\n  " + "\n  ".join(missing), file=sys.stderr)
        return 1
    print(f"Ready. Now: cd {folder} && docker compose up -d   (or docker-compose)\nThen: {installation.public_url}")
    return 0


def write(installation: Installation) -> None:
    """Writes every file; atomic, each, so that running containers read a whole one."""
    folder, made = installation.folder, installation.keys
    for name, owner in {**dict.fromkeys((*SERVICES, "setup", "sandbox"), SERVICE_ID), "traefik": TRAEFIK_ID,
                        "postgres": POSTGRES_ID, "rabbitmq": RABBITMQ_ID}.items():  # fmt: skip
        _folder(folder / "secrets" / name, owner, SERVICE_ID if owner == TRAEFIK_ID else owner, 0o700)
    _folder(folder / "secrets", 0, 0, 0o711)
    _folder(folder / "traefik", TRAEFIK_ID, SERVICE_ID, 0o750)
    _folder(folder / "routes", SERVICE_ID, SERVICE_ID, 0o750)
    _folder(folder / "time", 0, 0, 0o755)
    _write_secrets(installation)
    _write_certificates(installation)
    _put(folder / "traefik" / "traefik.yml", yaml.safe_dump(traefik.static(installation), sort_keys=False), TRAEFIK_ID)
    routes = traefik.dynamic(installation, _gateway_settings(installation))
    _put(folder / "routes" / "platform.yml", yaml.safe_dump(routes, sort_keys=False), SERVICE_ID)
    tokens = [file.name for file in sorted((folder / "secrets" / "traefik").iterdir()) if file.name.isupper()]
    _put(folder / "traefik" / "dns.env", "".join(f"{name}_FILE=/run/secrets/{name}\n" for name in tokens), 0)
    _put(folder / "services.env", _lines(_of_services(installation)), 0)
    _put(folder / "sandbox.env", _lines(_of_sandboxes(installation)), 0)
    # Last: with it, compose finds everything else.
    files = [HERE / "compose.yaml"] + ([HERE / "sandbox.yaml"] if installation.sandbox else [])
    _put(folder / ".env", _lines({
        "COMPOSE_PROJECT_NAME": installation.project,
        "COMPOSE_FILE": ":".join(map(str, files)),
        "YAC_DATA": str(folder),
        "YAC_INSTALLATION": made.installation,
        "YAC_BIND": installation.settings.get("BIND") or "0.0.0.0",
        "YAC_HTTP_PORT": installation.settings.get("HTTP_PORT") or "80",
        "YAC_HTTPS_PORT": installation.settings.get("HTTPS_PORT") or "443",
        "YAC_BRIDGE": installation.bridge,
        "YAC_WORKSPACES_SUBNET": str(installation.workspaces_subnet),
        "YAC_DOORS_SUBNET": str(installation.doors_subnet),
        "YAC_FRONT_SUBNET": str(installation.front_subnet),
        "YAC_CPUS": str(os.cpu_count() or 1),
        "YAC_ENGINE_SOCKET": str(SOCKET),
        "YAC_ENGINE_GROUP": str(SOCKET.stat().st_gid),
    }), 0)  # fmt: skip


def _write_secrets(installation: Installation) -> None:
    made, places = installation.keys, installation.folder / "secrets"
    database = {name: f"{name.upper()}_DATABASE_PASSWORD" for name in SERVICES}
    administrator = f"postgresql://postgres:{quote(made.superuser_password)}@postgres:5432/postgres"
    secrets: dict[str, dict[str, str]] = {
        "postgres": {"POSTGRES_PASSWORD": made.superuser_password},
        "setup": {"ADMIN_DATABASE_URL": administrator}
        | {database[name]: password for name, password in made.database_passwords.items()},
        "gateway": {"GATEWAY_SIGNING_KEY": made.signing_key, "GATEWAY_COOKIE_KEY": made.cookie_key},
        "billing": {"BILLING_DOCUMENT_KEY": made.document_key},
        "provisioner": {"PROVISIONER_PROBE_SECRET": made.probe_secret},
    }
    for name in SERVICES:
        password = quote(made.database_passwords[name])
        secrets.setdefault(name, {}).update(
            {
                f"{name.upper()}_DATABASE_URL": f"postgresql://{name}:{password}@postgres:5432/youarecoder",
                "AMQP_URL": broker.url(name, made.broker_passwords[name]),
            }
        )
    if installation.sandbox:
        paytr = {"PAYTR_MERCHANT_KEY": made.paytr_merchant_key, "PAYTR_MERCHANT_SALT": made.paytr_merchant_salt}
        secrets["billing"] |= paytr
        secrets["sandbox"] = {f"SANDBOX_{name}": value for name, value in paytr.items()}
        secrets["notifier"]["SMTP_URL"] = "smtp://mailbox:8025"
        secrets["identity"]["IDENTITY_DEMO_PASSWORD"] = made.demo_password
    owners = {"postgres": POSTGRES_ID, "rabbitmq": RABBITMQ_ID, "traefik": TRAEFIK_ID}
    for place, values in secrets.items():
        for name, value in values.items():
            _put(places / place / name, value, owners.get(place, SERVICE_ID), 0o400)
    if not (definitions := places / "rabbitmq" / "definitions.json").exists() or _is_other(definitions, made):
        _put(definitions, broker.definitions(made.broker_passwords), RABBITMQ_ID, 0o400)
    # What the operator put there.
    for file in places.glob("*/*"):
        owner = owners.get(file.parent.name, SERVICE_ID)
        os.chown(file, owner, owner if owner != TRAEFIK_ID else SERVICE_ID)
        file.chmod(0o400)


def _is_other(definitions: Path, made: keys.Keys) -> bool:
    """Hashes are salted: the file is written anew only for other accounts. New passwords: remove it first."""
    return {user["name"] for user in json.loads(definitions.read_text())["users"]} != set(made.broker_passwords)


def _write_certificates(installation: Installation) -> None:
    secrets, public = installation.folder / "secrets", installation.folder / "traefik"
    certificates.ensure(secrets / "gateway" / "auth.pem", secrets / "gateway" / "auth-key.pem", [traefik.FRONT_DOOR])
    certificates.ensure(public / "tls.pem", secrets / "traefik" / "tls-key.pem", installation.hosts)
    _put(public / "auth.pem", (secrets / "gateway" / "auth.pem").read_text(), TRAEFIK_ID)
    for file, owner in (
        (secrets / "gateway" / "auth.pem", SERVICE_ID),
        (secrets / "gateway" / "auth-key.pem", SERVICE_ID),
        (secrets / "traefik" / "tls-key.pem", TRAEFIK_ID),
        (public / "tls.pem", TRAEFIK_ID),
    ):
        os.chown(file, owner, SERVICE_ID)


def _gateway_settings(installation: Installation) -> Settings:
    secrets = installation.folder / "secrets" / "gateway"
    return Settings(
        _secrets_dir=secrets,
        environment="local",
        public_url=installation.public_url,
        workspaces_domain=installation.workspaces_domain,
        token_public_key=installation.keys.token_public_key,
        auth_certificate=secrets / "auth.pem",
        auth_key=secrets / "auth-key.pem",
    )


def _of_services(installation: Installation) -> dict[str, str]:
    """What all services are told, none of it secret."""
    own = {
        "ENVIRONMENT": "local" if installation.sandbox else "production",
        "PUBLIC_URL": installation.public_url,
        "TOKEN_PUBLIC_KEY": installation.keys.token_public_key,
        "LINGER": str(LINGER),
        "GATEWAY_AUTH_PORT": str(traefik.AUTH),
        "GATEWAY_AUTH_CERTIFICATE": "/run/secrets/auth.pem",
        "GATEWAY_AUTH_KEY": "/run/secrets/auth-key.pem",
        "GATEWAY_TRUSTED_PROXIES": str(installation.front_subnet),
        "PROVISIONER_INSTALLATION": installation.keys.installation,
        "PROVISIONER_NETWORK": f"{installation.project}_workspaces",
        "PROVISIONER_BRIDGE": installation.bridge,
        "PROVISIONER_SUBNET": str(installation.workspaces_subnet),
        "PROVISIONER_ROUTES_DIRECTORY": "/routes",
        "PROVISIONER_TRAEFIK_URL": f"http://{traefik.PROBED}:{traefik.PROBE}",
        "NOTIFIER_BILLING_URL": "http://billing:8000",
        "SCHEDULER_HEALTH_URLS": json.dumps({name: f"http://{name}:9000/readyz" for name in SERVICES}),
        **{f"GATEWAY_{name.upper()}_URL": f"http://{name}:8000" for name in BACKEND},
    }
    for name in SERVICES:
        own |= {f"{name.upper()}_{key}": value for key, value in (
            ("HOST", "0.0.0.0"), ("PORT", str(traefik.GATEWAY)), ("OPS_PORT", "9000"))}  # fmt: skip
    if installation.sandbox:
        own |= {
            "CLOCK_FILE": "/run/time/clock",
            "MAIL_FROM": "YouAreCoder <no-reply@youarecoder.test>",
            "STAFF_EMAIL": DEMO_EMAIL,
            "GATEWAY_MAILBOX_URL": installation.sites.mailbox,
            "PAYTR_MERCHANT_ID": SANDBOX_MERCHANT,
            "PAYTR_URL": "http://paytr:8000",
            "PAYTR_BROWSER_URL": installation.sites.paytr,
            "PAYTR_TEST_MODE": "1",
        }
    else:
        own |= {"PAYTR_TEST_MODE": "0"}
    theirs = {name: value for name, value in installation.settings.items() if name not in OURS and value}
    return {**theirs, **own} if installation.sandbox else {**own, **theirs}


def _of_sandboxes(installation: Installation) -> dict[str, str]:
    return {
        "SANDBOX_MAILBOX_HOST": "0.0.0.0",
        "SANDBOX_MAILBOX_PORT": "8000",
        "SANDBOX_MAILBOX_SMTP_HOST": "0.0.0.0",
        "SANDBOX_PAYTR_HOST": "0.0.0.0",
        "SANDBOX_PAYTR_PORT": "8000",
        "SANDBOX_PAYTR_MERCHANT_ID": SANDBOX_MERCHANT,
        "SANDBOX_PAYTR_NOTIFICATION_URL": f"http://gateway:{traefik.GATEWAY}/billing/callback",
        "SANDBOX_PAYTR_NOTIFICATION_HOST": installation.public_url.removeprefix("https://"),
    }


def _missing(installation: Installation) -> list[str]:
    """What production cannot start without, each with the place where it belongs."""
    if installation.sandbox:
        return []
    settings = [name for name in SETTINGS_NEEDED if not installation.settings.get(name)]
    secrets = [installation.folder / "secrets" / place for place in SECRETS_NEEDED]
    return [f"{name} in {installation.folder / SETTINGS}" for name in settings] + [
        f"the file {file}" for file in secrets if not file.exists()
    ]


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _folder(path: Path, owner: int, group: int, mode: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, owner, group)
    path.chmod(mode)


def _put(path: Path, content: str, owner: int, mode: int = 0o640) -> None:
    """Replaces the file in one step where its content changes; the group is the services', or the owner's own."""
    group = SERVICE_ID if owner in (SERVICE_ID, TRAEFIK_ID) else owner
    if path.exists() and path.read_text() == content and stat.S_IMODE(path.stat().st_mode) == mode:
        os.chown(path, owner, group)
        return
    # Not ending in .yml: Traefik watches one of these folders.
    making = path.with_name(f".{path.name}.new")
    making.unlink(missing_ok=True)
    with open(making, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
    os.chown(making, owner, group)
    making.chmod(mode)
    making.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
