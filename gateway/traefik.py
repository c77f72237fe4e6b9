"""The part of Traefik's routes that never changes while the platform runs; the deployer writes it to `platform.yml`."""

from __future__ import annotations

import re
from typing import Any

from gateway.forward_auth import PATH
from gateway.settings import Settings

STRIPPED = ("X-Forwarded-User", "X-Probe", "X-Correlation-Id", "Proxy", "Forwarded", "X-Real-Ip")
"""Headers that something behind us might believe and only a client could have set."""


def platform_routes(settings: Settings, gateway_url: str, auth: str, *, entry_point: str = "web") -> dict[str, Any]:
    """Traefik's dynamic configuration; `gateway_url` is its HTTP server as `http://host:port`, `auth` its internal port
    as `host:port`. Over TLS where the settings name a certificate, which Traefik then reads as its authority.

    Provides `gateway@file` and `workspace-auth@file` to the provisioner's routes.
    """
    domain = settings.workspaces_domain
    certificate = settings.auth_certificate
    tls = {"tls": {"ca": str(certificate)}} if certificate else {}
    router = {"entryPoints": [entry_point], "service": "gateway", "middlewares": ["from-outside"]}
    return {
        "http": {
            "routers": {
                "platform": {**router, "rule": f"Host(`{settings.platform_host}`)", "priority": 1000},
                # A host of ours that no workspace's route takes: the gateway has a page for it. The provisioner's
                # routes win by a priority above this one's.
                "unknown-workspace": {
                    **router,
                    "rule": f"HostRegexp(`^[a-z0-9-]+\\.{re.escape(domain)}$`)",
                    "priority": 3,
                },
                # By address or another name, and PayTR's callback wherever its panel points: the gateway decides.
                "other-names": {**router, "rule": "PathPrefix(`/`)", "priority": 1},
            },
            "services": {"gateway": {"loadBalancer": {"servers": [{"url": gateway_url}], "passHostHeader": True}}},
            "middlewares": {
                "from-outside": {"headers": {"customRequestHeaders": dict.fromkeys(STRIPPED, "")}},
                "workspace-auth": {
                    "forwardAuth": {
                        "address": f"{'https' if certificate else 'http'}://{auth}{PATH}",
                        **tls,
                        "trustForwardHeader": False,
                        # Taken from the answer, and taken away where the answer has none: no cookie of ours and no
                        # Authorization reaches a container.
                        "authResponseHeaders": ["Cookie", "Authorization"],
                        # A line and a Location at most; without a bound Traefik warns in its log at every new route.
                        "maxResponseBodySize": 4096,
                    }
                },
            },
        }
    }
