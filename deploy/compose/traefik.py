"""Traefik's settings in containers: TLS at the edge, and a plain entry point for the provisioner's probe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploy.compose.installation import Installation
from deploy.local.configuration import host_of
from deploy.local.traefik import static_settings
from gateway.settings import Settings
from gateway.traefik import platform_routes

FRONT_DOOR, PROBED = "front-door", "traefik-probe"
"""The gateway's and Traefik's names on the one network where they are asked."""
GATEWAY, AUTH, PROBE = 8000, 8001, 8082
HTTP, HTTPS, PING = 8080, 8443, 8083
IDLE = "2s"
"""An idle connection to the gateway is kept for less time than a stopping gateway lingers (LINGER)."""
CERTIFICATE, KEY = "/etc/traefik/tls.pem", "/run/secrets/tls-key.pem"
AUTHORITY = "/etc/traefik/auth.pem"


def static(installation: Installation) -> dict[str, Any]:
    """What it is told at its start: those of `make up`, and around them TLS."""
    made = static_settings(Path("/routes"), host="", port=HTTPS, ping_port=PING)
    web = made["entryPoints"]["web"]
    web["http"]["tls"] = _certificates(installation)
    # The provisioner asks here: the route's answer, whatever the certificate is. Published nowhere.
    made["entryPoints"]["probe"] = {**web, "address": f":{PROBE}", "http": dict(web["http"])}
    del made["entryPoints"]["probe"]["http"]["tls"]
    public_port = installation.settings.get("HTTPS_PORT") or "443"
    made["entryPoints"]["plain"] = {
        "address": f":{HTTP}",
        "http": {
            "aliasHeadersStrategy": "delete",
            "redirections": {"entryPoint": {"to": f":{public_port}", "scheme": "https", "permanent": True}},
        },
    }
    if email := installation.settings.get("ACME_EMAIL"):
        provider = installation.settings.get("ACME_DNS_PROVIDER")
        challenge: dict[str, Any] = {"dnsChallenge": {"provider": provider}} if provider else {"tlsChallenge": {}}
        made["certificatesResolvers"] = {
            "letsencrypt": {"acme": {"email": email, "storage": "/var/lib/traefik/acme.json", **challenge}}
        }
    return made


def _certificates(installation: Installation) -> dict[str, Any]:
    if not installation.settings.get("ACME_EMAIL"):
        return {}
    if not installation.settings.get("ACME_DNS_PROVIDER"):
        return {"certResolver": "letsencrypt"}  # by the name in each route
    wildcard = {"main": f"*.{installation.workspaces_domain}"}
    return {"certResolver": "letsencrypt", "domains": [{"main": installation.settings["DOMAIN"]}, wildcard]}


def dynamic(installation: Installation, settings: Settings) -> dict[str, Any]:
    """The platform's routes, the certificate for whom no other is found, and the sandboxes'."""
    made = platform_routes(settings, gateway_url=f"http://{FRONT_DOOR}:{GATEWAY}", auth=f"{FRONT_DOOR}:{AUTH}")
    http = made["http"]
    http["middlewares"]["workspace-auth"]["forwardAuth"]["tls"]["ca"] = AUTHORITY
    # While a gateway is replaced its name stands for two containers, and one of them takes no new connection.
    http["serversTransports"] = {"gateway": {"forwardingTimeouts": {"dialTimeout": "2s", "idleConnTimeout": IDLE}}}
    http["services"]["gateway"]["loadBalancer"]["serversTransport"] = "gateway"
    made["tls"] = {"stores": {"default": {"defaultCertificate": {"certFile": CERTIFICATE, "keyFile": KEY}}}}
    if installation.sandbox:
        for name, address in (("mailbox", installation.sites.mailbox), ("paytr", installation.sites.paytr)):
            host = host_of(address).partition(":")[0]
            # Above the route of the platform's other names.
            router = {"rule": f"Host(`{host}`)", "service": name, "entryPoints": ["web"], "priority": 900}
            http["routers"][name] = router
            http["services"][name] = {"loadBalancer": {"servers": [{"url": f"http://{name}:8000"}]}}
    return made
