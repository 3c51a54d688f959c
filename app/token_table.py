"""The tokens of `windlass token`, as a web process knows them: what it asked the database, remembered for seconds.

**A known token** is asked for once in `GOOD_SECONDS`, by a request that needs its answer, and in between nobody asks.
The time counts from before the question, and an end lies on the database's clock: so a revoked token lets nobody in
5 s later, in any process, and an expired one not at all. When the database does not answer, what is remembered goes on
to its time, and after that the request ends as unavailable: nobody is called unknown because we could not look.

**An unknown token** is remembered too, since nobody can have one before it was made, in a place of its own: however
many are tried, no good one is forgotten for them. Each costs one question a minute and process, and an address may
cause `UNKNOWN_PER_MINUTE` questions about tokens that are not good, over all processes. Beyond that it is told so, but
only for tokens that would have to be asked for: those that are known pass.
"""

import logging
import threading
import time
from dataclasses import dataclass
from typing import TypeVar

import sql.tokens
from app.database import Database
from app.problems import RateLimited, Unauthorized
from app.rate_table import RateTable
from sql.errors import StorageError
from sql.rows import TokenFound

log = logging.getLogger(__name__)

E = TypeVar("E")

GOOD_SECONDS = 4.0
UNKNOWN_PER_MINUTE = 60
_BAD_SECONDS = 60.0
_MOST_KEPT = 4096
# 384 KiB
_PLACES = (512, 32)


@dataclass(frozen=True)
class _Known:
    """An answer of the database and until when it holds, on the clock of this process."""

    token: TokenFound
    until: float


@dataclass(frozen=True)
class _Bad:
    """Why a token lets nobody in, and until when that need not be asked again."""

    reason: str
    until: float


class TokenTable:
    """Looks tokens up by their digests. Made before the fork: all processes count the unknown ones together."""

    def __init__(self, database: Database, limit: int = UNKNOWN_PER_MINUTE, most: int = _MOST_KEPT) -> None:
        """For tests: `limit` a minute and address, `most` kept of either sort."""
        self._database = database
        self._most = most
        self._known: dict[bytes, _Known] = {}
        self._bad: dict[bytes, _Bad] = {}
        self._lock = threading.Lock()
        self._unknown = RateTable(limit, places=_PLACES)

    def find(self, digest: bytes, address: bytes) -> TokenFound:
        """The live token of this digest, sent from `address`; `note_use` only if the database was asked just now.

        Raises Unauthorized when there is none, RateLimited when `address` asked for too many that are none, and
        Unavailable.
        """
        now = time.monotonic()
        known = self._known.get(digest)
        if known is not None and now < known.until:
            return known.token
        bad = self._bad.get(digest)
        if bad is not None and now < bad.until:
            raise Unauthorized(bad.reason)
        wait = 0 if known is not None else self._unknown.wait(address)
        if wait:
            raise RateLimited(
                f"more than {self._unknown.limit} unknown tokens in a minute from this address; come back in {wait} s",
                wait,
            )
        found = sql.tokens.find(self._database.connection(), digest)
        if found is not None and not found.revoked and (found.seconds_left is None or found.seconds_left > 0):
            left = GOOD_SECONDS if found.seconds_left is None else min(GOOD_SECONDS, found.seconds_left)
            self._keep(self._known, digest, _Known(found._replace(note_use=False), now + left))
            return found
        reason = "is not known" if found is None else "was revoked" if found.revoked else "has expired"
        with self._lock:
            self._known.pop(digest, None)
        self._keep(self._bad, digest, _Bad(f"the token {reason}", now + _BAD_SECONDS))
        self._unknown.spend(address)
        raise Unauthorized(f"the token {reason}")

    def note_use(self, token_id: int) -> None:
        """Notes that it was used; lost without harm. For after the answer: it borrows the thread's connection anew."""
        try:
            sql.tokens.note_use(self._database.connection(), token_id)
        except StorageError as error:
            log.warning("the use of token %d is not noted: %s", token_id, error)
        finally:
            self._database.give_back()

    def _keep(self, kept: dict[bytes, E], digest: bytes, entry: E) -> None:
        """Puts it last; beyond the bound the one that was asked for longest ago is forgotten."""
        with self._lock:
            kept.pop(digest, None)
            kept[digest] = entry
            if len(kept) > self._most:
                del kept[next(iter(kept))]
