"""How much the files in volumes take: counted by a short-lived container that sees them read-only and nothing else.

It has no network, a read-only root, and of all capabilities only the one to read what its owner has locked: nobody
hides files with `chmod 000`. Each volume is walked once. What is counted are the blocks that are allocated (a file of
holes is small, whatever length it says), each hard link its share of them, and at least one block a file: files
without content take room as well. A walk that takes too long is cut off, and what it has counted by then is told: many
small files do not hide the rest. No file's name leaves the walk, so none can forge an answer.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import docker
from docker.errors import NotFound
from docker.types import LogConfig, Mount

from services.provisioner.engine import EngineError, FileSystem, Measured, Meter, Size
from services.provisioner.engine.network import ROLE

MEASURES = "measure"
HOLDER = "youarecoder.holder"
SLACK = 30
"""Seconds the container may take beyond the time it was given for the walks."""
MEMORY = 128 * 1024**2
PAUSES = (0.03, 0.1, 0.3)
"""Seconds between two looks whether it has ended; the last one again and again."""

WALK = r"""
until=$(($(date +%s) + $2))
stat -f -c 'disk %S %b %a %c %d' /disk
for volume in /volumes/*; do
    [ -d "$volume" ] || continue
    left=$((until - $(date +%s)))
    [ "$left" -gt 0 ] || break
    [ "$left" -lt "$1" ] || left=$1
    { timeout -s KILL "$left" find "$volume" -xdev -printf '%y %n %b\n' 2>/dev/null; printf '\nended %s\n' $?; } |
        awk -v name="${volume##*/}" '
            BEGIN { code = 2 }
            $1 == "ended" { code = $2 }
            NF == 3 { links = $1 == "d" ? 1 : $2; blocks += $3 / links; files += 1 / links }
            END {
                bytes = blocks * 512; least = files * 4096
                if (bytes < least) bytes = least
                printf "volume %s %.0f %s\n", name, bytes, (code > 1 ? "part" : "whole")
            }'
done
"""
"""`find` ends with 1 where files went away under it, which they do, and with more where it was cut off: in the middle
of a line then, so that a line with less than its three words is none."""


def measure(
    client: docker.APIClient,
    image: str,
    labels: dict[str, str],
    volumes: Mapping[UUID, tuple[str, dict[str, str]]],
    own: tuple[str, dict[str, str]],
    times: tuple[int, int],
    stopped: Callable[[], bool],
) -> Measured:
    """Measures `volumes`: of each workspace, its volume's name and labels; `times` are seconds for each, and in all.

    `own` is a volume of ours (name and labels), empty, made here where it is missing: it lies where the others lie,
    also when there is no other. Raises EngineError or what Docker raises.
    """
    # A volume that was removed since it was listed is made anew by the mount: with these labels, the sweep knows it.
    mounts = [_mount(f"/volumes/{id_.hex}", *volume) for id_, volume in volumes.items()]
    each, together = times
    made = client.create_container(
        image,
        entrypoint=["nice", "-n", "19", "sh", "-c", WALK, "measure"],
        command=[str(each), str(together)],
        user="0:0",
        labels=labels,
        host_config=client.create_host_config(
            network_mode="none",
            mounts=[_mount("/disk", *own), *mounts],
            read_only=True,
            cap_drop=["ALL"],
            cap_add=["DAC_READ_SEARCH"],
            security_opt=["no-new-privileges"],
            cpu_shares=128,
            mem_limit=MEMORY,
            memswap_limit=MEMORY,
            pids_limit=32,
            log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
        ),
    )
    try:
        client.start(made["Id"])
        if not _ended(client, made["Id"], together + SLACK, stopped):
            return Measured()
        return read(client.logs(made["Id"], stdout=True, stderr=False).decode("utf-8", "replace"))
    except NotFound as error:
        raise EngineError("what measured was removed") from error
    finally:
        with contextlib.suppress(NotFound):
            client.remove_container(made["Id"], force=True)


def read(answer: str) -> Measured:
    """What the walk told. A line that cannot be read is left out."""
    sizes: dict[UUID, Size] = {}
    disk = None
    for line in answer.splitlines():
        with contextlib.suppress(ValueError):
            match line.split():
                case ["disk", *numbers]:
                    block, blocks, free, files, free_files = map(int, numbers)
                    disk = FileSystem(block * blocks, block * free, files, free_files)
                case ["volume", name, count, ("whole" | "part") as how]:
                    sizes[UUID(name)] = Size(int(count), how == "whole")
    return Measured(sizes, disk)


def meters(client: docker.APIClient, mine: dict[str, str]) -> list[Meter]:
    """The containers that measure, or have measured and were left."""
    wanted = [f"{name}={value}" for name, value in {**mine, ROLE: MEASURES}.items()]
    return [Meter(one["Id"], _holder(one)) for one in client.containers(all=True, filters={"label": wanted})]


def labels_of(mine: dict[str, str], holder: UUID) -> dict[str, str]:
    """What marks a container that measures for `holder`."""
    return {**mine, ROLE: MEASURES, HOLDER: str(holder)}


def _holder(found: dict[str, Any]) -> UUID | None:
    with contextlib.suppress(KeyError, ValueError):
        return UUID(found["Labels"][HOLDER])
    return None


def _mount(target: str, name: str, labels: dict[str, str]) -> Mount:
    return Mount(target, name, type="volume", read_only=True, no_copy=True, labels=labels)


def _ended(client: docker.APIClient, container: str, seconds: float, stopped: Callable[[], bool]) -> bool:
    """Waits until it has ended; False where `stopped` says that nobody waits any more. Raises EngineError."""
    deadline = time.monotonic() + seconds
    pauses = iter(PAUSES)
    while True:
        state: dict[str, Any] = client.inspect_container(container)["State"]
        if state["Status"] in ("exited", "dead"):
            return True
        if stopped():
            return False
        if time.monotonic() > deadline:
            raise EngineError("measuring did not end in time")
        time.sleep(next(pauses, PAUSES[-1]))
