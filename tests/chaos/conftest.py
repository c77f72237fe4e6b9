"""What the chaos tests share: a seed and a record each, and a folder for servers they may break."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.record import Record


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Record:
    """A record with the seed in `CHAOS_SEED`, or a new one; tests/conftest.py prints it at the end of the run."""
    kept = Record(int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000)))
    record_property("chaos", kept.words)
    return kept


@pytest.fixture(scope="module")
def own_folder(run_folder: Path) -> Path:
    """A folder for this file's own servers, which other accounts may enter; removed with the run's."""
    made = Path(tempfile.mkdtemp(prefix="chaos-", dir=run_folder))
    made.chmod(0o711)
    return made
