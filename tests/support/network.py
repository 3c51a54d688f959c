"""A network namespace behind a router: a link that dies without a word, as when a cable is pulled at the far end."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Of those set aside for measuring networks (RFC 2544).
_NETWORK = "198.18.{}"


class Link:
    """The way from a namespace to this one, over a router that can lose what is sent in either direction.

    within      the command that becomes a program inside
    near, far   the addresses of both ends of the way: this namespace's and the one inside
    beside      the address inside that this namespace reaches past the router, so that it can ask what goes on there
    """

    def __init__(self, name: str, number: int) -> None:
        network = _NETWORK.format(number)
        self.near, self.far, self.beside = f"{network}.1", f"{network}.6", f"{network}.10"
        self._inside, self._router, self._number = f"{name}-in", f"{name}-way", number
        self.within = (str(shutil.which("nsenter")), f"--net=/run/netns/{self._inside}")
        self._cut: list[str] = []

    def lay(self) -> None:
        """Both namespaces and three cables."""
        network = _NETWORK.format(self._number)
        for namespace in (self._inside, self._router):
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        near, beside = f"wl{self._number}a", f"wl{self._number}b"
        _cable(near, None, "near", self._router)
        _cable("far", self._router, "way", self._inside)
        _cable(beside, None, "beside", self._inside)
        for namespace, device, address in (
            (None, near, f"{self.near}/30"),
            (self._router, "near", f"{network}.2/30"),
            (self._router, "far", f"{network}.5/30"),
            (self._inside, "way", f"{self.far}/30"),
            (None, beside, f"{network}.9/30"),
            (self._inside, "beside", f"{self.beside}/30"),
        ):
            _ip(*_in(namespace), "addr", "add", address, "dev", device)
            _ip(*_in(namespace), "link", "set", device, "up")
        subprocess.run(
            ["nsenter", f"--net=/run/netns/{self._router}", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
            check=True,
        )
        _ip("route", "add", f"{network}.4/30", "via", f"{network}.2")
        _ip("-n", self._inside, "route", "add", f"{network}.0/30", "via", f"{network}.5")

    def cut(self, *, there: bool = True, back: bool = True) -> None:
        """From now on what is sent from inside, and what is sent to it, is lost on the way, and nobody is told."""
        self._cut = [address for address, lost in ((self.near, there), (self.far, back)) if lost]
        for address in self._cut:
            _ip("-n", self._router, "route", "add", "blackhole", f"{address}/32")

    def heal(self) -> None:
        """The way is as before."""
        for address in self._cut:
            _ip("-n", self._router, "route", "del", "blackhole", f"{address}/32")
        self._cut = []

    def remove(self) -> None:
        """The cables go with the namespaces."""
        for namespace in (self._inside, self._router):
            _ip("netns", "del", namespace, check=False)


@contextmanager
def link() -> Iterator[Link]:
    """A link of its own, removed with the block."""
    number = random.SystemRandom().randrange(256)
    made = Link(f"windlass{number}", number)
    try:
        made.lay()
        yield made
    finally:
        made.remove()


def established(pid: int, port: int) -> set[int]:
    """Local ports of the connections to `port` of some host that live in the namespace of the process `pid`."""
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state = line.split()[:4]
        if state == "01" and int(remote.split(":")[1], 16) == port:
            found.add(int(local.split(":")[1], 16))
    return found


def available() -> bool:
    """Whether this account may make namespaces here."""
    try:
        return subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _cable(one: str, there: str | None, other: str, here: str) -> None:
    _ip(*_in(there), "link", "add", one, "type", "veth", "peer", "name", other, "netns", here)


def _in(namespace: str | None) -> tuple[str, ...]:
    return () if namespace is None else ("-n", namespace)


def _ip(*arguments: str, check: bool = True) -> None:
    # Not programs.path_of: programs asks this module.
    program = shutil.which("ip", path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
    assert program, "mark the test with needs_iproute2"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
