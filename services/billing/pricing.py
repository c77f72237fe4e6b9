"""Reads plans, prices and tax rates: they are data."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.billing.models import PlanRow, PriceRow, TaxRate
from services.billing.plans import Plan
from shared.money import Currency, Money

STARTER = "starter"


def all_plans(session: Session) -> list[Plan]:
    """Every plan, in the order they are shown."""
    prices: dict[str, dict[Currency, Money]] = {}
    for row in session.scalars(select(PriceRow)):
        currency = Currency(row.currency)
        prices.setdefault(row.plan, {})[currency] = Money(minor=row.minor, currency=currency)
    return [
        Plan(
            code=row.code,
            name=row.name,
            workspaces=row.workspaces,
            storage_bytes=row.storage_bytes,
            cpu_millicores=row.cpu_millicores,
            memory_bytes=row.memory_bytes,
            processes=row.processes,
            prices=prices.get(row.code, {}),
        )
        for row in session.scalars(select(PlanRow).order_by(PlanRow.position, PlanRow.code))
    ]


def plan_named(session: Session, code: str) -> Plan | None:
    """The plan with this code, or None."""
    return next((plan for plan in all_plans(session) if plan.code == code), None)


def existing_plan(session: Session, code: str) -> Plan:
    """The plan with a code that comes from our own tables."""
    plan = plan_named(session, code)
    if plan is None:
        raise LookupError(f"plan {code} is gone")
    return plan


def wanted_or_starter(session: Session, wanted: str) -> Plan:
    """The plan whose button was pressed at sign-up; Starter where it is none of ours."""
    return plan_named(session, wanted) or existing_plan(session, STARTER)


def tax_percent(session: Session, country: str) -> Decimal:
    """The tax rate for a buyer of this country (ISO 3166, two letters); countries without a row share `*`."""
    code = country[:2].upper()
    rows = session.scalars(select(TaxRate).where(TaxRate.country.in_([code, "*"])))
    rates = {row.country: row.percent for row in rows}
    return rates.get(code, rates["*"])
