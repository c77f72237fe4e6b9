"""Billing as a process: its own command line and environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.billing.house import MERCHANT
from tests.callers import PUBLIC_KEY
from tests.infrastructure import TestDatabase

ROOT = Path(__file__).parents[2]


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "services.billing", *arguments],
        cwd=ROOT, env={**kept, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_it_migrates_an_empty_schema_twice_and_lists_its_parked_events(database: TestDatabase) -> None:
    environment = {
        "BILLING_DATABASE_URL": database("billing"),
        "TOKEN_PUBLIC_KEY": PUBLIC_KEY,
        "PAYTR_MERCHANT_ID": MERCHANT.merchant_id,
        "PAYTR_MERCHANT_KEY": MERCHANT.key,
        "PAYTR_MERCHANT_SALT": MERCHANT.salt,
        "BILLING_DOCUMENT_KEY": "k" * 32,
    }
    behind = run(environment, "api")
    assert behind.returncode != 0
    assert "migrate" in behind.stderr
    for arguments in (["migrate"], ["migrate"], ["dead-letters", "list"]):
        done = run(environment, *arguments)
        assert done.returncode == 0, done.stderr


def test_without_its_secrets_it_names_what_is_missing_and_ends() -> None:
    done = run({"PAYTR_MERCHANT_KEY": "secret!"}, "migrate")
    assert done.returncode == 2
    for name in ("PAYTR_MERCHANT_ID", "DOCUMENT_KEY", "DATABASE_URL"):
        assert name in done.stderr
    assert "secret!" not in done.stderr
