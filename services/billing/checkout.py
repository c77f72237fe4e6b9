"""Opening a card form: the attempt is committed first, PayTR is asked outside of any transaction, then it is noted.

Crash points: before the first commit, nothing happened; after it, the attempt stands as `created` and reconciliation
asks PayTR about it; after PayTR's answer and before the note, the same, and a payment is booked all the same, since
the notification finds the attempt by its order number.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.billing import buyers, subscriptions
from services.billing.errors import (
    BuyerAddressRefused,
    DowngradeNotNow,
    PaymentAlreadyStarted,
    ProviderRefused,
    ProviderUnavailable,
)
from services.billing.models import Attempt, AttemptState, Status, Subscription
from services.billing.payments.port import CardForm, Order, OutcomeUnknown, Provider, Refused
from services.billing.plans import Plan, split_tax
from services.billing.pricing import existing_plan, plan_named, tax_percent
from services.billing.settlement import amount_of
from services.billing.transitions import may_become, step_attempt
from shared.access import company_of, user_of
from shared.clock import Clock
from shared.db import Database
from shared.errors import Invalid, TooMany
from shared.events.billing import PaymentStarted
from shared.ids import new_id
from shared.logging import get_logger
from shared.messaging import outbox
from shared.money import Currency
from shared.settings import Environment
from shared.tokens import Principal

if TYPE_CHECKING:
    from services.billing.settings import Settings

log = get_logger(__name__)

FORM_MINUTES = 30
"""PayTR's `timeout_limit`: how long the buyer has."""
ASK_AFTER = timedelta(minutes=FORM_MINUTES + 10)
"""When no result is late: the form's time and a margin for the notification."""
MOST_AN_HOUR = 20
"""Card forms a company may open in an hour."""


class Recorded(BaseModel):
    """What an Idempotency-Key remembers: that the attempt exists. Never the form's token."""

    payment_id: UUID


Operation = Callable[[], Recorded]
Once = Callable[[Session, Operation], Recorded]
"""Runs an operation once for an Idempotency-Key, in the session's transaction."""
Release = Callable[[Session], None]
"""Forgets the Idempotency-Key: the request it came with has failed."""


@dataclass(frozen=True)
class Opened:
    """A card form that waits for its buyer."""

    attempt: Attempt
    form: CardForm


@dataclass(frozen=True)
class Desk:
    """What opening a form needs beside the caller and the wish."""

    database: Database
    provider: Provider
    settings: Settings
    clock: Clock


async def open_form(
    desk: Desk, caller: Principal, plan: str, currency: Currency, once: Once, release: Release
) -> Opened:
    """Opens a card form for a month of `plan`.

    Raises NoSubscription, Invalid, BuyerAddressRefused, DowngradeNotNow, TooMany; PaymentAlreadyStarted for a
    repeated key; ProviderRefused or ProviderUnavailable, after which the same key may be used again.
    """
    attempt, order = await asyncio.to_thread(_begin, desk, caller, plan, currency, once)
    try:
        form = await desk.provider.open_form(order)
    except Refused as refusal:
        log.error("PayTR refused an order", order=order.number, reason=str(refusal))
        await asyncio.to_thread(_refused, desk, order.number, release)
        raise ProviderRefused from None
    except OutcomeUnknown as error:
        log.error("PayTR did not answer", order=order.number, error=str(error))
        await asyncio.to_thread(_forget_key, desk, release)
        raise ProviderUnavailable from None
    await asyncio.to_thread(_opened, desk, order.number)
    return Opened(attempt, form)


def _begin(desk: Desk, caller: Principal, code: str, currency: Currency, once: Once) -> tuple[Attempt, Order]:
    now = desk.clock.now()
    made: list[Attempt] = []

    with desk.database.unit_of_work() as session:

        def create() -> Recorded:
            made.append(_record(session, caller, code, currency, desk.settings, now))
            return Recorded(payment_id=made[0].id)

        recorded = once(session, create)
        if not made:
            raise PaymentAlreadyStarted(
                "The card form was handed out once and is not kept. Start again with a new key.",
                payment_id=str(recorded.payment_id),
            )
        return made[0], _order(session, made[0], caller, desk.settings)


def _record(
    session: Session, caller: Principal, code: str, currency: Currency, settings: Settings, now: datetime
) -> Attempt:
    company_id = company_of(caller)
    subscription = subscriptions.of_company(session, company_id)
    plan = plan_named(session, code)
    if plan is None or currency not in plan.prices:
        raise Invalid.field("plan", "unknown-plan", "There is no such plan in this currency")
    _may_be_bought(session, subscription, plan, currency, now)
    _not_too_many(session, company_id, now)
    amount = plan.prices[currency]
    percent = tax_percent(session, buyers.known(session, company_id).country)
    net, tax = split_tax(amount, percent)
    attempt = Attempt(
        id=new_id(),
        merchant_oid=settings.order_number_prefix + secrets.token_hex(16),
        company_id=company_id,
        user_id=user_of(caller),
        purpose="subscription",
        plan=plan.code,
        currency=currency,
        amount_minor=amount.minor,
        net_minor=net.minor,
        tax_minor=tax.minor,
        tax_percent=percent,
        test_mode=settings.paytr_test_mode,
        state=AttemptState.CREATED,
        created_at=now,
        expires_at=now + timedelta(minutes=FORM_MINUTES),
        queries=0,
        next_query_at=now + ASK_AFTER,
    )
    session.add(attempt)
    session.flush()
    return attempt


def _may_be_bought(session: Session, current: Subscription, plan: Plan, currency: Currency, now: datetime) -> None:
    """An upgrade starts at once and credits what is left; a downgrade would take workspaces away unasked."""
    running = current.status == Status.ACTIVE and current.period_end is not None and current.period_end > now
    if running and plan.prices[currency] < existing_plan(session, current.plan).prices[currency]:
        raise DowngradeNotNow(f"{current.plan} is paid until {current.period_end:%Y-%m-%d}")


def _not_too_many(session: Session, company_id: UUID, now: datetime) -> None:
    recent = select(func.count()).where(Attempt.company_id == company_id, Attempt.created_at > now - timedelta(hours=1))
    if session.execute(recent).scalar_one() >= MOST_AN_HOUR:
        raise TooMany("Too many payments were started in the last hour", retry_after=600)


def _order(session: Session, attempt: Attempt, caller: Principal, settings: Settings) -> Order:
    """PayTR's view of the attempt. Raises Invalid and BuyerAddressRefused for what PayTR would refuse."""
    buyer = buyers.known(session, attempt.company_id)
    # Letters beyond ASCII in a mail address are refused by PayTR, in words that name no field.
    if not caller.email or not caller.email.isascii() or len(caller.email) > 100:
        raise Invalid.field("email", "email-not-accepted", "Card payments need an e-mail address in plain letters")
    name = existing_plan(session, attempt.plan).name
    result = f"{settings.public_url}/billing/payment/{{}}?payment={attempt.id}"
    return Order(
        number=attempt.merchant_oid,
        amount=amount_of(attempt),
        title=f"YouAreCoder {name} (1 ay)" if caller.language == "tr" else f"YouAreCoder {name} (1 month)",
        email=caller.email,
        buyer_ip=buyer_ip(caller.ip, settings),
        buyer_name=buyer.name.strip() or caller.name.strip() or caller.email,
        buyer_address=" ".join(buyer.address.split()) or buyer.country.strip() or "-",
        buyer_phone=settings.buyer_phone,
        language="tr" if caller.language == "tr" else "en",
        ok_url=result.format("success"),
        fail_url=result.format("fail"),
        minutes=FORM_MINUTES,
        test_mode=attempt.test_mode,
    )


def buyer_ip(ip: str, settings: Settings) -> str:
    """The buyer's public IPv4, which PayTR demands (IPv6 and private addresses are refused or never open).

    On a developer's machine the configured address stands in. Raises BuyerAddressRefused.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        address = ipaddress.ip_address("::")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv4Address) and address.is_global:
        return str(address)
    if settings.environment is Environment.LOCAL:
        return settings.local_buyer_ip
    raise BuyerAddressRefused("The card form needs a public IPv4 address; this connection has none")


def _opened(desk: Desk, order_number: str) -> None:
    """Notes that the form was handed out, unless its result has come already."""
    now = desk.clock.now()
    with desk.database.unit_of_work() as session:
        attempt = _locked(session, order_number)
        if may_become(attempt, AttemptState.TOKEN_ISSUED):
            step_attempt(attempt, AttemptState.TOKEN_ISSUED)
            amount = amount_of(attempt)
            event = PaymentStarted(
                company_id=attempt.company_id, payment_id=attempt.id, plan=attempt.plan, amount=amount
            )
            outbox.add(session, event, now)


def _refused(desk: Desk, order_number: str, release: Release) -> None:
    """No form was opened and no card was asked for, so nobody is told that a payment failed."""
    now = desk.clock.now()
    with desk.database.unit_of_work() as session:
        attempt = _locked(session, order_number)
        if may_become(attempt, AttemptState.FAILED):
            step_attempt(attempt, AttemptState.FAILED)
            attempt.reason, attempt.reason_code, attempt.failed_at = "technical", "refused", now
            attempt.next_query_at = None
        release(session)


def _forget_key(desk: Desk, release: Release) -> None:
    """The attempt stays: PayTR may know it. The next try has an order number of its own."""
    with desk.database.unit_of_work() as session:
        release(session)


def _locked(session: Session, order_number: str) -> Attempt:
    query = select(Attempt).where(Attempt.merchant_oid == order_number)
    return session.scalars(query.with_for_update()).one()
