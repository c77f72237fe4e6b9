"""Write each service's HTTP contract from its routes: docs/openapi/<service>.json (OpenAPI 3.1).

    python -m deploy.openapi              write them
    python -m deploy.openapi --check      say what is stale, and fail

Only what the gateway lets through from outside is in it: `/api/v1/…` and PayTR's callback. Each operation says in
`x-access` who may call it, read from the route's own signature.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from shared.access import Allow
from shared.tokens import new_key_pair

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "docs/openapi"
SERVICES = ("identity", "billing", "provisioner", "notifier", "scheduler")
OUTSIDE = ("/api/v1/", "/billing/callback")

# Enough to build a service without running it; nothing is connected to.
_SETTINGS = {
    "database_url": "postgresql://nobody@localhost/none",
    "paytr_merchant_id": "1",
    "paytr_merchant_key": "0" * 16,
    "paytr_merchant_salt": "0" * 16,
    "document_key": "0" * 32,
    "smtp_url": "smtp://localhost",
    "mail_from": "nobody@example.com",
}


def documents() -> dict[str, str]:
    """Every document by its path."""
    return {f"{FOLDER}/{name}.json": json.dumps(_document(name), indent=1) + "\n" for name in SERVICES}


def access(app: FastAPI) -> dict[tuple[str, str], str]:
    """Who may call what: (method, path) to words."""
    found = {}
    for route in routes_of(app.router.routes):
        who = next((call.who for call in calls(route.dependant) if isinstance(call, Allow)), "anyone")
        found.update({(method.lower(), route.path): who for method in route.methods or ()})
    return found


def application(name: str) -> FastAPI:
    """A service's application, built and not running."""
    settings_class = import_module(f"services.{name}.settings").Settings
    known = {key: value for key, value in _SETTINGS.items() if key in settings_class.model_fields}
    settings = settings_class(token_public_key=new_key_pair()[1], **known)
    app: FastAPI = import_module(f"services.{name}.app").build(settings, {}).app
    return app


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; 1 where something is stale."""
    parser = argparse.ArgumentParser(prog="python -m deploy.openapi")
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args(arguments).check
    stale = [path for path, text in documents().items() if _read(path) != text]
    if check:
        for path in stale:
            print(f"{path} is stale: run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    for path, text in documents().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text)
    return 0


def _document(name: str) -> dict[str, Any]:
    app = application(name)
    document = app.openapi()
    allowed = access(app)
    document["paths"] = {path: item for path, item in document["paths"].items() if path.startswith(OUTSIDE)}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            operation["x-access"] = allowed[method, path]
    return document


def routes_of(found: Sequence[Any]) -> Iterator[APIRoute]:
    """The routes, also those of included routers, which FastAPI keeps as they are. Raises TypeError for other kinds."""
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        elif included := getattr(route, "original_router", None):
            yield from routes_of(included.routes)
        else:
            raise TypeError(f"a route of a kind whose access nobody knows: {route!r}")


def calls(dependant: Dependant) -> Iterator[Any]:
    """What is called before the route itself; who decides about access is among it."""
    yield dependant.call
    for inner in dependant.dependencies:
        yield from calls(inner)


def _read(path: str) -> str | None:
    file = ROOT / path
    return file.read_text() if file.exists() else None


if __name__ == "__main__":
    sys.exit(main())
