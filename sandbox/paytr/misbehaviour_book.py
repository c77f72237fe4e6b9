"""Where orders to misbehave are kept: the order's own word goes before the word for all."""

import json

from sandbox.paytr.journal import Journal
from sandbox.paytr.misbehaviour import Misbehaviour

_ALL = "*"


def write(journal: Journal, oid: str | None, said: Misbehaviour) -> None:
    """Replace what is said for one order (or for all, when `oid` is None)."""
    text = said.model_dump_json(exclude_unset=True, exclude={"oid", "times"})
    with journal.change() as db:
        db.execute(
            "INSERT INTO misbehaviour (scope, said, times) VALUES (?, ?, ?)"
            " ON CONFLICT (scope) DO UPDATE SET said = excluded.said, times = excluded.times",
            (oid or _ALL, text, said.times),
        )


def forget(journal: Journal, oid: str | None) -> None:
    """Behave again: for one order, or altogether when `oid` is None."""
    with journal.change() as db:
        if oid:
            db.execute("DELETE FROM misbehaviour WHERE scope = ?", (oid,))
        else:
            db.execute("DELETE FROM misbehaviour")


def read(journal: Journal, oid: str) -> Misbehaviour:
    """Return what to do wrong for an order: its own settings over those for all."""
    said: dict[str, object] = {}
    for scope in (_ALL, oid):
        row = journal.row("SELECT said FROM misbehaviour WHERE scope = ?", scope)
        if row:
            said |= json.loads(row["said"])
    return Misbehaviour.model_validate(said)


def everything(journal: Journal) -> dict[str, dict[str, object]]:
    """Return all that is said, by order number, `*` being all orders."""
    return {
        row["scope"]: json.loads(row["said"]) | ({"times": row["times"]} if row["times"] is not None else {})
        for row in journal.rows("SELECT * FROM misbehaviour ORDER BY scope")
    }


def take(journal: Journal, oid: str, kind: str) -> str | None:
    """Return the fault to show on one answer (`get_token`, `status_query`, `refund`) and count it against `times`."""
    for scope in (oid, _ALL):
        with journal.change() as db:
            row = db.execute("SELECT said, times FROM misbehaviour WHERE scope = ?", (scope,)).fetchone()
            fault = json.loads(row["said"]).get(kind) if row else None
            if fault is None or row["times"] == 0:
                continue
            db.execute("UPDATE misbehaviour SET times = times - 1 WHERE scope = ? AND times IS NOT NULL", (scope,))
            return str(fault)
    return None
