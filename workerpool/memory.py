"""Shared memory under the board, and the fields that live in it.

Every store of a number is one aligned 8-byte `memoryview` item, which no SIGKILL can tear; `struct.pack_into`
would clear its target before it writes.
"""

import mmap
import os
from typing import Protocol


class Memory:
    """The shared bytes under the board, seen as bytes, as 8-byte integers and as 8-byte floats."""

    def __init__(self, size: int) -> None:
        self.fd = os.memfd_create("windlass-board")
        os.ftruncate(self.fd, size)
        self.map = mmap.mmap(self.fd, size)
        self.ints = memoryview(self.map).cast("Q")
        self.floats = memoryview(self.map).cast("d")


class Placed(Protocol):
    """Whatever owns fields: it knows the memory and its own first word there."""

    memory: Memory
    word: int


class Int:
    def __init__(self, word: int) -> None:
        self._word = word

    def __get__(self, cell: Placed, owner: object = None) -> int:
        return cell.memory.ints[cell.word + self._word]

    def __set__(self, cell: Placed, value: int) -> None:
        cell.memory.ints[cell.word + self._word] = value


class Flag(Int):
    def __get__(self, cell: Placed, owner: object = None) -> bool:
        return cell.memory.ints[cell.word + self._word] != 0


class Float:
    def __init__(self, word: int) -> None:
        self._word = word

    def __get__(self, cell: Placed, owner: object = None) -> float:
        return cell.memory.floats[cell.word + self._word]

    def __set__(self, cell: Placed, value: float) -> None:
        cell.memory.floats[cell.word + self._word] = value


class Text:
    """UTF-8, cut to its room; its length is the word that publishes it."""

    def __init__(self, word: int, room: int) -> None:
        self._word, self._room = word, room

    def __get__(self, cell: Placed, owner: object = None) -> str:
        length = cell.memory.ints[cell.word + self._word]
        start = (cell.word + self._word + 1) * 8
        return cell.memory.map[start : start + length].decode("utf-8", "ignore")

    def __set__(self, cell: Placed, value: str) -> None:
        text = value.encode("utf-8", "replace")[: self._room]
        start = (cell.word + self._word + 1) * 8
        cell.memory.ints[cell.word + self._word] = 0
        cell.memory.map[start : start + len(text)] = text
        cell.memory.ints[cell.word + self._word] = len(text)
