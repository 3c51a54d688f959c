"""PostgreSQL's protocol as far as a proxy must know it: where a message ends, its name, whose session it is."""

import re
from collections.abc import Iterator
from typing import NamedTuple

CLIENT, SERVER = "client", "server"

# The first messages of a client have no type; a code stands where later ones have their contents.
START_UP = "start-up"
_UNTYPED = {80877103: "ssl", 80877104: "gss", 80877102: "cancel"}
_HEADER = 4
# As sql.statements begins each of ours.
_NAME = re.compile(rb"/\* (\w+) \*/")


class Message(NamedTuple):
    """One message of a `sender`: its type byte, or for untyped ones START_UP, "ssl", "gss" or "cancel"."""

    sender: str
    type: str
    data: bytes

    @property
    def asks_for_encryption(self) -> bool:
        """The server answers it with one byte: N refuses."""
        return self.type in ("ssl", "gss")

    def application_name(self) -> str:
        """What a start-up message says of its client; empty if it does not."""
        fields = self.data[8:].split(b"\0")
        named = dict(zip(fields[::2], fields[1::2], strict=False))
        return named.get(b"application_name", b"").decode()

    def statement(self) -> str | None:
        """The name of the statement of ours that it carries."""
        named = _NAME.match(self.data, 5) if (self.sender, self.type) == (CLIENT, "Q") else None
        return named[1].decode() if named else None

    def backend(self) -> int | None:
        """The process that serves the session, in the one message that says so."""
        return int.from_bytes(self.data[5:9]) if (self.sender, self.type) == (SERVER, "K") else None


class Framer:
    """Cuts what one side sends into whole messages."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._typed = sender == SERVER
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes."""
        self._rest += data
        while (length := self._next_length()) is not None and length <= len(self._rest):
            whole = bytes(self._rest[:length])
            del self._rest[:length]
            yield Message(self._sender, self._type_of(whole), whole)

    def _next_length(self) -> int | None:
        start = int(self._typed)
        if len(self._rest) < start + _HEADER:
            return None
        return start + int.from_bytes(self._rest[start : start + _HEADER])

    def _type_of(self, whole: bytes) -> str:
        if self._typed:
            return chr(whole[0])
        name = _UNTYPED.get(int.from_bytes(whole[4:8]), START_UP)
        self._typed = name == START_UP
        return name
