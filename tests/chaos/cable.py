"""A cable between clients and a server on this machine, which a test can pull out."""

from __future__ import annotations

import contextlib
import socket
import threading

from deploy.local.processes import free_port

HOST = "127.0.0.1"


class Cable:
    """Passes TCP on to a server at `target`; `pull` ends every connection at once, without a word of the protocol."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._plugged: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port = free_port(HOST)
        self._door = socket.create_server((HOST, self.port))
        self._threads = [threading.Thread(target=self._answer, daemon=True)]
        self._threads[0].start()

    def pull(self) -> int:
        """Cuts all connections; returns how many there were. New ones pass again at once."""
        with self._lock:
            cut, self._plugged = self._plugged, set()
        for end in cut:
            # Wakes whoever waits in `recv`; closing alone does not.
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        return len(cut) // 2

    def close(self) -> None:
        """Takes no more connections and cuts those there are."""
        self._door.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._door.close()
        self.pull()
        for thread in self._threads[1:]:
            thread.join()

    def _answer(self) -> None:
        while True:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((HOST, self._target))
            except OSError:
                near.close()  # the server is away
                continue
            with self._lock:
                self._plugged |= {near, far}
            for source, sink in ((near, far), (far, near)):
                thread = threading.Thread(target=self._pass_on, args=(source, sink), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                sink.sendall(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._plugged -= {source, sink}
        source.close()  # each direction closes the socket it reads from
