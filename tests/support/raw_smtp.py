"""A mail server that keeps the bytes of each session as they came, and reads them as the most generous one would."""

import re
import socket
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

# What some server or other takes for the end of a line.
_LINE_END = rb"(?:\r\n|\n|\r)"
_END_OF_MESSAGE = re.compile(_LINE_END + rb"\." + _LINE_END)
_LINES = re.compile(_LINE_END)


@dataclass
class Session:
    """What a client sent: all its commands, and what it sent as messages, each with its final dot."""

    commands: bytes = b""
    data: bytes = b""

    def recipients(self) -> list[str]:
        """Of all RCPT commands, wherever a line may begin."""
        lines = _LINES.split(self.commands)
        return [line[len(b"RCPT TO:<") : -1].decode() for line in lines if line.upper().startswith(b"RCPT TO:<")]

    def messages(self) -> int:
        """How many messages the most generous reading finds in all that was sent as one."""
        return len(_END_OF_MESSAGE.findall(self.data))

    def header_names(self) -> set[str]:
        """Of the message, in lower case, a line beginning after anything that may end one."""
        head = re.split(_LINE_END + _LINE_END, self.data, maxsplit=1)[0]
        lines = [line for line in _LINES.split(head) if line[:1] not in (b" ", b"\t")]
        return {line.partition(b":")[0].decode("latin-1").lower() for line in lines}


class RawSmtp:
    """Listens on `port` while it is entered. It ends a message only where the standard says that it ends."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                try:
                    self._talk(stream)
                except OSError:
                    continue

    def _talk(self, stream: object) -> None:
        session = Session()
        self.sessions.append(session)

        def say(words: bytes) -> None:
            stream.write(words + b"\r\n")  # type: ignore[attr-defined]
            stream.flush()  # type: ignore[attr-defined]

        say(b"220 raw")
        while line := stream.readline():  # type: ignore[attr-defined]
            session.commands += line
            word = line[:4].upper()
            if word == b"DATA":
                say(b"354 go on")
                session.data += b"\r\n"
                while not session.data.endswith(b"\r\n.\r\n"):
                    session.data += stream.readline()  # type: ignore[attr-defined]
                session.data = session.data[2:]
            say(b"221 bye" if word == b"QUIT" else b"250 ok")
            if word == b"QUIT":
                return
