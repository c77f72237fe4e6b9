"""What a workspace can be made from. What is not in this table cannot be started: no image is named by a caller."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Template:
    """A kind of workspace. `image` is None for the image of the settings."""

    code: str
    image: str | None = None


TEMPLATES = {template.code: template for template in (Template("plain"),)}
