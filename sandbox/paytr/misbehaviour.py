"""How the sandbox is told to misbehave: for one order, for all of them, or for its next few answers."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=500)]
UNSIGNED_FIELDS = (
    "currency",
    "payment_amount",
    "test_mode",
    "installment_count",
    "payment_type",
    "merchant_id",
)


class AlteredFields(BaseModel):
    """Values to put into fields that the hash does not cover; an empty text drops the field."""

    model_config = ConfigDict(extra="forbid")

    currency: Text | None = None
    payment_amount: Text | None = None
    test_mode: Text | None = None
    installment_count: Text | None = None
    payment_type: Text | None = None
    merchant_id: Text | None = None


class Misbehaviour(BaseModel):
    """What to do wrong. Everything is optional; nothing set means honest behaviour."""

    model_config = ConfigDict(extra="forbid")

    surcharge: int = Field(0, ge=0, le=10**9, description="kuruş collected on top (vade farkı)")
    failed_total: Annotated[int, Field(ge=0, le=10**9)] | Literal["amount"] = Field(
        0, description="total_amount of a failed notification"
    )
    reason_code: str | None = Field(None, pattern=r"^[0-9]{1,4}$", description="failed_reason_code instead of ours")
    message: Text | None = Field(None, description="failed_reason_msg instead of ours")
    bare: bool = Field(False, description="send the signed fields and the hash only")
    duplicates: int = Field(0, ge=0, le=50, description="further copies of each notification")
    concurrent: bool = Field(False, description="send the copies at the same moment, not one after another")
    then: Literal["success", "failed"] | None = Field(None, description="a second notification that says this")
    then_after_seconds: float = Field(0.5, ge=0, le=86_400)
    bad_hash: bool | Annotated[int, Field(ge=0, le=1000)] = Field(
        False, description="true: every try carries a wrong hash; a number: the first so many tries"
    )
    alter: AlteredFields = AlteredFields()
    callback_delay_seconds: float = Field(
        0, ge=0, le=86_400, description="the buyer is on the ok page this long before the notification"
    )
    no_callback: bool = Field(False, description="the notification never comes")
    get_token: Literal["timeout_after_effect", "error_500", "html", "refuse"] | None = None
    status_query: Literal["down", "error_500", "html"] | None = None
    status_notation: Literal["dot", "comma"] = "dot"
    refund: Literal["timeout_after_effect", "error_500", "000", "008", "010", "011"] | None = None
    hang_seconds: float = Field(120, ge=0, le=600, description="how long a hanging answer hangs")
    times: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="so many answers of get_token, status_query or refund; then honest again",
    )

    def bad_hash_tries(self) -> int:
        """Return how many tries of a notification carry a wrong hash; -1 for all of them."""
        if isinstance(self.bad_hash, bool):
            return -1 if self.bad_hash else 0
        return self.bad_hash


class MisbehaveRequest(Misbehaviour):
    """The body of `POST /sandbox/misbehave`: the misbehaviour and whom it is for."""

    oid: str | None = Field(None, pattern=r"^[A-Za-z0-9]{1,64}$", description="one order; none means every order")
