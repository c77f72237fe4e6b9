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

PROBLEM = {
    "description": "What went wrong (RFC 9457)",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "correlation_id"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "correlation_id": {"type": "string"},
                    "errors": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {name: {"type": "string"} for name in ("field", "code", "message")},
                        },
                    },
                },
            }
        }
    },
}

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
    for route in _routes(app.routes):
        who = next(_allowed(route.dependant), "anyone")
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
            operation["responses"].pop("422", None)
            operation["responses"]["4XX"] = PROBLEM
            operation["responses"]["5XX"] = PROBLEM
    return document


def _routes(found: Sequence[Any]) -> Iterator[APIRoute]:
    """The API's routes, also those of included routers, which FastAPI keeps as they are."""
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        elif included := getattr(route, "original_router", None):
            yield from _routes(included.routes)


def _allowed(dependant: Dependant) -> Iterator[str]:
    if isinstance(dependant.call, Allow):
        yield dependant.call.who
    for inner in dependant.dependencies:
        yield from _allowed(inner)


def _read(path: str) -> str | None:
    file = ROOT / path
    return file.read_text() if file.exists() else None


if __name__ == "__main__":
    sys.exit(main())
