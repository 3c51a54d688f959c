"""Hears the enqueuers' hints and wakes so many idle workers."""

import logging
import secrets
import select
import time
from collections.abc import Callable
from contextlib import closing

from sql import hints
from sql.connection import Connection
from sql.errors import StorageError
from workerpool.wake_pipe import WakePipe

log = logging.getLogger(__name__)

_PROOF_SECONDS = 1.0


class Wake:
    """Only the steward listens: four workers that did made five claims a job."""

    def __init__(self, pipe: WakePipe) -> None:
        self._pipe = pipe

    def listen(self, conn: Connection, connect: Callable[[], Connection]) -> None:
        """Starts to listen on a fresh connection and says whether it hears; waits a second for that where it does not.

        The proof goes over a connection of its own and is waited for in silence: a pooler that swallows LISTEN hands
        on what comes while a statement of ours runs, our own NOTIFY first of all.
        """
        hints.listen(conn)
        proof = f"proof {secrets.token_hex(8)}"
        try:
            with closing(connect()) as other:
                hints.hint(other, proof)
        except StorageError as error:
            # A steward without hints does all else: one that waited for them would let the pool's leases end.
            log.warning("polling only until hints can be sent: %s", error)
            return
        give_up_at = time.monotonic() + _PROOF_SECONDS
        while (left := give_up_at - time.monotonic()) > 0:
            select.select([conn.fileno()], [], [], left)
            if proof in self.hear(conn):
                log.info("hears the hints of enqueuers")
                return
        log.warning("polling only: a pooler between here and PostgreSQL swallows LISTEN")

    def hear(self, conn: Connection) -> list[str]:
        """Wakes as many workers as jobs came since the last call; what was heard."""
        heard = conn.notifications()
        came = sum(int(payload[:9]) for payload in heard if payload.isascii() and payload.isdigit())
        if came:
            self._pipe.wake(came)
        return heard
