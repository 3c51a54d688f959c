"""What was gathered of a request, as the server's parser reads it: in pieces, as if from its socket."""

import socket

from gunicorn.http.unreader import SocketUnreader


class PiecesUnreader(SocketUnreader):  # type: ignore[misc]
    """gunicorn's. Its parser copies all it was given with every chunk of a body: 40,000 small ones took 18 s."""

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
