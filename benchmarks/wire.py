"""A relay on loopback that counts round trips: how often a client has to wait for its server."""

from __future__ import annotations

import select
import socket
import threading


class CountingRelay:
    """Stands before a server for one client at a time; use it with `with`, and connect to `port`."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.round_trips = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> CountingRelay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Not `close` alone: a thread that waits in `accept` would go on waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
                self._relay(client, server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        asked = False
        while True:
            for side in select.select([client, server], [], [])[0]:
                data = side.recv(65536)
                if not data:
                    return
                if side is client:
                    asked = True
                elif asked:
                    asked = False
                    self.round_trips += 1
                other[side].sendall(data)
