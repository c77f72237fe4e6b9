"""Billing's settings, prefix BILLING_. Those of PayTR are also read without it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.settings import Environment, ServiceSettings

ADDRESS = r"^https?://[^/\s]+$"


class Settings(ServiceSettings):
    """Refuses to start where money could go astray: test mode or plain HTTP in production, short keys anywhere."""

    prefix: ClassVar[str] = "BILLING_"
    plain: ClassVar[frozenset[str]] = frozenset(
        (
            "paytr_merchant_id",
            "paytr_merchant_key",
            "paytr_merchant_salt",
            "paytr_url",
            "paytr_test_mode",
            "paytr_browser_url",
        )
    )

    paytr_merchant_id: Annotated[str, Field(pattern=r"^[0-9]{1,20}$", description="Mağaza No")]
    paytr_merchant_key: Annotated[SecretStr, Field(min_length=8, description="Mağaza Parola: the HMAC key")]
    paytr_merchant_salt: Annotated[SecretStr, Field(min_length=8, description="Mağaza Gizli Anahtar")]
    paytr_url: Annotated[str, Field(pattern=ADDRESS, description="PayTR, or its sandbox")] = "https://www.paytr.com"
    paytr_browser_url: Annotated[
        str,
        Field(pattern=r"^$|^https?://\S+$", description="where the buyer's browser reaches PayTR; empty: PAYTR_URL"),
    ] = ""
    paytr_test_mode: Annotated[bool, Field(description="1: no card is charged. Production demands 0")] = True
    order_prefix: Annotated[
        str,
        Field(
            pattern=r"^([a-z]{1,8})?$",
            description="letters before our order numbers, where several installations share one PayTR store",
        ),
    ] = ""
    document_key: Annotated[SecretStr, Field(min_length=32, description="signs the addresses of invoice documents")]
    local_buyer_ip: Annotated[
        str, Field(description="IPv4 shown to PayTR for buyers on this machine; used in the local environment only")
    ] = "203.0.113.10"
    buyer_phone: Annotated[
        str, Field(pattern=r"^[0-9+]{7,20}$", description="PayTR wants a phone; we ask buyers for none and send this")
    ] = "0000000000"
    seller_name: Annotated[str, Field(max_length=200, description="who invoices")] = "YouAreCoder"
    seller_address: Annotated[str, Field(max_length=400)] = ""
    seller_tax_id: Annotated[str, Field(max_length=20, description="VKN")] = ""
    seller_tax_office: Annotated[str, Field(max_length=100)] = ""

    @field_validator("paytr_browser_url")
    @classmethod
    def _without_last_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _production_takes_real_money_only(self) -> Self:
        if self.environment is Environment.PRODUCTION:
            if self.paytr_test_mode:
                raise ValueError("PAYTR_TEST_MODE must be 0 in production: a test payment would buy a subscription")
            if not self.paytr_url.startswith("https://") or not self.browser_url.startswith("https://"):
                raise ValueError("PAYTR_URL and PAYTR_BROWSER_URL must be https in production: answers are unsigned")
            if not (self.seller_address and self.seller_tax_id):
                raise ValueError("BILLING_SELLER_ADDRESS and BILLING_SELLER_TAX_ID are needed: invoices carry them")
        return self

    @property
    def browser_url(self) -> str:
        """PayTR's address as the buyer's browser sees it."""
        return self.paytr_browser_url or self.paytr_url

    @property
    def order_number_prefix(self) -> str:
        """The first letters of our `merchant_oid`s."""
        return self.order_prefix or ("p" if self.environment is Environment.PRODUCTION else "d")
