"""What a person hears when there is no engine to be had, and how one is found."""

import gc
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deploy.local import apt, engine
from deploy.local.engine import EngineUnavailable, Machine

DEBIAN = {"ID": "debian", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (Machine(is_root=False, system="Linux", os_release=DEBIAN), ["is not installed", "apt-get install", "root"]),
        (
            Machine(is_root=False, system="Linux", os_release=DEBIAN, dockerd="/usr/sbin/dockerd"),
            ["does not answer this user", "usermod -aG docker"],
        ),
        (
            Machine(is_root=True, system="Linux", os_release={"ID": "fedora", "PRETTY_NAME": "Fedora Linux 43"}),
            ["Fedora Linux 43", "DOCKER_HOST", "docs.docker.com"],
        ),
        (Machine(is_root=True, system="Darwin"), ["Darwin", "Docker Desktop"]),
    ],
)
def test_a_hopeless_machine_is_told_why_and_what_to_do(machine: Machine, words: list[str]) -> None:
    with pytest.raises(EngineUnavailable) as refusal:
        engine.refuse_hopeless(machine, {})
    for word in words:
        assert word in str(refusal.value)


@pytest.mark.parametrize(
    "machine",
    [
        Machine(is_root=True, system="Linux", os_release=DEBIAN),
        Machine(is_root=True, system="Linux", os_release={"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}),
        Machine(is_root=True, system="Linux", os_release={"ID": "fedora"}, dockerd="/usr/bin/dockerd"),
    ],
)
def test_a_machine_that_can_have_an_engine_is_not_refused(machine: Machine) -> None:
    engine.refuse_hopeless(machine, {})


def test_a_docker_host_that_does_not_answer_is_named_and_nothing_else_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{unused.getsockname()[1]}")
        lines: list[str] = []
        with pytest.raises(EngineUnavailable, match=r"DOCKER_HOST says .*127\.0\.0\.1"):
            engine.ensure(tmp_path, lines.append)
    assert lines == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left_behind", [True, False])
def test_a_socket_nobody_listens_at_is_no_engine_and_none_of_ours_stays_open(tmp_path: Path, left_behind: bool) -> None:
    path = tmp_path / "docker.sock"
    if left_behind:
        with socket.socket(socket.AF_UNIX) as ended:
            ended.bind(str(path))
    assert engine.connect({"DOCKER_HOST": f"unix://{path}"}) is None
    gc.collect()  # an open socket warns when it is collected, and a warning is an error here


def test_a_socket_that_hangs_up_is_not_an_engine(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        assert engine.connect({"DOCKER_HOST": f"unix://{path}"}) is None
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_an_engine_that_dies_at_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    broken = tmp_path / "dockerd"
    broken.write_text("#!/bin/sh\necho 'failed to start daemon: no space left'; exit 1\n")
    broken.chmod(0o755)
    machine = Machine(is_root=True, system="Linux", os_release=DEBIAN, dockerd=str(broken))
    connect, engine.connect = engine.connect, lambda environment=None: None  # this machine's own must not answer
    try:
        with pytest.raises(EngineUnavailable, match="no space left"):
            engine.ensure(tmp_path / "data", lambda line: None, machine)
    finally:
        engine.connect = connect
    assert not (tmp_path / "data" / "dockerd.pid").exists()


def test_os_release_is_read_with_and_without_quotes(tmp_path: Path) -> None:
    path = tmp_path / "os-release"
    path.write_text('# comment\nID=ubuntu\nID_LIKE="debian"\nnonsense\n')
    assert engine.read_os_release(path) == {"ID": "ubuntu", "ID_LIKE": "debian"}
    assert engine.read_os_release(tmp_path / "missing") == {}


def test_apparmor_in_the_kernel_brings_its_parser() -> None:
    assert "apparmor" in engine.packages_for(Machine(is_root=True, system="Linux", has_apparmor=True))
    assert "apparmor" not in engine.packages_for(Machine(is_root=True, system="Linux"))


def test_a_command_that_hangs_is_stopped_and_says_so() -> None:
    lines: list[str] = []
    done = apt.run_reporting(["sh", "-c", "echo begun; exec sleep 30"], lines.append, timeout_s=0.5)
    assert lines == ["  begun"]
    assert done.returncode != 0
    assert "stopped after 0.5 seconds" in done.tail[-1]


def test_a_failed_install_ends_with_apts_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "apt-get"
    program.write_text("#!/bin/sh\necho 'E: Unable to locate package docker.io'; exit 100\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(apt.InstallFailed, match="Unable to locate package"):
        apt.install(["docker.io"], lambda line: None)


def test_an_installation_goes_on_when_the_platform_is_killed(tmp_path: Path) -> None:
    done = tmp_path / "done"
    script = f"echo begun; sleep 1; echo more; sleep 0.2; echo whole > {done}"
    ours = f"from deploy.local import apt; apt.run_reporting(['sh', '-c', {script!r}], print, timeout_s=30)"
    platform = subprocess.Popen(
        [sys.executable, "-u", "-c", ours], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert platform.stdout is not None
    assert platform.stdout.readline() == "  begun\n"
    platform.kill()
    platform.communicate()
    deadline = time.monotonic() + 20
    while not done.exists():
        assert time.monotonic() < deadline, "the command ended with its caller"
        time.sleep(0.05)
