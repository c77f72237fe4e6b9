"""Python packages for an image: chosen from the lock, fetched on this machine, checked by hash here and in the build.

Fetching here means that a build needs no index: this machine's pip knows its index, its proxy and its authorities,
and none of that gets near the image.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"
PROJECT = "youarecoder"
_TIMEOUT_S = 900

Keep = Callable[[str], bool]


class PackagesMissing(RuntimeError):
    """The packages could not be fetched; the message holds pip's last words."""


def only(lock: str, names: Collection[str]) -> str:
    """The lock's entries of these packages."""
    return _chosen(lock, lambda name: name in names)


def without(lock: str, names: Collection[str]) -> str:
    """The lock less these packages, and less what only they need."""
    needed_by = _needed_by(lock)
    gone = set(names)
    while more := {name for name, users in needed_by.items() if name not in gone and users and users <= gone}:
        gone |= more
    return _chosen(lock, lambda name: name not in gone)


def fetch(requirements: str) -> dict[str, bytes]:
    """The wheels of a lock, by file name. Raises PackagesMissing."""
    with tempfile.TemporaryDirectory(prefix="youarecoder-wheels-") as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text(requirements)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--dest", folder, "-r", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise PackagesMissing("pip could not fetch the packages:\n" + done.stderr[-2000:])
        return {wheel.name: wheel.read_bytes() for wheel in sorted(Path(folder).glob("*.whl"))}


def _entries(lock: str) -> list[str]:
    """Each package with its hashes and the comment that says who needs it."""
    return [entry for entry in re.split(r"(?m)^(?=[A-Za-z0-9])", lock) if "==" in entry]


def _name(entry: str) -> str:
    return entry.partition("==")[0].partition("[")[0].strip().lower()


def _chosen(lock: str, keep: Keep) -> str:
    return "".join(entry for entry in _entries(lock) if keep(_name(entry)))


def _needed_by(lock: str) -> dict[str, set[str]]:
    found = {}
    for entry in _entries(lock):
        comment = re.sub(r"\s*#\s*", " ", entry[entry.find("# via") :]).replace("via", "", 1)
        found[_name(entry)] = {word.lower() for word in comment.split() if not word.startswith("(")}
    return found
