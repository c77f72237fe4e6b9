"""When an image is made again, and what a build may know of the machine it runs on."""

import shutil
from pathlib import Path

import pytest

from deploy.local import build_host, images


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "images"
    shutil.copytree(images.IMAGES_DIR, copy)
    monkeypatch.setattr(images, "IMAGES_DIR", copy)
    return copy


def test_the_hash_follows_content_name_and_mode(folders: Path) -> None:
    seen = {images.content_hash("firewall")}
    script = folders / "firewall" / "firewall"
    script.write_text(script.read_text() + "# more\n")
    seen.add(images.content_hash("firewall"))
    script.chmod(0o644 if script.stat().st_mode & 0o100 else 0o755)
    seen.add(images.content_hash("firewall"))
    script.rename(folders / "firewall" / "other")
    seen.add(images.content_hash("firewall"))
    assert len(seen) == 4


def test_a_changed_base_changes_what_stands_on_it(folders: Path) -> None:
    before = images.content_hash("workspace")
    sources = folders / "debian" / "debian.sources"
    sources.write_text(sources.read_text() + "\n")
    assert images.content_hash("workspace") != before


def test_an_unknown_image_is_refused_before_the_engine_is_asked() -> None:
    with pytest.raises(images.ImageUnavailable, match="no image called"):
        images.ensure(None, "../etc", print)  # type: ignore[arg-type]


def test_the_mirror_of_a_debian_host_is_used_but_never_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEBIAN_MIRROR", raising=False)
    release = tmp_path / "os-release"
    release.write_text("ID=debian\n")
    sources = tmp_path / "sources.list"
    sources.write_text("# deb http://old/debian x\ndeb [arch=amd64] http://mirror.example/debian bookworm main\n")
    assert build_host.debian_mirror(tmp_path, release) == "http://mirror.example/debian"
    sources.write_text("deb http://user:secret@mirror.example/debian bookworm main\n")
    assert build_host.debian_mirror(tmp_path, release) == build_host.DEFAULT_MIRROR
    release.write_text("ID=ubuntu\n")
    sources.write_text("deb http://mirror.example/debian bookworm main\n")
    assert build_host.debian_mirror(tmp_path, release) == build_host.DEFAULT_MIRROR


def test_a_proxy_with_a_password_or_shell_in_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@proxy:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128'; rm -rf /; '")
    monkeypatch.setenv("NO_PROXY", "localhost,10.0.0.0/8")
    text = build_host.files()["environment"].decode()
    assert "secret" not in text
    assert "rm -rf" not in text
    assert "export NO_PROXY='localhost,10.0.0.0/8'\n" in text


def test_apt_gets_the_way_to_a_server_and_nothing_else_of_the_host() -> None:
    settings = [line for line in build_host.files()["apt.conf"].decode().splitlines() if line]
    assert settings
    assert all(line.startswith("Acquire::") for line in settings)
