"""The workspace image under its full lock-down, on the real engine: it works, and it does not get out."""

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from docker import DockerClient
from docker.errors import ContainerError
from docker.models.containers import Container

from deploy.local import engine, images
from deploy.local.try_workspace import FIREWALL, Place, first_page, get, place, wait_healthy
from tests.journeys.platform import eventually

pytestmark = pytest.mark.e2e

# A network of its own for each of pytest-xdist's workers, gw0, gw1 …, and one more beside it.
NETWORK = 200 + 2 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
DOOR = 11  # one of the first sixteen: the platform's own containers
A, B = 21, 22
Two = tuple[Container, Container]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerClient]:
    try:
        client = engine.ensure(tmp_path_factory.mktemp("engine"), print)
        images.ensure(client, "workspace", print)
        images.ensure(client, "firewall", print)
    except (engine.EngineUnavailable, images.ImageUnavailable) as error:
        pytest.skip(str(error))
    yield client
    client.close()


@pytest.fixture(scope="module")
def here(client: DockerClient) -> Iterator[Place]:
    with place(client, NETWORK) as made:
        yield made


@pytest.fixture(scope="module")
def volumes(client: DockerClient) -> Iterator[list[str]]:
    names = [f"yac-test-{uuid.uuid4().hex[:12]}" for _ in range(2)]
    for name in names:
        client.volumes.create(name)
    yield names
    for name in names:
        client.volumes.get(name).remove(force=True)


@pytest.fixture(scope="module")
def two(here: Place, volumes: list[str]) -> Iterator[tuple[Container, Container]]:
    made = [here.create(A, volumes[0]), here.create(B, volumes[1])]
    try:
        for container, last in zip(made, (A, B), strict=True):
            container.start()
            wait_healthy(here.address(last))
        yield made[0], made[1]
    finally:
        for container in made:
            container.remove(force=True)


def run(container: Container, script: str) -> tuple[int, str]:
    code, output = container.exec_run(["bash", "-c", script])
    assert isinstance(code, int)
    assert isinstance(output, bytes)
    return code, output.decode()


def opens(container: Container, host: str, port: int) -> str:
    """'open', 'refused' or 'silent': what a TCP connection from inside the workspace meets within two seconds."""
    code, output = run(container, f"timeout 2 bash -c 'exec 3<>/dev/tcp/{host}/{port}' 2>&1")
    return "open" if code == 0 else "silent" if code == 124 else f"refused {output}"


def test_the_editor_answers_its_health_and_its_first_page(here: Place, two: Two) -> None:
    assert get(here.address(A), "/healthz")[0] == 200
    page = first_page(here.address(A))
    assert b"/home/coder/project" in page or b"remoteAuthority" in page


def test_nothing_may_be_more_than_the_unprivileged_user(two: Two) -> None:
    for who in ("self", "1", "$(pgrep -of ^node)"):
        status = dict(
            line.split(":", 1) for line in run(two[0], f"cat /proc/{who}/status")[1].splitlines() if ":" in line
        )
        assert status["Uid"].split() == ["1000"] * 4
        assert status["Gid"].split() == ["1000"] * 4
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[kind], 16) == 0
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"


def test_no_program_changes_who_runs_it(client: DockerClient) -> None:
    found = client.containers.run(
        "youarecoder/workspace",
        entrypoint=["sh", "-c", "find / -xdev -type f -perm /6000; which sudo su; true"],
        user="0",
        network_mode="none",
        remove=True,
    ).decode()
    assert found.split() == ["/usr/bin/su"]  # there, but without setuid it makes nobody anything


def test_the_root_is_read_only_and_tmp_and_home_are_not(two: Two) -> None:
    code, output = run(two[0], "touch /opt/youarecoder/x /usr/local/bin/x /etc/x")
    assert code != 0
    assert output.count("Read-only file system") == 3
    assert run(two[0], "touch /tmp/x /run/x ~/x && rm /tmp/x /run/x ~/x")[0] == 0


def test_the_tools_are_there(two: Two) -> None:
    code, output = run(
        two[0],
        "node --version; npm --version; git --version; ssh -V; curl -V | head -1; python3 -V;"
        "nano -V | head -1; ps --version; test -r /etc/ssl/certs/ca-certificates.crt",
    )
    assert code == 0, output
    assert output.startswith("v24.")


def test_the_compiled_code_made_at_build_is_used(here: Place, client: DockerClient, volumes: list[str]) -> None:
    container = here.create(23, volumes[1], environment={"NODE_DEBUG_NATIVE": "COMPILE_CACHE"})
    try:
        container.start()
        wait_healthy(here.address(23))
        log = container.logs().decode(errors="replace")
    finally:
        container.remove(force=True)
    accepted = log.count(" was accepted")
    assert accepted > 50
    assert log.count(" was rejected") < accepted / 20


def test_the_image_holds_nothing_of_the_machine_that_built_it(client: DockerClient, two: Two) -> None:
    assert run(two[0], "ls -A /build /tmp/warm 2>&1 | grep -v 'No such'; true")[1].strip() == ""
    sources = run(two[0], "cat /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/*")[1]
    assert "http://deb.debian.org/debian\n" in sources
    assert "CaInfo" not in sources
    layers = client.images.get("youarecoder/workspace").history()
    assert [layer for layer in layers if "/build" in layer["CreatedBy"]] == []


def test_a_home_outlives_its_container_and_keeps_its_owners_settings(here: Place, client: DockerClient) -> None:
    volume = client.volumes.create(f"yac-test-{uuid.uuid4().hex[:12]}")
    settings = "~/.local/share/code-server/User/settings.json"
    try:
        for script, expected in (
            (f"test -s {settings} && echo '{{}}' > {settings} && echo mine > ~/project/file && id -u", "1000"),
            (f"cat {settings} ~/project/file", "{}\nmine"),
        ):
            container = here.create(24, volume.name)
            try:
                container.start()
                wait_healthy(here.address(24))
                assert run(container, script) == (0, expected + "\n")
                begun = time.monotonic()
                container.stop(timeout=10)
                assert time.monotonic() - begun < 5, "SIGTERM was not heard"
                container.reload()
                assert container.attrs["State"]["ExitCode"] == 0
            finally:
                container.remove(force=True)
    finally:
        volume.remove(force=True)


def test_a_workspace_does_not_reach_another_one(here: Place, two: Two) -> None:
    assert get(here.address(B), "/healthz")[0] == 200, "the host must reach it, or this proves nothing"
    assert opens(two[0], here.address(A), 8080) == "open", "its own port, by the same means"
    assert opens(two[0], here.address(B), 8080) == "silent"


def test_the_door_reaches_editors_and_nobody_reaches_the_door(here: Place, two: Two, volumes: list[str]) -> None:
    door = here.create(DOOR, volumes[0])
    try:
        door.start()
        wait_healthy(here.address(DOOR))
        run(two[0], "node -e 'net.createServer().listen(8081)' >/dev/null 2>&1 &")
        eventually(lambda: opens(two[0], here.address(A), 8081) == "open", "the workspace listens on 8081, too")
        assert opens(door, here.address(A), 8080) == "open"
        assert opens(door, here.address(A), 8081) == "silent"
        assert opens(two[0], here.address(DOOR), 8080) == "silent"
    finally:
        door.remove(force=True)


def test_a_workspace_does_not_reach_one_on_another_network(
    client: DockerClient, here: Place, two: Two, volumes: list[str]
) -> None:
    with place(client, NETWORK + 1) as other:
        container = other.create(A, volumes[1])
        try:
            container.start()
            wait_healthy(other.address(A))
            assert opens(two[0], other.address(A), 8080) == "silent"
            # and both networks' rules stand side by side
            for network in (here, other):
                client.containers.run(command=["check", network.bridge, network.subnet], **FIREWALL)
        finally:
            container.remove(force=True)


def test_a_workspace_does_not_reach_the_host(here: Place, two: Two) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        own = {here.address(1), *_host_addresses()}
        assert len(own) > 1
        for address in own:
            assert opens(two[0], address, port) == "silent", address
        socket.create_connection((here.address(1), port), 2).close()  # it did listen


def test_without_the_firewall_the_host_is_reached(here: Place, client: DockerClient, two: Two) -> None:
    """The counter-proof: it is the rules that hold, not an accident of this machine. And they heal."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        client.containers.run(command=["remove", here.bridge], **FIREWALL)
        try:
            assert opens(two[0], here.address(1), port) == "open"
            with pytest.raises(ContainerError) as missing:
                client.containers.run(command=["check", here.bridge, here.subnet], **FIREWALL)
            assert missing.value.exit_status == 1
        finally:
            for _ in range(2):
                client.containers.run(command=["apply", here.bridge, here.subnet], **FIREWALL)
        client.containers.run(command=["check", here.bridge, here.subnet], **FIREWALL)
        assert opens(two[0], here.address(1), port) == "silent"


@pytest.mark.parametrize("address", ["169.254.169.254", "10.1.2.3", "172.17.0.1", "192.168.1.1", "100.64.0.1"])
def test_private_networks_and_cloud_metadata_are_out_of_reach(two: Two, address: str) -> None:
    assert opens(two[0], address, 80) == "silent"


def test_names_are_still_found(two: Two) -> None:
    name = "deb.debian.org"
    try:
        socket.getaddrinfo(name, 80)
    except OSError:
        pytest.skip("this machine itself finds no names")
    code, output = run(two[0], f"timeout 5 getent hosts {name}")
    assert code == 0, output


@pytest.mark.parametrize(
    "command",
    [
        ["apply", "br0;reboot", "10.1.0.0/24"],
        ["apply", "br0", "10.1.0.0"],
        ["apply", "br0", "10.1.0.999/24"],
        ["apply", "-I", "10.1.0.0/24"],
        ["apply", "a-name-too-long-x", "10.1.0.0/24"],
        ["apply", "br0", "0.0.0.0/0"],
        ["apply"],
        ["open", "br0"],
        [],
    ],
)
def test_the_firewall_refuses_what_is_not_a_bridge_and_a_subnet(client: DockerClient, command: list[str]) -> None:
    with pytest.raises(ContainerError) as refused:
        client.containers.run(command=command, **FIREWALL)
    assert refused.value.exit_status == 2


def _host_addresses() -> list[str]:
    """The address this machine uses towards the world; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [probe.getsockname()[0]]
