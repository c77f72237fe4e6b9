"""Our own scripts, styles and pictures: served from memory under names that carry a hash, cached for a year."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

PREFIX = "/static/"
FOR_A_YEAR = "public, max-age=31536000, immutable"
COMPRESSIBLE = {"text/css", "text/javascript", "image/svg+xml", "application/json", "application/manifest+json"}
TYPES = {".js": "text/javascript", ".woff2": "font/woff2", ".webmanifest": "application/manifest+json"}


@dataclass(frozen=True)
class Asset:
    """One file, as it goes out."""

    url: str
    body: bytes
    compressed: bytes | None
    media_type: str


class Assets:
    """The files of one folder. `watch`: a changed file is read again, for whoever works on pages."""

    def __init__(self, directory: Path, *, watch: bool) -> None:
        self._directory = directory
        self._watch = watch
        self._by_name: dict[str, tuple[int, Asset]] = {}
        self._by_url: dict[str, Asset] = {}
        for path in sorted(directory.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                self._read(path.relative_to(directory).as_posix())

    def url(self, name: str) -> str:
        """The address of `name` (such as `app.css`). Raises KeyError: a page must not name a file that is not there."""
        known = self._by_name.get(name)
        if self._watch and ".." not in name:
            path = self._directory / name
            if path.is_file() and (known is None or known[0] != path.stat().st_mtime_ns):
                return self._read(name).url
        if known is None:
            raise KeyError(f"no such asset: {name}")
        return known[1].url

    def find(self, url: str) -> Asset | None:
        """The file at a hashed address; None for anything else."""
        return self._by_url.get(url)

    def _read(self, name: str) -> Asset:
        path = self._directory / name
        body = path.read_bytes()
        media_type = TYPES.get(path.suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        stem, _, suffix = name.rpartition(".")
        asset = Asset(
            url=f"{PREFIX}{stem}.{hashlib.sha256(body).hexdigest()[:12]}.{suffix}",
            body=body,
            compressed=gzip.compress(body, mtime=0) if media_type in COMPRESSIBLE and len(body) > 1000 else None,
            media_type=media_type,
        )
        self._by_name[name] = (path.stat().st_mtime_ns, asset)
        self._by_url[asset.url] = asset
        return asset
