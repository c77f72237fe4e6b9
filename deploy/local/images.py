"""The images of one machine: there already, pulled, or built from Debian and npm packages.

Every image carries the hash of what it is made from, so a changed Dockerfile is a rebuild and nothing else is.
`python -m deploy.local.images [NAME ...]` makes them by hand; without a name those that `make up` needs.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound
from requests.exceptions import RequestException

from deploy.local import apt, build_host, recipes, wheels
from deploy.local.apt import Report
from deploy.local.recipes import BASES

IMAGES_DIR = Path(__file__).resolve().parent.parent / "images"
CONTENT_LABEL = "com.youarecoder.content"
#: A registry that may be asked for our images ("ghcr.io/youarecoder"). Empty: they are built here. Not guessed:
#: whoever owns a name on a public registry decides what runs under it.
REGISTRY_VARIABLE = "YAC_IMAGE_REGISTRY"

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_DEBIAN_IMAGE = "debian:bookworm-slim"
_BOOTSTRAP_IMAGE = "youarecoder/debootstrap"
_ASK_TIMEOUT_S = 15
_DEBOOTSTRAP_TIMEOUT_S = 1800
_LOCK_PATH = Path(tempfile.gettempdir()) / f"youarecoder-images-{os.getuid()}.lock"


class ImageUnavailable(RuntimeError):
    """An image is not here, cannot be pulled and cannot be built; the message says why."""


def ensure(client: docker.DockerClient, name: str, report: Report) -> None:
    """Make `youarecoder/<name>` present and up to date, and its base before it.

    Present with the right content hash: returns at once. Else pulled from YAC_IMAGE_REGISTRY where that is set, else
    built. Concurrent calls, also from other processes, wait for each other. Raises ImageUnavailable.
    """
    if name not in BASES:
        raise ImageUnavailable(f"There is no image called {name!r}; there are {', '.join(BASES)}.")
    if _is_current(client, name):
        return
    with _lock(report):
        _ensure_locked(client, name, report)


def content_hash(name: str) -> str:
    """What the image is made from: SHA-256 over its files, their executable bits, and its base's hash."""
    digest = hashlib.sha256()
    base = BASES[name]
    if base is not None:
        digest.update(content_hash(base).encode())
    for relative, data, mode in _files(name):
        digest.update(f"{relative}\0{mode & 0o111:o}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def _is_current(client: docker.DockerClient, name: str) -> bool:
    try:
        image = client.images.get(f"youarecoder/{name}")
    except ImageNotFound:
        return False
    return image.labels.get(CONTENT_LABEL) == content_hash(name)


def _ensure_locked(client: docker.DockerClient, name: str, report: Report) -> None:
    if _is_current(client, name):
        return
    if _pull_ours(client, name, report):
        return
    base = BASES[name]
    arguments = recipes.arguments(name)
    if base is None:
        arguments["BASE"] = _debian_base(client, report)
    else:
        _ensure_locked(client, base, report)
    report(f"Building youarecoder/{name}")
    _build(client, name, arguments, report)
    report(f"youarecoder/{name} is ready")


def _pull_ours(client: docker.DockerClient, name: str, report: Report) -> bool:
    registry = os.environ.get(REGISTRY_VARIABLE, "").strip("/ ")
    if not registry:
        return False
    reference = f"{registry}/{name}:{content_hash(name)[:16]}"
    if not _pull(client, reference, report):
        return False
    image = client.images.get(reference)
    if image.labels.get(CONTENT_LABEL) != content_hash(name):
        report(f"{reference} is made from other files than these: not used")
        return False
    image.tag(f"youarecoder/{name}")
    return True


def _pull(client: docker.DockerClient, reference: str, report: Report) -> bool:
    """Pull where the registry answers within seconds; False where it does not."""
    usual, client.api.timeout = client.api.timeout, _ASK_TIMEOUT_S
    try:
        # a question first: the pull itself has no timeout of its own, and an unreachable registry must not hang us
        client.api.inspect_distribution(reference)  # type: ignore[no-untyped-call]
    except (APIError, RequestException):
        report(f"{reference} cannot be pulled here")
        return False
    finally:
        client.api.timeout = usual
    repository, _, tag = reference.rpartition(":")
    try:
        _follow(client.api.pull(repository, tag=tag, stream=True, decode=True), f"pull {reference}", report)
    except (APIError, RequestException, ImageUnavailable) as error:
        report(f"Pulling {reference} failed: {error}")
        return False
    return True


def _debian_base(client: docker.DockerClient, report: Report) -> str:
    if _pull(client, _DEBIAN_IMAGE, report):
        return _DEBIAN_IMAGE
    try:
        client.images.get(_BOOTSTRAP_IMAGE)
    except ImageNotFound:
        _bootstrap(client, report)
    return _BOOTSTRAP_IMAGE


def _bootstrap(client: docker.DockerClient, report: Report) -> None:
    """Make Debian from its packages (debootstrap) and hand it to the engine."""
    if os.geteuid() != 0:
        raise ImageUnavailable(
            f"{_DEBIAN_IMAGE} cannot be pulled, and making Debian from its packages needs root. Run the same command "
            f"as root, let this machine reach an image registry, or set {REGISTRY_VARIABLE}."
        )
    if shutil.which("debootstrap") is None:
        try:
            apt.install(["debootstrap", "debian-archive-keyring"], report)
        except apt.InstallFailed as error:
            raise ImageUnavailable(
                f"{_DEBIAN_IMAGE} cannot be pulled and debootstrap cannot be installed: {error}"
            ) from error
    mirror = build_host.debian_mirror()
    report("Making Debian 12 from its packages (debootstrap, about half a minute)")
    with tempfile.TemporaryDirectory(prefix="youarecoder-debian-") as folder:
        root = Path(folder) / "root"
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(root), mirror]
        done = apt.run_reporting(command, report, timeout_s=_DEBOOTSTRAP_TIMEOUT_S)
        if done.returncode != 0:
            raise ImageUnavailable("debootstrap failed:\n" + "\n".join(done.tail))
        archive = Path(folder) / "root.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(root, arcname=".", filter=_without_leftovers)
        client.api.import_image_from_file(str(archive), repository=_BOOTSTRAP_IMAGE, changes=['CMD ["bash"]'])


def _without_leftovers(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    path = member.name.removeprefix("./")
    parents = (
        "var/cache/apt/",
        "var/lib/apt/lists/",
        "var/log/",
        "usr/share/doc/",
        "usr/share/man/",
        "usr/share/locale/",
        "dev/",
        "proc/",
        "sys/",
        "tmp/",
    )
    # a mirror's address, and the network of the machine it was made on
    files = ("etc/apt/sources.list", "etc/resolv.conf", "etc/hostname")
    return None if path.startswith(parents) or path in files else member


def _build(client: docker.DockerClient, name: str, arguments: dict[str, str], report: Report) -> None:
    """The classic builder, through the API: every engine has it, and no command line is needed."""
    context = tempfile.TemporaryFile()  # noqa: SIM115  # closed below; packages may be a hundred megabytes
    with tarfile.open(fileobj=context, mode="w") as tar:
        for relative, data, mode in [*_files(name), *_of_this_machine(name, report)]:
            member = tarfile.TarInfo(relative)
            member.size, member.mode = len(data), 0o755 if mode & 0o100 else 0o644
            tar.addfile(member, io.BytesIO(data))
    context.seek(0)
    with context:
        stream = client.api.build(
            fileobj=context,
            custom_context=True,
            tag=f"youarecoder/{name}",
            rm=True,
            forcerm=True,
            decode=True,
            # the host's network: name servers and mirrors that only the host can reach work in the build as well
            network_mode="host",
            buildargs=arguments,
            labels={CONTENT_LABEL: content_hash(name)},
        )
        _follow(stream, f"build of youarecoder/{name}", report)


def _follow(stream: Iterable[Mapping[str, Any]], what: str, report: Report) -> None:
    """Hand the engine's progress on, line by line (indented: a detail).

    Raises ImageUnavailable with its last lines when it fails.
    """
    tail: list[str] = []
    for message in stream:
        if "error" in message:
            raise ImageUnavailable(f"The {what} failed: {message['error']}\n" + "\n".join(tail))
        text = _COLOURS.sub("", str(message.get("stream") or message.get("status") or ""))
        if message.get("progressDetail"):
            continue  # one line a downloaded block would drown the rest
        for line in text.splitlines():
            if line.strip():
                report(f"  {line.rstrip()}")
                tail = [*tail[-14:], line.rstrip()]


def _files(name: str) -> Iterator[tuple[str, bytes, int]]:
    folder = IMAGES_DIR / recipes.folder_of(name)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "node_modules" not in path.parts:
            yield path.relative_to(folder).as_posix(), path.read_bytes(), path.stat().st_mode
    yield from recipes.files(name)


def _of_this_machine(name: str, report: Report) -> Iterator[tuple[str, bytes, int]]:
    """What a build needs and no image may keep: the way to the archives, and packages fetched here."""
    base = BASES[name]
    if base is not None and name not in recipes.CODE:
        for path, data in build_host.files().items():
            yield f"host/{path}", data, 0o644
    if locked := recipes.requirements(name):
        report(f"Fetching the Python packages of youarecoder/{name}")
        try:
            for wheel, data in wheels.fetch(locked).items():
                yield f"wheels/{wheel}", data, 0o644
        except wheels.PackagesMissing as error:
            raise ImageUnavailable(str(error)) from error


class _lock:
    """One maker of images a machine and user; says so before it waits."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def __enter__(self) -> None:
        # O_NOFOLLOW: the folder is everybody's, and root must not follow somebody's link
        self.descriptor = os.open(_LOCK_PATH, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.report("Images are being made by another process: waiting for it")
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def main() -> int:
    """`python -m deploy.local.images [NAME ...]`: make these images, or those of workspaces."""
    from deploy.local import engine

    try:
        client = engine.ensure(Path(os.environ.get("YAC_DATA_DIR", "var")), print)
        for name in sys.argv[1:] or ("workspace", "firewall"):
            ensure(client, name, print)
            image = client.images.get(f"youarecoder/{name}")
            print(f"youarecoder/{name}: {image.attrs['Size'] / 1e6:.0f} MB, {image.labels[CONTENT_LABEL][:12]}")
    except (engine.EngineUnavailable, ImageUnavailable) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
