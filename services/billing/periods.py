"""Months, trials and graces: dates in, dates out. All in UTC."""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta

TRIAL = timedelta(days=14)
GRACE = timedelta(days=7)
DATA_KEPT = timedelta(days=30)
"""How long a company's data stays after its workspaces may not run any more."""


def month_after(moment: datetime, anchor_day: int) -> datetime:
    """A month later, on `anchor_day` or the month's last day: 31 Jan → 28 Feb → 31 Mar with anchor 31."""
    year, month = moment.year + moment.month // 12, moment.month % 12 + 1
    day = min(anchor_day, calendar.monthrange(year, month)[1])
    return moment.replace(year=year, month=month, day=day)


def credited_time(left: timedelta, old_price: int, new_price: int) -> timedelta:
    """The time of a new plan that the unused time of an old one pays for, in whole seconds, rounded down.

    Prices are minor units of one currency a month; a plan without a price is worth nothing.
    """
    if left <= timedelta() or new_price <= 0:
        return timedelta()
    return timedelta(seconds=int(left.total_seconds()) * old_price // new_price)
