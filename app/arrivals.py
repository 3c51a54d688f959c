"""A request on its way in, gathered without waiting until it is whole. Only then does it get a thread.

Where it ends is found here in a few lines, only to know when to go on: what it means, and whether it is HTTP at all,
the parser of the server says. What that would refuse, or cut off, goes to it as soon as it can do so without waiting.
"""

import re
import socket
from typing import NamedTuple

# Each tries a line at most once over, whatever stands in it: a head is large, and its sender unknown.
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([0-9]+)[ \t]*(?=\r\n)", re.IGNORECASE)
_CODING = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect[ \t]*:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
_BARE_LINE_END = re.compile(rb"(?<!\r)\n")
_END = b"\r\n\r\n"
_LONGEST_LENGTH = 18
_PIECE = 64 * 1024
# Of one client in a row; others are waiting, and the poller says that there is more.
_MOST_AT_ONCE = 1024 * 1024


class Bounds(NamedTuple):
    """What of one request may be asked for at most, in bytes; one that is larger is for others to refuse.

    What tells one chunk from another takes no more than a head in all.
    """

    head: int
    line: int
    body: int


class Arrival:
    """The bytes of one request so far, and perhaps the beginning of the next.

    until     by when it must be whole, a reading of `time.monotonic()`
    whole     whoever reads on need not wait
    complete  because all of it is here
    refused   or because nobody shall read it: it is nearly all framing, which no bound on a body counts
    expects   the client sends the body when it is told to
    """

    def __init__(self, bounds: Bounds, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.until = 0.0
        self.whole = self.complete = self.refused = self.expects = False
        self._bounds = bounds
        self._seen = 0
        self._ends: int | None = None
        self._chunk: int | None = None
        self._unpacked = self._framing = 0
        self._look()

    def read(self, connection: socket.socket) -> None:
        """Takes what there is, but not without an end, and waits for nothing."""
        most = len(self.data) + _MOST_AT_ONCE
        while not self.whole and len(self.data) < most:
            try:
                piece = connection.recv(_PIECE, socket.MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                piece = b""
            if not piece:
                self.whole = True
                return
            self.data += piece
            self._look()

    def _look(self) -> None:
        if self._ends is None and self._chunk is None:
            self._look_for_head()
        if self._chunk is not None:
            self._look_for_last_chunk()
        if self._ends is not None and len(self.data) >= self._ends:
            self.whole = self.complete = True

    def _look_for_head(self) -> None:
        end = self.data.find(_END, max(0, self._seen - len(_END)))
        if end < 0:
            bare = _BARE_LINE_END.search(self.data, self._seen)
            self._seen = len(self.data)
            self.whole = bare is not None or len(self.data) > self._bounds.head
            return
        head = bytes(self.data[: end + len(_END)])
        lengths = [length.lstrip(b"0") or b"0" for length in _LENGTH.findall(head)]
        coded = _CODING.search(head) is not None
        if coded and not lengths:
            self._chunk = len(head)
        elif coded or len(lengths) != 1:
            # Where two say how long it is, neither counts.
            self._ends = len(head)
        elif len(lengths[0]) > _LONGEST_LENGTH or int(lengths[0]) > self._bounds.body:
            self.whole = True
            return
        else:
            self._ends = len(head) + int(lengths[0])
        self.expects = _EXPECTS.search(head) is not None and _is_of_1_1(head)

    def _look_for_last_chunk(self) -> None:
        """Goes on from size to size, each looked at once, however small the pieces come."""
        assert self._chunk is not None
        while not self.whole:
            at = self._chunk
            line_end = self.data.find(b"\r\n", at, at + self._bounds.line + 2)
            if line_end < 0:
                self.whole = len(self.data) - at > self._bounds.line + 2
                return
            try:
                size = int(bytes(self.data[at:line_end]).partition(b";")[0], 16)
            except ValueError:
                size = -1
            there = len(self.data) - line_end - 2
            if size < 0 or self._unpacked + min(size, there) > self._bounds.body:
                self.whole = True
            elif size == 0:
                # Trailers, if any, end with an empty line.
                self.complete = self.data.find(_END, max(line_end, self._seen - len(_END))) >= 0
                self._seen = len(self.data)
                self.whole = self.complete or there > self._bounds.head
                return
            elif there < size + 2:
                return
            else:
                self._unpacked += size
                self._framing += line_end + 2 - at + 2
                self.whole = self.refused = self._framing > self._bounds.head
                self._chunk = line_end + 2 + size + 2


def _is_of_1_1(head: bytes) -> bool:
    return head.lstrip(b"\r\n").partition(b"\r\n")[0].upper().endswith(b" HTTP/1.1")
