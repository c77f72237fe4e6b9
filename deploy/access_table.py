"""Write who may what, read from the routes themselves: docs/who-may-what.md.

    python -m deploy.access_table            write it
    python -m deploy.access_table --check    say whether it is stale, and fail

Each cell is what the route's own decision answers about a caller of that kind; nothing here knows a route.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi import FastAPI

import gateway.access
import gateway.app
from deploy import openapi
from gateway.sessions import Session
from gateway.settings import Settings
from shared import access, ops
from shared.tokens import Principal, Role, new_key_pair

ROOT = Path(__file__).resolve().parent.parent
FILE = "docs/who-may-what.md"
PAGES = "gateway"
NOBODY = "nobody"
SOME = UUID(int=1)
OPEN = "anyone"
"""Routes without a decision: whoever can name what is asked for (a signature in the address, PayTR's hash)."""


def _person(**facts: Any) -> Principal:
    known: dict[str, Any] = {"role": Role.MEMBER, "user_id": SOME, "company_id": SOME, "session_id": SOME}
    return Principal(**{**known, **facts})


CALLERS: dict[str, Principal | None] = {
    NOBODY: None,
    "unconfirmed": _person(role=Role.ADMIN, verified=False),
    "member": _person(),
    "admin": _person(role=Role.ADMIN),
    "reads only": _person(role=Role.ADMIN, scopes=frozenset({access.READ})),
    "staff": _person(staff=True),
    "gateway": Principal(role=Role.PLATFORM),
}
"""The columns. `unconfirmed` and `reads only` are admins, `staff` is a member of some company."""


@dataclass(frozen=True)
class Line:
    """A row: an operation and who may call it."""

    room: str
    method: str
    path: str
    who: str
    callers: frozenset[str]
    """Names of CALLERS whom the route's own decision lets in."""

    @property
    def names_something(self) -> bool:
        """Whether the address carries an id, which may be another company's."""
        return "_id}" in self.path

    @property
    def tenants(self) -> bool:
        """Whether an id is looked for among the caller's own company's only."""
        return self.names_something and bool(self.callers & {"member", "admin"})


@cache
def lines() -> tuple[Line, ...]:
    """Every operation of every service and every page, in the documents' order."""
    found: list[Line] = []
    for name in openapi.SERVICES:
        found += _of_service(name, openapi.application(name))
    found += _of_service(PAGES, _own_ops())
    for route in openapi.routes_of(_pages().router.routes):
        (decision,) = (call for call in openapi.calls(route.dependant) if isinstance(call, gateway.access.Allow))
        for method in sorted((route.methods or set()) - {"HEAD"}):
            here = frozenset(name for name, caller in CALLERS.items() if _opens(decision, caller))
            found.append(Line(PAGES, method, route.path, decision.who, here))
    return tuple(found)


def document() -> str:
    """The table as Markdown."""
    parts = [HEAD]
    apis = [line for line in lines() if line.path.startswith(("/api/", "/internal/", "/documents/", "/billing/cal"))]
    rooms = (*openapi.SERVICES, PAGES)
    parts += [_table(f"{room}: HTTP", [line for line in apis if line.room == room], API_COLUMNS) for room in rooms]
    parts.append(_table("gateway: pages", [line for line in lines() if line not in apis], PAGE_COLUMNS))
    return "\n".join(parts)


HEAD = """# Who may what

Generated from the code by `make docs`; `tests/attacks` asks every line of it. "yes" is what the route's own decision
says of such a caller, "–" a refusal: 401 for nobody, 403 for everybody else, and for a page the way to log-in.

- **nobody** has no session. **unconfirmed** is a company's admin whose mail address is not confirmed; **reads only** an
  admin by a token bound to the scope `read`. **staff** is somebody of the platform's who belongs to a company as a
  member. **gateway** is the gateway itself: `/internal` is for it alone and is not reachable from outside.
- **another's id**: what an admin of another company gets who knows the id. 404 is the same answer as for an id that
  nobody has; "all" are staff's routes, which see every company.
- "yes" is where the door ends: what a member may do to another member's things, the operation decides further in.
"""
API_COLUMNS = tuple(CALLERS)
PAGE_COLUMNS = tuple(name for name in CALLERS if name not in ("reads only", "gateway"))


def _table(title: str, rows: list[Line], columns: Sequence[str]) -> str:
    text = [f"## {title}", "", "| | " + " | ".join(columns) + " | another's id |", "|---" * (len(columns) + 2) + "|"]
    for line in rows:
        cells = ["yes" if name in line.callers else "–" for name in columns]
        ids = "404" if line.tenants else "" if not line.names_something else "all" if "staff" in line.callers else ""
        text.append(f"| `{line.method} {line.path}` | " + " | ".join([*cells, ids]) + " |")
    return "\n".join([*text, ""])


def _of_service(room: str, app: FastAPI) -> Iterator[Line]:
    for route in openapi.routes_of(app.router.routes):
        decision = next((call for call in openapi.calls(route.dependant) if isinstance(call, access.Allow)), None)
        who = decision.who if decision else OPEN
        for method in sorted((route.methods or set()) - {"HEAD"}):
            here = frozenset(name for name, caller in CALLERS.items() if _lets_in(decision, caller, method))
            yield Line(room, method, route.path, who, here)


def _lets_in(decision: access.Allow | None, caller: Principal | None, method: str) -> bool:
    if decision is None:
        return True
    return caller is not None and decision.refusal(caller, method) is None


def _opens(decision: gateway.access.Allow, caller: Principal | None) -> bool:
    if caller is not None and (caller.user_id is None or caller.scopes):
        return False  # no browser comes so
    return decision.opens_to(_session(caller) if caller else None)


def _session(caller: Principal) -> Session:
    end = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=30)
    return Session(
        session_id=SOME,
        user_id=SOME,
        company_id=caller.company_id,
        role=caller.role.value,
        staff=caller.staff,
        verified=caller.verified,
        email="",
        name="",
        language="en",
        company_name="",
        timezone="UTC",
        expires_at=end,
    )


def _pages() -> FastAPI:
    private, public = new_key_pair()
    keys: dict[str, Any] = {"signing_key": private, "token_public_key": public, "cookie_key": "0" * 32}
    # Enough to build it; nothing is connected to.
    return gateway.app.build(Settings(database_url="postgresql://nobody@localhost/none", **keys), {}).app


def _own_ops() -> FastAPI:
    app = FastAPI()
    app.router.routes.clear()  # FastAPI's own documents; the services' applications have none either
    app.include_router(ops.router(PAGES))
    return app


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; 1 where the table is stale."""
    parser = argparse.ArgumentParser(prog="python -m deploy.access_table")
    parser.add_argument("--check", action="store_true")
    file = ROOT / FILE
    if parser.parse_args(arguments).check:
        if not file.exists() or file.read_text(encoding="utf-8") != document():
            print(f"{FILE} is stale: run `make docs`", file=sys.stderr)
            return 1
        return 0
    file.write_text(document(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
