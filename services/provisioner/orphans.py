"""What is in the engine and belongs to no workspace. Never a file of a workspace that exists or can be brought back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.provisioner import measure, metrics
from services.provisioner.engine import Container, Engine, EngineError
from services.provisioner.models import Workspace
from services.provisioner.settings import Settings
from services.provisioner.states import State
from shared.logging import get_logger

if TYPE_CHECKING:
    from services.provisioner.reconcile import ControlLoop

log = get_logger(__name__)


async def sweep_containers(loop: ControlLoop, engine: Engine, orphans: Sequence[Container]) -> None:
    """Removes containers without a living row."""
    for container in orphans:
        try:
            await loop.ask(engine.stop, container, 0)
        except EngineError as error:
            log.warning("orphan container stays for now", error=str(error)[:300])
            continue
        metrics.orphans.labels("container").inc()
        log.warning("orphan container removed", workspace_id=str(container.workspace_id))


async def sweep_volumes(loop: ControlLoop, engine: Engine, settings: Settings, now: datetime) -> None:
    """Removes volumes of erased workspaces, and of unknown ones where they are old.

    Erased is the one state nothing leads out of: what was read of it still holds when the volume goes.

    Old, because a database that was put back to an earlier state does not know what was made since; somebody must
    have the time to stop us then.
    """
    volumes = await loop.ask(engine.volumes)
    states = await loop.write(lambda session: _states(session, [volume.workspace_id for volume in volumes]))
    patience = timedelta(minutes=settings.orphan_volume_minutes)
    for volume in volumes:
        state = states.get(volume.workspace_id)
        if state == State.ERASED or (state is None and now - volume.created_at > patience):
            try:
                await loop.ask(engine.remove_volume, volume.workspace_id)
            except EngineError as error:
                log.warning("orphan volume stays for now", error=str(error)[:300])
                continue
            metrics.orphans.labels("volume").inc()
            log.warning("orphan volume removed", workspace_id=str(volume.workspace_id), known=state is not None)


async def sweep_meters(loop: ControlLoop, engine: Engine) -> None:
    """Ends what measures for nobody: a killed process left it, and it holds the volumes it looks at."""
    # Meters first: whoever measures has its lease written before.
    meters = await loop.ask(engine.meters)
    holders = await loop.write(measure.holders) if meters else []
    for meter in meters:
        if meter.holder not in holders:
            await loop.ask(engine.remove_meter, meter)
            metrics.orphans.labels("meter").inc()
            log.warning("orphan meter removed", holder=str(meter.holder))


def _states(session: Session, ids: Sequence[UUID]) -> dict[UUID, str]:
    rows = session.execute(select(Workspace.id, Workspace.state).where(Workspace.id.in_(ids)))
    return {row.id: row.state for row in rows}
