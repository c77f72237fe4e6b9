"""Structured logs: one JSON object a line on standard output, with the correlation id of what is being done.

The correlation id is born at the front door, travels in HTTP headers, in outbox rows and in messages, and is bound
here as a context variable; whatever is logged, published or called while it is bound carries it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars, get_contextvars
from structlog.typing import EventDict, WrappedLogger

SECRETS = ("password", "token", "secret", "authorization", "cookie", "salt", "link", "key")


def configure(service: str, level: str = "info", *, pretty: bool = False) -> None:
    """Sets up logging for this process: our lines and the libraries' alike. `pretty` is for a person's terminal."""
    renderer: Any = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(service),
        _without_secrets,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn.access", "httpx", "httpcore", "aiormq", "aio_pika", "alembic", "docker", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def get_logger(name: str) -> Any:
    """A structlog logger; pass facts as keywords, never inside the sentence."""
    return structlog.get_logger(name)


def correlation_id() -> str | None:
    """The id that ties together all that follows from one click."""
    value: str | None = get_contextvars().get("correlation_id")
    return value


def causation_id() -> str | None:
    """The id of the event being handled, where one is."""
    value: str | None = get_contextvars().get("event_id")
    return value


def bind(**facts: Any) -> None:
    """Adds facts to every further line of this context."""
    bind_contextvars(**{name: value for name, value in facts.items() if value is not None})


@contextmanager
def own_context(**facts: Any) -> Iterator[None]:
    """Like `bound`, and what is bound inside ends with the block, too.

    Where services call each other in one process, one task carries the request of the one into the other.
    """
    before = get_contextvars()
    bind(**facts)
    try:
        yield
    finally:
        clear_contextvars()
        bind_contextvars(**before)


@contextmanager
def bound(**facts: Any) -> Iterator[None]:
    """Adds facts to every line inside the block."""
    with bound_contextvars(**{name: value for name, value in facts.items() if value is not None}):
        yield


def _named(service: str) -> Any:
    def add(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
        line.setdefault("service", service)
        return line

    return add


def _without_secrets(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """A net below the rule that no secret is logged: values under telling names never leave the process."""
    for name, value in line.items():
        line[name] = _masked(name, value)
    return line


def _masked(name: object, value: Any) -> Any:
    if any(word in str(name).lower() for word in SECRETS):
        return "***"
    if isinstance(value, dict):
        return {inner: _masked(inner, item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", item) for item in value]
    return value
