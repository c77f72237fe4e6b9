"""What billing answers when it cannot do what was asked.

BillingError
├── NoSubscription          404  the company's sign-up has not reached us yet
├── NothingToCancel         409  there is no running subscription
├── NothingToResume         409  nothing was cancelled, or it is over: only a payment brings it back
├── PaymentAlreadyStarted   409  this Idempotency-Key has opened a card form already
├── DowngradeNotNow         409  a smaller plan can be bought when the paid period is over
├── BuyerAddressRefused     422  the card form needs a public IPv4 address
└── ProviderUnavailable     502/503  PayTR refused or did not answer
"""

from __future__ import annotations

from shared.errors import Problem


class BillingError(Problem):
    """Any answer of billing's own."""


class NoSubscription(BillingError):
    status, code, title = 404, "no-subscription", "There is no subscription yet"


class NothingToCancel(BillingError):
    status, code, title = 409, "nothing-to-cancel", "There is nothing to cancel"


class NothingToResume(BillingError):
    status, code, title = 409, "nothing-to-resume", "There is nothing to resume"


class PaymentAlreadyStarted(BillingError):
    status, code, title = 409, "payment-already-started", "This payment was started already"


class DowngradeNotNow(BillingError):
    status, code, title = 409, "downgrade-not-now", "A smaller plan starts when the paid period is over"


class BuyerAddressRefused(BillingError):
    status, code, title = 422, "address-not-accepted", "The card form cannot be opened from this network"


class ProviderRefused(BillingError):
    status, code, title = 502, "payment-provider-unavailable", "The payment provider cannot take a payment now"


class ProviderUnavailable(BillingError):
    status, code, title = 503, "payment-provider-unavailable", "The payment provider does not answer"
