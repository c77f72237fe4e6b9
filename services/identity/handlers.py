"""What identity hears: nothing. It is where the story of a company begins."""

from __future__ import annotations

from shared.messaging.consumer import Handlers

HANDLERS: Handlers = {}
