"""Which of our hosts a request is for. Whole labels are compared, never a suffix of text (lessons S8)."""

from __future__ import annotations

import re

from gateway.settings import Settings

LABEL = re.compile(r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")
HOST = re.compile(r"^([a-z0-9.-]{1,253}?)\.?(?::\d{1,5})?$")


def host_name(given: str) -> str:
    """The host of a Host header, lowered, without port and final dot; "" for what is not one."""
    match = HOST.match(given.lower())
    return match.group(1) if match else ""


def workspace_label(host: str, settings: Settings) -> str | None:
    """The label of `<label>.<workspaces domain>`; None for every other host."""
    label, dot, domain = host.partition(".")
    return label if dot and domain == settings.workspaces_domain and LABEL.match(label) else None


def is_under_workspaces(host: str, settings: Settings) -> bool:
    """Whether the host is the workspaces' domain or anything below it, however deep."""
    wanted = settings.workspaces_domain.split(".")
    return host.split(".")[-len(wanted) :] == wanted
