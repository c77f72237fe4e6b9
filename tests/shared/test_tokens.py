"""A token is the gateway's own and fresh, or it is a BadToken and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ids import new_id
from shared.tokens import LEEWAY, LIFETIME, BadToken, Role, Signer, Verifier, new_key_pair, private_key, public_key
from tests.callers import PRIVATE_KEY, PUBLIC_KEY, START, a_member, an_admin, staff, the_gateway

SIGNER, VERIFIER = Signer(private_key(PRIVATE_KEY)), Verifier(public_key(PUBLIC_KEY))
SECOND = timedelta(seconds=1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def claims(**changes: Any) -> dict[str, Any]:
    """What the gateway signs for a member, with changes; `None` takes a claim away."""
    good = jwt.decode(SIGNER.sign(a_member(), START), options={"verify_signature": False})
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(content: dict[str, Any], key: str = PRIVATE_KEY) -> str:
    """Signed as the gateway signs, whatever it says: by hand, since the library refuses to write some claims."""
    text = f"{part({'alg': 'EdDSA', 'typ': 'JWT'})}.{part(content)}"
    return f"{text}.{encoded(private_key(key).sign(text.encode()))}"


def part(content: object) -> str:
    """A part of a token, made by hand."""
    return encoded(json.dumps(content).encode())


def encoded(raw: bytes) -> str:
    """As JOSE writes bytes."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def refused(token: str, now: Any = START) -> None:
    with pytest.raises(BadToken) as caught:
        VERIFIER.verify(token, now)
    assert str(caught.value) == ""


@pytest.mark.parametrize(
    "principal",
    [a_member(), an_admin(verified=False), staff(scopes=frozenset({"a", "b"})), the_gateway(), a_member(language="en")],
    ids=["member", "admin", "staff", "gateway", "english"],
)
def test_who_was_signed_is_who_is_read(principal: Any) -> None:
    assert VERIFIER.verify(SIGNER.sign(principal, START), START) == principal


def test_lives_from_now_until_its_end() -> None:
    token = SIGNER.sign(a_member(), START)
    for good in (START - LEEWAY, START, START + LIFETIME - SECOND):
        assert VERIFIER.verify(token, good).role is Role.MEMBER
    for bad in (START - LEEWAY - SECOND, START + LIFETIME, START + timedelta(days=400)):
        refused(token, bad)


def test_other_key_is_refused() -> None:
    refused(signed(claims(), new_key_pair()[0]))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_unsigned_is_refused(algorithm: str) -> None:
    for signature in ("", "AA", SIGNER.sign(a_member(), START).rpartition(".")[2]):
        refused(f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims())}.{signature}")


@pytest.mark.parametrize(
    "key", [PUBLIC_KEY.encode(), base64.b64decode(PUBLIC_KEY), b""], ids=["as text", "as bytes", "empty"]
)
def test_public_key_used_as_a_shared_secret_is_refused(key: bytes) -> None:
    text = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims())}"
    digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
    refused(f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "people"}, {"aud": None}, {"aud": []}, {"aud": 5}, {"iss": "somebody"}, {"iss": None},
        {"exp": None}, {"iat": None}, {"sub": None}, {"exp": "soon"}, {"exp": True}, {"iat": []}, {"sub": 5},
        {"sub": "me"}, {"role": "owner"}, {"role": []}, {"role": None}, {"company": 5}, {"company": "acme"},
        {"company": ["x"]}, {"session": {"a": 1}}, {"session": None}, {"scope": None}, {"email": None},
        {"exp": float("nan")}, {"iat": float("inf")}, {"staff": None},
    ],
)  # fmt: skip
def test_odd_claims_are_refused(changes: dict[str, Any]) -> None:
    refused(signed(claims(**changes)))


@pytest.mark.parametrize("value", ["true", 1, "yes", [True]])
def test_marks_are_true_only_when_they_are_true(value: object) -> None:
    read = VERIFIER.verify(signed(claims(staff=value, verified=value)), START)
    assert (read.staff, read.verified) == (False, False)


def test_deep_header_is_refused() -> None:
    header = encoded(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}")
    refused(f"{header}.{part(claims())}.AA")


@given(st.integers(min_value=0), st.integers(1, 255))
def test_one_changed_byte_is_refused(position: int, change: int) -> None:
    parts = [base64.urlsafe_b64decode(piece + "==") for piece in SIGNER.sign(a_member(), START).split(".")]
    whole = bytearray(b"".join(parts))
    whole[position % len(whole)] ^= change
    pieces, at = [], 0
    for piece in parts:
        pieces.append(encoded(bytes(whole[at : at + len(piece)])))
        at += len(piece)
    refused(".".join(pieces))


@given(st.text(max_size=200))
def test_no_text_is_a_token(text: str) -> None:
    refused(text)


@given(st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk"]), json_values))
def test_no_header_makes_one(header: dict[str, Any]) -> None:
    signature = SIGNER.sign(a_member(), START).rpartition(".")[2]
    refused(f"{part(header)}.{part(claims())}.{signature}")


@given(st.sampled_from(sorted(claims())), json_values)
def test_signed_claim_of_any_kind_is_read_or_refused(name: str, value: Any) -> None:
    try:
        principal = VERIFIER.verify(signed({**claims(), name: value}), START)
    except BadToken:
        return
    assert isinstance(principal.role, Role)
    assert isinstance(principal.staff, bool)


@pytest.mark.parametrize("text", ["", "short", base64.b64encode(b"x" * 31).decode(), "ğ" * 44, "!" * 44])
def test_what_is_no_key_is_a_value_error(text: str) -> None:
    for read in (private_key, public_key):
        with pytest.raises(ValueError):  # noqa: PT011  (that it is a ValueError is the promise)
            read(text)


def test_new_id_of_a_user_survives() -> None:
    user = new_id()
    assert VERIFIER.verify(SIGNER.sign(a_member(user_id=user), START), START).user_id == user
