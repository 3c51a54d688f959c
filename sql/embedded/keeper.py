"""The process between an owner and its PostgreSQL: starts it, notices when the owner is gone, stops it.

| it hears | it does |
|---|---|
| SIGINT (`EmbeddedServer.stop`, Ctrl-C) | fast shutdown: sessions are ended |
| SIGTERM, or the owner is gone, even by kill -9 | smart shutdown, so that draining clients finish; after a while fast |
| the server died of itself | starts it again, with a growing pause |

Several owners may want one folder: the first one's keeper runs the server, the others hold a share in it, and it stops
when the last has left.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from sql.embedded.cluster import Cluster, Running
from sql.embedded.errors import EmbeddedFailure

_FAST_SECONDS = 60.0
_LONGEST_PAUSE = 5.0


class Watch:
    """What tells a keeper to leave: signals, and the end of its owner."""

    def __init__(self, owner: int) -> None:
        self._owner = owner
        self.fast = False
        self.leaving = False
        # Not PR_SET_PDEATHSIG: it fires when the *thread* that started us ends. Not the end of a pipe: the owner's
        # forked children would hold it open.
        self._owner_handle: int | None = None
        try:
            self._owner_handle = os.pidfd_open(owner)
        except OSError:
            self.leaving = os.getppid() != owner
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._wakeup = reader
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def wait(self, seconds: float) -> None:
        """Returns after `seconds`, or as soon as anything happened: a signal, a child's end, the owner's end."""
        handles = [self._wakeup] + ([] if self._owner_handle is None or self.leaving else [self._owner_handle])
        ready = select.select(handles, [], [], seconds)[0]
        if self._wakeup in ready:
            numbers = os.read(self._wakeup, 4096)
            self.fast = self.fast or signal.SIGINT in numbers
            self.leaving = self.leaving or self.fast or signal.SIGTERM in numbers
        # A parent that is not the owner any more is the second proof, where pidfds are forbidden the only one.
        if self._owner_handle in ready or os.getppid() != self._owner:
            self.leaving = True


class Keeper:
    """Keeps `cluster` running until `watch` says to leave. `say` tells the owner one thing."""

    def __init__(
        self,
        cluster: Cluster,
        watch: Watch,
        say: Callable[[dict[str, Any]], None],
        *,
        smart_seconds: float,
        start_seconds: float,
    ) -> None:
        self._cluster = cluster
        self._watch = watch
        self._say = say
        self._smart_seconds = smart_seconds
        self._deadline = time.monotonic() + start_seconds
        self._announced = False
        self._told = False

    def keep(self) -> None:
        """Returns when the server is stopped, or left to others. Raises EmbeddedFailure if it cannot be started."""
        while not self._watch.leaving:
            lock = self._cluster.take_server_lock()
            if lock is not None:
                self._run(lock)
                return
            self._share()
            if not self._announced and time.monotonic() > self._deadline:
                raise EmbeddedFailure(
                    f"another process holds {self._cluster.home} and its server does not come up\n"
                    f"{self._cluster.log_tail()}"
                )

    def _share(self) -> None:
        """Somebody else runs the server: hold a share in it until its runner is gone or the owner leaves."""
        share = self._cluster.take_user_lock(alone=False)
        if share is None:
            self._watch.wait(0.05)
            return
        try:
            while not self._watch.leaving:
                lock = self._cluster.take_server_lock()
                if lock is not None:
                    os.close(lock)
                    return
                running = self._cluster.running()
                if running is not None and running.ready:
                    self._announce(running)
                elif not self._announced and time.monotonic() > self._deadline:
                    return
                self._watch.wait(1.0 if self._announced else 0.05)
        finally:
            os.close(share)

    def _run(self, lock: int) -> None:
        self._cluster.prepare(lock)
        server, since, pause = self._started(lock), time.monotonic(), 0.0
        while not (self._watch.leaving and self._left_alone()):
            if server.poll() is None:
                self._watch.wait(0.2 if self._watch.leaving else 1.0)
                continue
            pause = min(pause * 2 or 0.1, _LONGEST_PAUSE) if time.monotonic() - since < 2 * _LONGEST_PAUSE else 0.1
            self._watch.wait(pause)
            server, since = self._started(lock), time.monotonic()
        self._stop(server)

    def _left_alone(self) -> bool:
        if self._cluster.take_user_lock(alone=True) is not None:
            return True
        if not self._told:
            self._told = True
            self._say({"shared": True})
        return False

    def _started(self, lock: int) -> subprocess.Popen[bytes]:
        """The server once it answers, or as it is when we are leaving; a dead one only if an earlier one answered."""
        while True:
            server = self._cluster.launch(lock)
            while server.poll() is None and not self._watch.leaving:
                running = self._cluster.running()
                if running is not None and running.pid == server.pid and running.ready:
                    self._announce(running)
                    return server
                if not self._announced and time.monotonic() > self._deadline:
                    self._stop(server)
                    raise EmbeddedFailure(f"the server does not come up\n{self._cluster.log_tail()}")
                self._watch.wait(0.01)
            if self._announced or self._watch.leaving:
                return server
            # A server somebody else started on the folder may be on its way out; any other refusal is final.
            if self._cluster.running() is None or time.monotonic() > self._deadline:
                raise EmbeddedFailure(f"the server ended with code {server.returncode}\n{self._cluster.log_tail()}")
            self._watch.wait(0.2)

    def _announce(self, running: Running) -> None:
        if not self._announced:
            self._announced = True
            self._say({**self._cluster.urls(running), "home": str(self._cluster.home), "log": str(self._cluster.log)})

    def _stop(self, server: subprocess.Popen[bytes]) -> None:
        if not self._watch.fast:
            _send(server, signal.SIGTERM)
            if self._ended(server, self._smart_seconds, unless_fast=True):
                return
        _send(server, signal.SIGINT)
        if self._ended(server, _FAST_SECONDS):
            return
        _send(server, signal.SIGQUIT)
        server.wait()

    def _ended(self, server: subprocess.Popen[bytes], seconds: float, *, unless_fast: bool = False) -> bool:
        deadline = time.monotonic() + seconds
        while server.poll() is None:
            if time.monotonic() > deadline or (unless_fast and self._watch.fast):
                return False
            self._watch.wait(0.05)
        return True


def _send(server: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if server.poll() is None:
        server.send_signal(number)
