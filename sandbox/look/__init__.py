"""The small visual language of the sandbox's pages: one stylesheet, one page frame, strict headers."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_HERE = Path(__file__).parent
STYLESHEET = (_HERE / "sandbox.css").read_text("utf-8")
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "frame-src 'self'; connect-src 'self'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def templates(folder: Path) -> Environment:
    """Return templates of a folder, with the shared page frame beside them; everything printed is escaped."""
    return Environment(
        loader=FileSystemLoader([folder, _HERE / "templates"]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
