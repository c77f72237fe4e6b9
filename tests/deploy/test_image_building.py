"""Making an image on the real engine: once, again when it changes, and an answer when it cannot be made."""

import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from docker import DockerClient

from deploy.local import engine, images

pytestmark = pytest.mark.e2e


@pytest.fixture
def client(tmp_path: Path) -> Iterator[DockerClient]:
    try:
        client = engine.ensure(tmp_path / "engine", print)
        images.ensure(client, "debian", print)
    except (engine.EngineUnavailable, images.ImageUnavailable) as error:
        pytest.skip(str(error))
    yield client
    client.close()


@pytest.fixture
def trial(client: DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The name of an image nobody else has, and its Dockerfile."""
    name = f"trial-{uuid.uuid4().hex[:12]}"
    shutil.copytree(images.IMAGES_DIR / "debian", tmp_path / "images" / "debian")
    (tmp_path / "images" / name).mkdir()
    dockerfile = tmp_path / "images" / name / "Dockerfile"
    dockerfile.write_text(f"FROM youarecoder/debian\nRUN echo {name} > /made\n")
    monkeypatch.setattr(images, "IMAGES_DIR", tmp_path / "images")
    monkeypatch.setattr(images, "BASES", {"debian": None, name: "debian"})
    yield name, dockerfile
    for image in client.images.list(f"youarecoder/{name}"):
        client.images.remove(image.tags[0], force=True)


def test_two_at_once_make_it_once_and_a_change_makes_it_again(client: DockerClient, trial: tuple[str, Path]) -> None:
    name, dockerfile = trial
    lines: list[str] = []

    def ensure(_: int = 0) -> None:
        images.ensure(client, name, lines.append)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ensure, range(2)))
    assert lines.count(f"Building youarecoder/{name}") == 1
    assert any("RUN echo" in line for line in lines), "progress is told"

    lines.clear()
    ensure()
    assert lines == []

    dockerfile.write_text(dockerfile.read_text() + "LABEL more=1\n")
    ensure()
    assert lines.count(f"Building youarecoder/{name}") == 1
    assert client.images.get(f"youarecoder/{name}").labels["more"] == "1"


def test_a_build_that_fails_says_what_it_said_and_leaves_no_image(
    client: DockerClient, trial: tuple[str, Path]
) -> None:
    name, dockerfile = trial
    dockerfile.write_text("FROM youarecoder/debian\nRUN echo about to fail && exit 3\n")
    with pytest.raises(images.ImageUnavailable, match="about to fail"):
        images.ensure(client, name, lambda line: None)
    assert client.images.list(f"youarecoder/{name}") == []
