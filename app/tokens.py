"""What a token of `windlass token` is good for, and what it looks like: `wl_`, 43 random letters and digits, which are
256 bits, and 6 of checksum.

Prefix and checksum are for programs that look for leaked secrets: `\\bwl_[0-9A-Za-z]{49}\\b` and the checksum find ours
and nothing else. They also tell a token with a typo from one that is not known, without asking anybody.
"""

import re
import secrets
import string
from enum import StrEnum
from hashlib import sha256
from zlib import crc32

_PREFIX = "wl_"
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
# 62 ** 43 > 2 ** 256, and 62 ** 6 > 2 ** 32
_RANDOM_DIGITS = 43
_CHECK_DIGITS = 6
_SHAPE = re.compile(rf"{_PREFIX}[0-9A-Za-z]{{{_RANDOM_DIGITS + _CHECK_DIGITS}}}", re.ASCII)


class Scope(StrEnum):
    """What a token is good for."""

    ENQUEUE = "enqueue"
    """To add jobs, and to cancel them."""
    READ = "read"
    """To read and list jobs, with what they carry and what came of them."""
    WORK = "work"
    """To take jobs under a lease and settle them."""
    ADMIN = "admin"
    """Everything: the three above, `retry` and `/v1/admin`."""


def new_token() -> str:
    """A token that nobody can guess. It is shown once and stored nowhere: see `digest_of`."""
    body = _PREFIX + "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM_DIGITS))
    return body + _check(body)


def is_one_of_ours(text: str) -> bool:
    """Whether `text` is meant as a token of ours, be it whole or not."""
    return text.startswith(_PREFIX)


def is_whole(text: str) -> bool:
    """Whether `text` has the shape of a token and its checksum fits: what is mistyped or cut off is none."""
    return bool(_SHAPE.fullmatch(text)) and _check(text[:-_CHECK_DIGITS]) == text[-_CHECK_DIGITS:]


def digest_of(text: str) -> bytes:
    """What is kept and compared in its place: SHA-256, 32 bytes."""
    return sha256(text.encode("utf-8", "surrogateescape")).digest()


def _check(body: str) -> str:
    number, digits = crc32(body.encode()), ""
    for _ in range(_CHECK_DIGITS):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
