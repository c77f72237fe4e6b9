"""What the sandbox remembers, in one SQLite file: orders, notifications, deliveries, refunds, misbehaviour.

No card data is in any table: the form page never sends it. A second process on the same file is not foreseen.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TABLES = """
CREATE TABLE IF NOT EXISTS orders (
  oid TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, form TEXT NOT NULL, created_at REAL NOT NULL,
  expires_at REAL NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL, is_test INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting', outcome TEXT, total INTEGER, installments INTEGER NOT NULL DEFAULT 1,
  reason_code TEXT, reason_msg TEXT, paid_at REAL, acknowledged INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS orders_waiting ON orders (expires_at) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS orders_newest ON orders (created_at);
CREATE TABLE IF NOT EXISTS notifications (
  id INTEGER PRIMARY KEY, oid TEXT NOT NULL, status TEXT NOT NULL, form TEXT NOT NULL, due_at REAL NOT NULL,
  bad_hash_tries INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'waiting');
CREATE INDEX IF NOT EXISTS notifications_due ON notifications (due_at) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS notifications_order ON notifications (oid);
CREATE TABLE IF NOT EXISTS deliveries (
  id INTEGER PRIMARY KEY, notification_id INTEGER NOT NULL, oid TEXT NOT NULL, at REAL NOT NULL,
  http_status INTEGER, body TEXT NOT NULL, error TEXT, milliseconds INTEGER NOT NULL, accepted INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS deliveries_order ON deliveries (oid);
CREATE TABLE IF NOT EXISTS refunds (
  id INTEGER PRIMARY KEY, oid TEXT NOT NULL, amount INTEGER NOT NULL, reference_no TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS refunds_order ON refunds (oid);
CREATE TABLE IF NOT EXISTS misbehaviour (scope TEXT PRIMARY KEY, said TEXT NOT NULL, times INTEGER);
"""


class Journal:
    """One connection behind one lock: every statement is short, so the event loop may call it directly."""

    def __init__(self, data_dir: Path | None) -> None:
        """Open (and make) the journal in a folder, or in memory when there is none."""
        where = ":memory:"
        if data_dir is not None:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            where = str(data_dir / "paytr-sandbox.sqlite3")
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(where, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_TABLES)

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside one transaction: all of it is kept, or none."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def row(self, query: str, *values: object) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        found = self.rows(query, *values)
        return found[0] if found else None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
