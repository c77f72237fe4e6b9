"""Orders of the sandbox store: issued with a token, settled once by the buyer or by time, notified, refunded."""

import json
import secrets
import sqlite3
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sandbox.paytr.journal import Journal
from sandbox.paytr.misbehaviour import UNSIGNED_FIELDS, Misbehaviour
from sandbox.paytr.settings import PaytrSandboxSettings
from sandbox.paytr.signatures import notification_hash
from sandbox.paytr.token_request import CURRENCIES

Outcome: TypeAlias = Literal["success", "decline", "give_up", "expired"]

_GAVE_UP = ("6", "Müşteri ödeme yapmaktan vazgeçti ve ödeme sayfasından ayrıldı.")
_REASONS: dict[Outcome, tuple[str, str]] = {
    "decline": ("0", "Kartın limiti/bakiyesi yetersiz."),
    "give_up": _GAVE_UP,
    "expired": _GAVE_UP,
}
SEQUENTIAL_GAP_SECONDS = 0.3


@dataclass(frozen=True)
class Settlement:
    """How an order ended: the notification to watch (None when none will come) and when it is due."""

    oid: str
    state: str
    notification_id: int | None
    due_at: float | None


def issue(journal: Journal, settings: PaytrSandboxSettings, form: dict[str, str], now: float) -> str | None:
    """Keep a checked get-token form as an order and return its token; None where the order number is used."""
    token = secrets.token_hex(32)
    minutes = int(form.get("timeout_limit") or 30)
    kept = {name: value for name, value in form.items() if name != "paytr_token"}
    is_test = settings.store_test_mode or form.get("test_mode") == "1"
    try:
        with journal.change() as db:
            db.execute(
                "INSERT INTO orders (oid, token, form, created_at, expires_at, amount, currency, is_test)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (form["merchant_oid"], token, json.dumps(kept), now, now + minutes * settings.minute_seconds,
                 int(form["payment_amount"]), CURRENCIES[form.get("currency", "")], is_test),
            )  # fmt: skip
    except sqlite3.IntegrityError:
        return None
    return token


def instalment_total(amount: int, installments: int) -> int:
    """Return the kuruş a card is charged in so many instalments: 2 % more for each beyond the first, rounded up."""
    return amount + -(-amount * 2 * (installments - 1) // 100)


def settle(
    journal: Journal, settings: PaytrSandboxSettings, misbehaviour: Misbehaviour, oid: str, outcome: Outcome,
    now: float, installments: int = 1,
) -> Settlement | None:  # fmt: skip
    """End a waiting order and queue its notifications in one transaction; None where it had already ended."""
    paid = outcome == "success"
    with journal.change() as db:
        order = db.execute("SELECT * FROM orders WHERE oid = ? AND state = 'waiting'", (oid,)).fetchone()
        if order is None:
            return None
        total = instalment_total(order["amount"], installments) + misbehaviour.surcharge
        reason: tuple[str | None, str | None] = (None, None)
        if not paid:
            code, message = _REASONS[outcome]
            reason = (misbehaviour.reason_code or code, misbehaviour.message or message)
        db.execute(
            "UPDATE orders SET state = ?, outcome = ?, total = ?, installments = ?, reason_code = ?, reason_msg = ?,"
            " paid_at = ? WHERE oid = ?",
            ("paid" if paid else "failed", outcome, total if paid else 0, installments, *reason,
             now if paid else None, oid),
        )  # fmt: skip
        order = db.execute("SELECT * FROM orders WHERE oid = ?", (oid,)).fetchone()
        if misbehaviour.no_callback:
            return Settlement(oid, "paid" if paid else "failed", None, None)
        due = now + misbehaviour.callback_delay_seconds
        first = _queue(db, settings, misbehaviour, order, paid, total, reason, due)
        if misbehaviour.then:
            later_paid = misbehaviour.then == "success"
            if later_paid and not paid:
                db.execute(
                    "UPDATE orders SET state = 'paid', total = ?, paid_at = ? WHERE oid = ?",
                    (total, now, oid),
                )
            later_reason = reason if reason[0] else _REASONS["decline"]
            _queue(db, settings, misbehaviour, order, later_paid, total, later_reason,
                   due + misbehaviour.then_after_seconds)  # fmt: skip
    return Settlement(oid, "paid" if paid else "failed", first, due)


def _queue(
    db: sqlite3.Connection, settings: PaytrSandboxSettings, wrong: Misbehaviour, order: sqlite3.Row, paid: bool,
    total: int, reason: tuple[str | None, str | None], due: float,
) -> int:  # fmt: skip
    form = _notification(settings, wrong, order, paid, total, reason)
    first = 0
    for copy in range(wrong.duplicates + 1):
        at = due if wrong.concurrent else due + copy * SEQUENTIAL_GAP_SECONDS
        made = db.execute(
            "INSERT INTO notifications (oid, status, form, due_at, bad_hash_tries) VALUES (?, ?, ?, ?, ?)",
            (order["oid"], form["status"], json.dumps(form), at, wrong.bad_hash_tries()),
        )
        first = first or int(made.lastrowid or 0)
    return first


def _notification(
    settings: PaytrSandboxSettings, wrong: Misbehaviour, order: sqlite3.Row, paid: bool, total: int,
    reason: tuple[str | None, str | None],
) -> dict[str, str]:  # fmt: skip
    oid, status = order["oid"], "success" if paid else "failed"
    if not paid:
        total = order["amount"] if wrong.failed_total == "amount" else wrong.failed_total
    form = {"merchant_oid": oid, "status": status, "total_amount": str(total)}
    form["hash"] = notification_hash(
        oid, status, form["total_amount"], key=settings.merchant_key, salt=settings.merchant_salt
    )
    if wrong.bare:
        return form
    form |= {"test_mode": "1" if order["is_test"] else "0", "payment_type": "card"}
    if paid:
        form |= {"currency": order["currency"], "payment_amount": str(order["amount"])}
        form["installment_count"] = str(order["installments"])
    else:
        form |= {"failed_reason_code": reason[0] or "0", "failed_reason_msg": reason[1] or ""}
    form["merchant_id"] = settings.merchant_id
    for field in UNSIGNED_FIELDS:
        value = getattr(wrong.alter, field)
        if value == "":
            form.pop(field, None)
        elif value is not None:
            form[field] = value
    return form


def refunded(journal: Journal, oid: str) -> int:
    """Return the kuruş refunded of an order so far."""
    row = journal.row("SELECT coalesce(sum(amount), 0) AS sum FROM refunds WHERE oid = ?", oid)
    return int(row["sum"]) if row else 0
