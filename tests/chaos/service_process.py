"""A service's real process, which may be told to end by SIGKILL at a step of its work.

A step is a statement that is about to be sent, a commit that is about to be made, or the answer that is about to be
given. Steps are counted over all threads, so with many things at once the count falls anywhere.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from sqlalchemy import Engine, event

from shared import command

_here = threading.local()
_lock = threading.Lock()
_passed = 0


def _step(name: str, last: int) -> None:
    global _passed
    if not getattr(_here, "counting", True):
        return
    with _lock:
        _passed += 1
        if _passed == last:
            os.write(1, f"{' '.join(name.split()[:3]).rstrip(',')}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)


def arm(last: int, within: str) -> None:
    """From now on this process ends when it comes to step number `last`.

    `within` names a function, `module:name`, outside of which nothing counts; the end of it is a step, too.
    """
    if within:
        _count_within(within, last)
    event.listen(Engine, "before_cursor_execute", lambda *given: _step(given[2], last))
    event.listen(Engine, "commit", lambda connection: _step("commit", last))


def _count_within(within: str, last: int) -> None:
    global _here
    module, _, name = within.partition(":")
    real = getattr(import_module(module), name)

    class Outside(threading.local):
        counting = False

    _here = Outside()

    def counted(*given: Any) -> Any:
        _here.counting = True
        try:
            result = real(*given)
            _step("the answer", last)
            return result
        finally:
            _here.counting = False

    setattr(import_module(module), name, counted)


def arm_calls(last: int, calls: str) -> None:
    """From now on this process ends at step number `last`, where a step is the begin or the end of one of these calls.

    `calls` is `module:Class.method,method,…`: each step is then a moment between two changes of the outside world.
    """
    module, _, names = calls.partition(":")
    owner, _, methods = names.partition(".")
    kind = getattr(import_module(module), owner)
    for method in methods.split(","):
        setattr(kind, method, _with_steps(getattr(kind, method), method, last))


def _with_steps(real: Callable[..., Any], name: str, last: int) -> Callable[..., Any]:
    def counted(*given: Any) -> Any:
        _step(f"{name} begins", last)
        result = real(*given)
        _step(f"{name} returns", last)
        return result

    return counted


def main(arguments: list[str]) -> None:
    """`services.billing api`, say: what the service's own command line does with the rest."""
    package, *rest = arguments
    if os.environ.get("CRASH_CALLS"):
        arm_calls(int(os.environ["CRASH_STEP"]), os.environ["CRASH_CALLS"])
    elif os.environ.get("CRASH_STEP"):
        arm(int(os.environ["CRASH_STEP"]), os.environ.get("CRASH_WITHIN", ""))
    sys.argv = [package, *rest]
    settings = import_module(f"{package}.settings").Settings
    command.main(package, settings, import_module(f"{package}.app").build)
