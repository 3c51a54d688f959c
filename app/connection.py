"""A client's connection, with what was gathered of its request, and how it ends."""

import socket
from typing import Any

from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

from app.partings import Partings


class ClientConnection(TConn):  # type: ignore[misc]
    """gunicorn's, which is not waited for when it is closed.

    complete  all of the request in hand has come, so that another may follow it
    """

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any, partings: Partings) -> None:
        super().__init__(cfg, sock, client, server)
        self._partings = partings
        self.complete = True

    def init(self) -> None:
        """gunicorn's, but what was gathered is read in pieces."""
        if not self.initialized:
            super().init()
            self.parser.unreader = PiecesUnreader(self.sock)

    def close(self, graceful: bool = False) -> None:
        """Graceful: what still comes in is read for a while, so that no reset overtakes the answer."""
        if graceful:
            self._partings.linger(self.sock)
        else:
            super().close()


class PiecesUnreader(SocketUnreader):  # type: ignore[misc]
    """gunicorn's, which gives its parser what was gathered in pieces, as if from the socket. The parser copies all that
    it was given with every chunk of a body: 40,000 small ones took 18 s.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._gathered = memoryview(b"")

    def give(self, data: bytes) -> None:
        """This comes before anything of the socket; what was given or read ahead before has been taken back."""
        self._gathered = memoryview(data)

    def take_buffered(self) -> bytes:
        """gunicorn's, with what was gathered."""
        data: bytes = super().take_buffered() + self._gathered
        self._gathered = memoryview(b"")
        return data

    def chunk(self, size_hint: int | None = None) -> bytes:
        """gunicorn's, as long as there is something gathered from there."""
        if not self._gathered:
            data: bytes = super().chunk(size_hint)
            return data
        size = max(self.mxchunk, size_hint or 0)
        piece = bytes(self._gathered[:size])
        self._gathered = self._gathered[size:]
        return piece
