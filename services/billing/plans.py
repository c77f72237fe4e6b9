"""Plans and tax: pure rules. What a plan costs and allows is data (tables), read by `pricing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

from shared.events.billing import EntitlementsChanged
from shared.money import Currency, Money


@dataclass(frozen=True)
class Plan:
    """One plan; `workspaces` None is unlimited; prices are a month's, tax included."""

    code: str
    name: str
    workspaces: int | None
    storage_bytes: int
    cpu_millicores: int
    memory_bytes: int
    processes: int
    prices: Mapping[Currency, Money]


def entitlements(
    plan: Plan, company_id: UUID, *, active: bool, data_kept_until: datetime | None = None
) -> EntitlementsChanged:
    """What a company with this plan may use, as the fact that tells it."""
    return EntitlementsChanged(
        company_id=company_id,
        plan=plan.code,
        active=active,
        workspaces=plan.workspaces,
        storage_bytes=plan.storage_bytes,
        cpu_millicores=plan.cpu_millicores,
        memory_bytes=plan.memory_bytes,
        processes=plan.processes,
        data_kept_until=data_kept_until,
    )


def split_tax(total: Money, percent: Decimal) -> tuple[Money, Money]:
    """Net and tax of an amount that includes `percent` tax; they add up exactly. The net is rounded half up."""
    net = (Decimal(total.minor) * 100 / (100 + percent)).quantize(Decimal(1), ROUND_HALF_UP)
    return Money(minor=int(net), currency=total.currency), Money(minor=total.minor - int(net), currency=total.currency)
