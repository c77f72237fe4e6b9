"""The workspace cookie: host-only, signed, and bound to host, workspace, person and session. It names no secret.

Its layout: `v1.<host>.<workspace>.<company>.<user>.<session>.<made at>.<signature>`
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from gateway import signatures
from gateway.knowledge import COOKIE_LIFE, Knowledge
from gateway.settings import Settings
from gateway.tickets import Leave

PURPOSE = "workspace cookie"
REMEMBERED = 20_000


@dataclass(frozen=True)
class Pass:
    """A cookie that is ours; whether it is still good is `Door.admits`."""

    leave: Leave
    made_at: datetime


def name(settings: Settings) -> str:
    """`__Host-` over https: no other host, above all no sibling workspace, can set it (lessons S1, S6)."""
    return "__Host-workspace" if settings.secure else "workspace-session"


def make(settings: Settings, leave: Leave, now: datetime) -> str:
    """The cookie's value."""
    parts = [leave.host, *(id_.hex for id_ in (leave.workspace_id, leave.company_id, leave.user_id, leave.session_id))]
    parts.append(str(int(now.timestamp() * 1000)))
    return ".".join(["v1", *parts, signatures.sign(signatures.key(settings), PURPOSE, *parts)])


class Passes:
    """Reads cookies; what was verified once is remembered, since an editor sends hundreds of requests with one."""

    def __init__(self, settings: Settings) -> None:
        self._key = signatures.key(settings)
        self._read: OrderedDict[str, Pass] = OrderedDict()

    def read(self, value: str) -> Pass | None:
        """The pass, where the signature is ours."""
        found = self._read.get(value)
        if found is not None:
            return found
        if not 100 < len(value) < 400:
            return None
        version, *parts = value.split(".")
        if version != "v1" or len(parts) != 7 or not signatures.matches(self._key, parts[-1], PURPOSE, *parts[:-1]):
            return None
        host, workspace, company, user, session, made = parts[:-1]
        leave = Leave(host, UUID(workspace), UUID(company), UUID(user), UUID(session))
        found = Pass(leave, datetime.fromtimestamp(int(made) / 1000, UTC))
        self._read[value] = found
        while len(self._read) > REMEMBERED:
            self._read.popitem(last=False)
        return found


def admits(pass_: Pass, host: str, knowledge: Knowledge, now: datetime) -> bool:
    """Whether this pass opens this host now: right host, not too old, workspace alive and the company's own,
    session not ended, person still there."""
    leave = pass_.leave
    if leave.host != host or not pass_.made_at <= now < pass_.made_at + COOKIE_LIFE:
        return False
    place = knowledge.place(host)
    return (
        place is not None
        and place.workspace_id == leave.workspace_id
        and place.company_id == leave.company_id
        and not knowledge.is_revoked(leave.session_id)
        and not knowledge.has_left(leave.user_id, pass_.made_at)
    )
