"""A local socket is asked for a listener before the Docker library is let at it."""

from __future__ import annotations

import socket

_SCHEME = "unix://"


def knock(address: str) -> None:
    """Raises OSError where `address` is a local socket (`unix://…`) at which nobody listens.

    The library would leave its own socket open then, until the garbage collector finds it.
    """
    if address.startswith(_SCHEME):
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.connect(address.removeprefix(_SCHEME))
