"""Two network namespaces with a cable between them, a name server, and a capture of all that is sent. Needs root.

For programs started by `unshare --net --mount`: what they change here ends with them.
"""

import ctypes
import ipaddress
import os
import signal
import socket
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dnslib import AAAA, CNAME, QTYPE, RR, A, DNSRecord

from support.waiting import until

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_ALL_PROTOCOLS = 0x0003
_OUTGOING = 4
_IPV4, _IPV6, _TCP, _UDP = 0x0800, 0x86DD, 6, 17
_MARK = 9999


class Sent(NamedTuple):
    """Where a TCP or UDP packet of this namespace went."""

    protocol: int
    address: str
    port: int


def ip(*commands: str) -> None:
    """`ip` commands; one that this kernel refuses is left out."""
    text = "\n".join(commands)
    subprocess.run(["ip", "-force", "-batch", "-"], input=text, text=True, stderr=subprocess.DEVNULL, check=False)


def cable(here: Sequence[str], there: Sequence[str], serve: Callable[[], None]) -> int:
    """Connects `near`, with the addresses `here`, to `far` in a namespace of its own, which has those of `there` and in
    which a process `serve`s; its pid. The first of `there`, of either kind, is where everything unknown is sent.
    """
    ready_read, ready_write = os.pipe()
    plugged_read, plugged_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            libc = ctypes.CDLL(None)
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            libc.unshare(_CLONE_NEWNET)
            os.write(ready_write, b".")
            os.read(plugged_read, 1)
            lo = [f"address add {address} dev lo nodad" if ":" in address else f"address add {address} dev lo"
                  for address in there if "/24" not in address and "/64" not in address]  # fmt: skip
            far = [f"address add {address} dev far{' nodad' if ':' in address else ''}" for address in there
                   if "/24" in address or "/64" in address]  # fmt: skip
            ip("link set lo up", "link set far up", *far, *lo)
            serve()
        finally:
            os._exit(0)
    os.read(ready_read, 1)
    ip("link set lo up", "link add near type veth peer name far", f"link set far netns {pid}")
    os.write(plugged_write, b".")
    gateways = [address.partition("/")[0] for address in there[:2]]
    ip(
        "link set near up",
        *[f"address add {address} dev near{' nodad' if ':' in address else ''}" for address in here],
        *[f"route add default via {gateway}" for gateway in gateways],
    )
    return pid


class Capture:
    """Everything this namespace sends over TCP and UDP, on whichever interface; questions to the name server apart."""

    def __init__(self) -> None:
        self._sent: list[Sent] = []
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
        threading.Thread(target=self._listen, daemon=True).start()

    def since(self) -> Counter[str]:
        """How many packets went to which address since this was last asked."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marker:
            marker.sendto(b"mark", ("127.0.0.1", _MARK))
        until(lambda: any(sent.port == _MARK for sent in self._sent), 10, "the capture sees what is sent")
        found, self._sent = self._sent, []
        return Counter(sent.address for sent in found if sent.port != _MARK)

    def _listen(self) -> None:
        while True:
            frame, (_, protocol, direction, *_) = self._socket.recvfrom(65536)
            sent = _sent(protocol, frame[14:]) if direction == _OUTGOING else None
            if sent is not None:
                self._sent.append(sent)


def _sent(protocol: int, packet: bytes) -> Sent | None:
    if protocol == _IPV4:
        kind, address, inner = packet[9], str(ipaddress.IPv4Address(packet[16:20])), packet[(packet[0] & 15) * 4 :]
    elif protocol == _IPV6:
        kind, address, inner = packet[6], str(ipaddress.IPv6Address(packet[24:40])), packet[40:]
    else:
        return None
    if kind not in (_TCP, _UDP):
        return None
    source, port = struct.unpack("!HH", inner[:4])
    return None if kind == _UDP and 53 in (source, port) else Sent(kind, address, port)


class NameServer:
    """Answers on 127.0.0.1, for no longer than 0 s: `names` says for a name and how often it was asked for before which
    addresses it has, or as `=other` which other name it stands for.
    """

    def __init__(self, folder: Path, names: Callable[[str, int], Sequence[str]]) -> None:
        self._names = names
        self.asked: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        configuration = folder / "resolv.conf"
        configuration.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        subprocess.run(["mount", "--bind", configuration, "/etc/resolv.conf"], check=True)
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            question, client = self._socket.recvfrom(4096)
            record = DNSRecord.parse(question)
            name, kind = str(record.q.qname).rstrip(".").lower(), QTYPE[record.q.qtype]
            # A resolver asks for both kinds at once, and must get one answer.
            round_ = self.asked[name, "A"] if kind == "A" else self.asked[name, "AAAA"]
            self.asked[name, kind] += 1
            reply = record.reply()
            for address in self._names(name, round_):
                self._add(reply, name, kind, address, round_)
            self._socket.sendto(reply.pack(), client)

    def _add(self, reply: DNSRecord, name: str, kind: str, address: str, round_: int) -> None:
        if address.startswith("="):
            reply.add_answer(RR(name, QTYPE.CNAME, rdata=CNAME(address[1:]), ttl=0))
            for other in self._names(address[1:], round_):
                self._add(reply, address[1:], kind, other, round_)
        elif kind == ("AAAA" if ":" in address else "A"):
            rdata = AAAA(ipaddress.IPv6Address(address).exploded) if ":" in address else A(address)
            reply.add_answer(RR(name, getattr(QTYPE, kind), rdata=rdata, ttl=0))
