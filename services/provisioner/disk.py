"""How full the file system of the engine's volumes is. Below a reserve nothing is started, and what runs goes on.

The reserve is for what runs: between two looks one workspace writes some gigabytes, and the platform's own database
often lies on the same disk. Of a small disk a twentieth is kept, of a large one no more than 10 GiB: a twentieth of
terabytes would be room that nobody ever needs. A twentieth of the number of files is kept, too: small ones use that up
long before the bytes.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.provisioner import metrics
from services.provisioner.engine import DiskFull, FileSystem
from services.provisioner.models import Disk
from shared.logging import get_logger

log = get_logger(__name__)

PART = 20
MOST = 10 * 1024**3


def reserve(total_bytes: int, wanted: int | None) -> int:
    """Bytes that stay free; `wanted` is what the settings say, where they do."""
    return min(total_bytes // PART, MOST) if wanted is None else wanted


def note(session: Session, seen: FileSystem, wanted: int | None, now: datetime) -> None:
    """Keeps what was seen, and says so where it means that nothing may be started, or that it may again."""
    few_files = seen.total_files > 0 and seen.free_files < seen.total_files // PART
    low = few_files or seen.free_bytes < reserve(seen.total_bytes, wanted)
    before = session.get(Disk, True, with_for_update=True)
    if low:
        log.error("the volumes' disk is nearly full, nothing is started", free=seen.free_bytes, files=seen.free_files)
    elif before is not None and before.low:
        log.info("the volumes' disk has room again", free=seen.free_bytes)
    facts = {**vars(seen), "low": low, "read_at": now}
    session.execute(insert(Disk).values(one=True, **facts).on_conflict_do_update(index_elements=["one"], set_=facts))
    metrics.disk_free.set(seen.free_bytes)
    metrics.disk_total.set(seen.total_bytes)
    metrics.disk_low.set(low)


def note_full(session: Session, now: datetime) -> None:
    """The engine itself had no room left: nothing is free, whatever was seen before."""
    before = session.get(Disk, True)
    if before is not None:
        note(session, FileSystem(before.total_bytes, 0, before.total_files, before.free_files), None, now)


def admit(session: Session) -> None:
    """There is room to start something, as far as we know. Raises DiskFull."""
    seen = session.get(Disk, True)
    if seen is not None and seen.low:
        raise DiskFull("less is free than the reserve")
