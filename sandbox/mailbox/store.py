"""The mails, in one SQLite file: bounded in number and in bytes, the oldest go first."""

import json
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

from sandbox.mailbox.parsing import clean, parse

_TABLE = """
CREATE TABLE IF NOT EXISTS mails (
  id INTEGER PRIMARY KEY AUTOINCREMENT, received_at TEXT NOT NULL, envelope_from TEXT NOT NULL,
  recipients TEXT NOT NULL, sender TEXT NOT NULL, subject TEXT NOT NULL, size INTEGER NOT NULL, raw BLOB NOT NULL);
"""


class MailStore:
    """One connection behind one lock."""

    def __init__(self, data_dir: Path | None, *, keep: int, keep_bytes: int) -> None:
        """Open (and make) the file in a folder, or keep mails in memory when there is none."""
        where = ":memory:"
        if data_dir is not None:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            where = str(data_dir / "mailbox.sqlite3")
        self._keep, self._keep_bytes = keep, keep_bytes
        self._lock = threading.RLock()
        self._db = sqlite3.connect(where, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_TABLE)

    def add(self, envelope_from: str, recipients: list[str], raw: bytes) -> int:
        """Keep a mail, let the oldest go where there are too many, and return its id."""
        mail = parse(raw)
        with self._lock, self._db:
            made = self._db.execute(
                "INSERT INTO mails (received_at, envelope_from, recipients, sender, subject, size, raw)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (datetime.now(UTC).isoformat(timespec="milliseconds"), clean(envelope_from),
                 json.dumps([clean(one) for one in recipients]), mail.sender, mail.subject, len(raw), raw),
            )  # fmt: skip
            self._db.execute(
                "DELETE FROM mails WHERE id NOT IN (SELECT id FROM mails ORDER BY id DESC LIMIT ?)",
                (self._keep,),
            )
            self._db.execute(
                "DELETE FROM mails WHERE id IN (SELECT id FROM (SELECT id, sum(size) OVER (ORDER BY id DESC) AS sum"
                " FROM mails) WHERE sum > ?) AND id <> ?",
                (self._keep_bytes, made.lastrowid),
            )
        return int(made.lastrowid or 0)

    def newest(self, *, to: str = "", subject: str = "", limit: int = 50) -> list[sqlite3.Row]:
        """Return mails, newest first: `to` is a whole address or, without an @, a part of one."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, received_at, envelope_from, recipients, sender, subject, size FROM mails ORDER BY id DESC"
            ).fetchall()
        found = [row for row in rows if self._matches(row, to.casefold(), subject.casefold())]
        return found[:limit]

    @staticmethod
    def _matches(row: sqlite3.Row, to: str, subject: str) -> bool:
        if subject not in row["subject"].casefold():
            return False
        addresses = [address.casefold() for address in json.loads(row["recipients"])]
        return to in addresses if "@" in to else any(to in address for address in addresses)

    def one(self, mail_id: int) -> sqlite3.Row | None:
        """Return a mail, or None."""
        if mail_id >= 2**63:  # more than SQLite can hold, so none of ours
            return None
        with self._lock:
            row: sqlite3.Row | None = self._db.execute("SELECT * FROM mails WHERE id = ?", (mail_id,)).fetchone()
            return row

    def clear(self) -> int:
        """Throw all mails away and return how many there were."""
        with self._lock, self._db:
            return self._db.execute("DELETE FROM mails").rowcount

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
