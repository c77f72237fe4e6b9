"""Requests nobody would think of, made from each service's own OpenAPI: none may be answered with a 5xx.

Every route is asked as who may use it most: a company's admin who is staff, too; and `/internal` as the gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.schemas import OpenApiSchema

from shared.ids import new_id
from shared.migrate import migrate
from shared.service import Service
from tests.callers import PUBLIC_KEY, an_admin, headers, the_gateway
from tests.infrastructure import Databases

SERVICES = ("identity", "billing", "provisioner", "notifier", "scheduler")
NEEDED: dict[str, dict[str, Any]] = {
    "billing": {
        "paytr_merchant_id": "100001",
        "paytr_merchant_key": "sandboxKEY000001",
        "paytr_merchant_salt": "sandboxSALT00001",
        "paytr_url": "http://127.0.0.1:9",
        "document_key": "a-key-of-tests-that-is-long-enough!",
    },
    "notifier": {"smtp_url": "smtp://127.0.0.1:9", "mail_from": "no-reply@example.com"},
}
UNASKED = {
    # A stream goes on for minutes; tests/provisioner/test_stream.py asks it.
    "/api/v1/workspaces/events",
}
UNREACHED = (502, 503)
"""Honest answers here: PayTR and the mail server are not there in this test."""
EXAMPLES = 12
"""Requests a route."""


@contextmanager
def _running(name: str, databases: Databases) -> Iterator[Service]:
    package = import_module(f"services.{name}.app")
    kind = import_module(f"services.{name}.settings").Settings
    made = databases.new()
    service: Service = package.build(kind(database_url=made(name), token_public_key=PUBLIC_KEY, **NEEDED.get(name, {})))
    migrate(service.database, service.package)
    yield service
    service.database.close()
    databases.drop(made)


def _ask_everything(service: Service, failures: list[str], seen: list[int]) -> None:
    app = service.app
    document = app.openapi()
    document["paths"] = {path: said for path, said in document["paths"].items() if path not in UNASKED}
    schema: OpenApiSchema = schemathesis.openapi.from_dict(document)
    schema.app = app
    company = new_id()
    people, platform = an_admin(company, staff=True, verified=True), the_gateway()

    def ask(case: Any) -> None:
        caller = platform if case.operation.path.startswith("/internal") else people
        answer = case.call(app=app, headers=headers(caller, service.settings.clock.now()))
        seen.append(answer.status_code)
        if answer.status_code >= 500 and answer.status_code not in UNREACHED:
            failures.append(f"{answer.status_code} {case.as_curl_command()[:600]}")

    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        bounded: Callable[[Any], Any] = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            try:
                strategy = operation.as_strategy(generation_mode=mode)
                bounded(given(case=strategy)(ask))()
            except Exception as error:
                if "Unsatisfiable" not in type(error).__name__ and "Skip" not in type(error).__name__:
                    raise


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_generated_is_answered_with_our_own_fault(name: str, databases: Databases) -> None:
    failures: list[str] = []
    seen: list[int] = []
    with _running(name, databases) as service:
        _ask_everything(service, failures, seen)
    assert not failures, "\n".join(failures[:20])
    assert len(seen) > 50, "hardly anything was asked"
