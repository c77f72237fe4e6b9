"""After years of customers: what people do is still found by an index. Every statement of a story is explained."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from deploy.local import postgres
from deploy.local.configuration import DEMO_EMAIL
from tests.journeys.large import COMPANIES, database_of, grow
from tests.journeys.person import PASSWORD, Person
from tests.journeys.platform import RunningPlatform, eventually

pytestmark = pytest.mark.e2e

LINE = re.compile(r"^[\d-]+ [\d:.]+ UTC \[\d+\] (?:(?P<user>\w+)@youarecoder )?(?P<level>[A-Z]+):  (?P<said>.*)$")
LITERAL = re.compile(r"'(?:[^']|'')*'(?:::[\w.\[\]]+)?|\b\d+(?:\.\d+)?\b")
SHAPE = re.compile(r"\((\?, )+\?\)")
EXPLAINED = ("select", "insert", "update", "delete", "with")
MOST_ROWS = 2_000
"""Of a large table, that a statement may expect to read."""

STREAMS = ("Nested Loop", "Index Scan", "Index Only Scan", "LockRows", "Result", "Subquery Scan", "Memoize")
"""Pass rows on as they come, where a sort or a count reads all first."""


@dataclass(frozen=True)
class Statement:
    """One shape of statement, as one of its callers sent it."""

    role: str
    text: str


def statements(log: Path, offset: int) -> dict[tuple[str, str], Statement]:
    """What the services sent since `offset`, one example of each shape."""
    found: dict[tuple[str, str], Statement] = {}
    role, lines = "", []

    def keep() -> None:
        text = "\n".join(lines)
        if text.lstrip().lower().startswith(EXPLAINED):
            found.setdefault((role, SHAPE.sub("(…)", LITERAL.sub("?", text))), Statement(role, text))

    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(offset)
        for line in file:
            begins = LINE.match(line)
            if begins is None:
                lines.append(line.rstrip("\n").removeprefix("\t"))
                continue
            keep()
            said = begins["said"]
            role, lines = begins["user"] or "", [said.removeprefix("statement: ")] if "statement: " in said else []
    keep()
    return found


def faults(plan: dict[str, Any], large: dict[str, float], bounded: bool = False) -> Iterator[tuple[str, str]]:
    """Tables of the plan that are read whole or nearly, and how. `bounded`: a LIMIT above ends the reading early."""
    table, kind = plan.get("Relation Name", ""), plan["Node Type"]
    if table in large and kind == "Seq Scan":
        yield table, f"reads all of its {large[table]:.0f} rows"
    elif table in large and plan["Plan Rows"] > MOST_ROWS and not bounded:
        yield table, f"expects {plan['Plan Rows']} rows by {kind}"
    bounded = (bounded and kind in STREAMS) or (kind == "Limit" and plan["Plan Rows"] <= MOST_ROWS)
    for inner in plan.get("Plans", ()):
        yield from faults(inner, large, bounded)


@pytest.fixture
def large(run_folder: Path) -> Iterator[RunningPlatform]:
    """A platform with years of customers, which tells its database's log every statement."""
    platform = RunningPlatform(
        run_folder / f"large-{secrets.token_hex(4)}", "embedded", extra={"DOCKER_HOST": "unix:///nonexistent"}
    )
    try:
        grow(platform, "alter database youarecoder set log_statement = 'all'")
        platform.start()
        yield platform
    finally:
        platform.stop()


def live(platform: RunningPlatform) -> None:
    """What customers, newcomers and staff do."""
    with Person(platform, "tr") as newcomer:
        newcomer.sign_up("Yeni AŞ")
        newcomer.pay("team")
        newcomer.wait_for_subscription("active")
        newcomer.new_workspace("ilk")
        eventually(lambda: newcomer.get("/invoices")["items"], "the invoice")
    with Person(platform, "en") as customer:
        assert customer.submit("/forgot", "/forgot", email="p2@large.example").status_code == 200
        assert customer.log_in("p1@large.example", "not this one").status_code == 401
        assert customer.log_in("p1@large.example", PASSWORD).status_code == 303
        for page in ("/dashboard", "/team", "/billing/", "/account", "/settings", "/workspaces/new"):
            customer.see(page)
        listed = customer.get("/workspaces?limit=3")
        customer.get(f"/workspaces?limit=3&cursor={listed['next']}")
        workspace = listed["items"][0]["id"]
        customer.see(f"/workspaces/{workspace}")
        for path in ("/workspaces/quota", "/payments", "/invoices", "/members", "/invitations", "/sessions"):
            customer.get(path)
        assert customer.api("POST", f"/workspaces/{workspace}/start").status_code == 202
        assert customer.api("POST", f"/workspaces/{workspace}/stop").status_code == 202
        assert customer.api("DELETE", f"/workspaces/{workspace}").status_code == 202
        invited = {"email": "invited@large.example", "role": "member"}
        assert customer.api("POST", "/invitations", invited).status_code == 201
    with Person(platform, "en") as staff:
        assert staff.log_in(DEMO_EMAIL, platform.keys["demo_password"]).status_code == 303
        staff.see("/admin")
        for listed_by in ("companies", "users", "subscriptions", "payments", "workspaces", "mails"):
            staff.see(f"/admin/{listed_by}")
        staff.see("/admin/jobs")


def test_nothing_people_do_reads_a_whole_table(large: RunningPlatform) -> None:
    log = large.data / "postgres" / "postgres.log"
    offset = log.stat().st_size
    live(large)
    server = postgres.attach(large.data / "postgres")
    assert server is not None
    connection = psycopg2.connect(database_of(server))
    found: list[str] = []
    with connection.cursor() as cursor:
        cursor.execute("select relname, reltuples from pg_class where relkind = 'r' and reltuples >= %s", [COMPANIES])
        sizes = dict(cursor.fetchall())
        assert {"users", "workspaces", "invoices", "mails", "timers"} <= set(sizes)
        sent = statements(log, offset)
        assert len(sent) > 100, len(sent)
        for statement in sent.values():
            cursor.execute("select set_config('search_path', %s, true)", [statement.role])
            cursor.execute("explain (format json) " + statement.text.replace("%", "%%"), [])
            plan = cursor.fetchone()[0][0]["Plan"]  # type: ignore[index]
            for table, how in faults(plan, sizes):
                found.append(f"{statement.role}.{table} {how}:\n{statement.text[:600]}\n{json.dumps(plan)[:300]}")
            connection.rollback()
    connection.close()
    assert not found, "\n\n".join(found)
