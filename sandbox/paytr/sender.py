"""Sends notifications to the merchant until the answer is exactly `OK`, as PayTR does.

The queue is the journal, so what was not accepted is sent again after a restart. Nothing but a 200 whose body
is the two bytes `OK` is an acceptance; redirects are failures and are never followed.
"""

import asyncio
import contextlib
import json
import sqlite3
import time
from urllib.parse import urlencode

import httpx

from sandbox.paytr import misbehaviour_book, orders
from sandbox.paytr.journal import Journal
from sandbox.paytr.settings import PaytrSandboxSettings

KEPT_OF_AN_ANSWER = 2_000
_IDLE_SECONDS = 5.0
_AT_ONCE = 40


def spoiled(signature: str) -> str:
    """Return a well-formed signature that is another one."""
    return ("B" if signature[0] == "A" else "A") + signature[1:]


class Sender:
    """A task that wakes when something is due; `start` and `stop` belong to the app's lifespan."""

    def __init__(self, journal: Journal, settings: PaytrSandboxSettings) -> None:
        """Prepare; nothing is sent before `start`."""
        self._journal = journal
        self._settings = settings
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._flying: dict[int, asyncio.Task[None]] = {}
        self._tried: dict[int, asyncio.Event] = {}
        self._client: httpx.AsyncClient | None = None

    async def start(self) -> None:
        """Begin to send what is due, also what a former run left behind."""
        self._client = httpx.AsyncClient(
            follow_redirects=False, trust_env=False, timeout=self._settings.callback_timeout_seconds,
            limits=httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=0),
        )  # fmt: skip
        self._task = asyncio.create_task(self._run(), name="paytr-sandbox-sender")

    async def stop(self) -> None:
        """Stop; a notification under way counts as not answered and is sent again by the next run."""
        tasks = [task for task in (self._task, *self._flying.values()) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client:
            await self._client.aclose()

    def wake(self) -> None:
        """Look at the queue now."""
        self._wake.set()

    async def wait_for_try(self, notification_id: int, seconds: float) -> None:
        """Wait until a notification has been tried once more, or so many seconds have passed."""
        event = self._tried.setdefault(notification_id, asyncio.Event())
        self.wake()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)
        self._tried.pop(notification_id, None)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            self._end_expired()
            now = time.time()
            waiting = self._journal.rows(
                "SELECT * FROM notifications WHERE state = 'waiting' ORDER BY due_at, id LIMIT ?",
                _AT_ONCE * 2,
            )
            for row in waiting:
                if row["due_at"] <= now and row["id"] not in self._flying and len(self._flying) < _AT_ONCE:
                    task = asyncio.create_task(self._try(row))
                    self._flying[row["id"]] = task
                    task.add_done_callback(lambda _, key=row["id"]: self._landed(key))  # type: ignore[misc]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._until_next())

    def _landed(self, key: int) -> None:
        self._flying.pop(key, None)
        if key in self._tried:
            self._tried[key].set()
        self._wake.set()

    def _until_next(self) -> float:
        now = time.time()
        due = [row["due_at"] for row in self._journal.rows(
            "SELECT id, due_at FROM notifications WHERE state = 'waiting' ORDER BY due_at LIMIT ?", _AT_ONCE * 2
        ) if row["id"] not in self._flying]  # fmt: skip
        expiry = self._journal.row("SELECT min(expires_at) AS at FROM orders WHERE state = 'waiting'")
        if expiry and expiry["at"] is not None:
            due.append(expiry["at"])
        if len(self._flying) >= _AT_ONCE:
            return _IDLE_SECONDS
        return max(0.0, min([at - now for at in due], default=_IDLE_SECONDS))

    def _end_expired(self) -> None:
        now = time.time()
        for row in self._journal.rows("SELECT oid FROM orders WHERE state = 'waiting' AND expires_at <= ?", now):
            said = misbehaviour_book.read(self._journal, row["oid"])
            orders.settle(self._journal, self._settings, said, row["oid"], "expired", now)

    async def _try(self, row: sqlite3.Row) -> None:
        form = json.loads(row["form"])
        if row["bad_hash_tries"] < 0 or row["tries"] < row["bad_hash_tries"]:
            form["hash"] = spoiled(form["hash"])
        began = time.monotonic()
        status, body, error = await self._post(urlencode(form).encode("ascii"))
        accepted = status == 200 and body == b"OK" and error is None
        now = time.time()
        tries = row["tries"] + 1
        waits = self._settings.retry_seconds
        state = "accepted" if accepted else "given_up" if tries >= self._settings.max_tries else "waiting"
        with self._journal.change() as db:
            db.execute(
                "INSERT INTO deliveries (notification_id, oid, at, http_status, body, error, milliseconds, accepted)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (row["id"], row["oid"], now, status, body.decode("utf-8", "replace"), error,
                 round((time.monotonic() - began) * 1000), accepted),
            )  # fmt: skip
            db.execute(
                "UPDATE notifications SET tries = ?, state = ?, due_at = ? WHERE id = ?",
                (tries, state, now + waits[min(tries, len(waits)) - 1], row["id"]),
            )
            if accepted and row["status"] == "success":
                db.execute("UPDATE orders SET acknowledged = 1 WHERE oid = ?", (row["oid"],))

    async def _post(self, content: bytes) -> tuple[int | None, bytes, str | None]:
        if self._client is None:
            raise RuntimeError("the sender has not been started")
        # Not compressed, so that the bytes that came are the bytes that are judged.
        headers = {"content-type": "application/x-www-form-urlencoded", "accept-encoding": "identity",
                   "user-agent": "PayTR-sandbox"}  # fmt: skip
        if self._settings.notification_host:
            headers["host"] = self._settings.notification_host
        status, body = None, b""
        try:
            async with asyncio.timeout(self._settings.callback_timeout_seconds):
                async with self._client.stream(
                    "POST", self._settings.notification_url, content=content, headers=headers
                ) as answer:
                    status = answer.status_code
                    async for part in answer.aiter_raw():
                        body += part
                        if len(body) > KEPT_OF_AN_ANSWER:
                            break
        except TimeoutError:
            return status, body[:KEPT_OF_AN_ANSWER], "no answer in time"
        except httpx.HTTPError as error:
            return status, body[:KEPT_OF_AN_ANSWER], f"{type(error).__name__}: {error}"[:300]
        return status, body[:KEPT_OF_AN_ANSWER], None
