"""Which addresses a webhook may connect to. The control that keeps a URL from reaching what is not public.

The check is on the address that will be connected to, never on the host's text: `getaddrinfo` reads 2130706433,
0x7f.1, 127.1 and full-width digits all as 127.0.0.1, and a name may resolve to anything, to something else each time
it is asked. So the caller resolves once, has every answer checked, and connects to a checked answer without asking
again. One forbidden answer refuses all of them: a name that answers with a public and a private address is an attack
or a mistake, and which answer would be used is chance.

The networks stand here as a list and not as `ipaddress`'s `is_global`, which is True for NAT64, 6to4 and others that
lead to an IPv4 address written inside them.

Not covered: a NAT64 gateway with a prefix of its own network's, whose addresses look like any public one. Such a
gateway has to refuse private IPv4 destinations itself (RFC 6052 §5.2).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# What socket.getaddrinfo answers with: family, type, protocol, canonical name, socket address.
Answer = tuple[Any, Any, int, str, tuple[Any, ...]]
Resolve = Callable[[str, int], Sequence[Answer]]

DENIED: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ipaddress.ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's own services"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        # Public IPv6 is 2000::/3. The three blocks around it hold loopback, mapped and translated IPv4, unique local
        # (fc00::/7), link-local (fe80::/10), site-local (fec0::/10), multicast (ff00::/8) and what nobody assigned.
        ("::/3", "not public IPv6"),
        ("4000::/2", "not public IPv6"),
        ("8000::/1", "not public IPv6"),
        ("2001::/23", "a tunnel or reserved"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "a 6to4 tunnel"),
        ("3fff::/20", "documentation"),
    )
)

_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# The interface identifier of an ISATAP tunnel, under any prefix, is one of these and then an IPv4 address.
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
_LOW_32_BITS: Final = 0xFFFFFFFF
_ENTRY: Final = re.compile(
    r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<four>[0-9.]+))(?P<length>/[0-9]{1,3})?(?::(?P<port>[0-9]{1,5}))?", re.I | re.A
)
_MOST_ANSWERS: Final = 8


class AddressRefused(Exception):
    """The guard refuses the connection. The text says why and how to allow it, and names no address that was
    resolved: whoever wrote the URL must not learn from us what a name means inside this network."""


@dataclass(frozen=True, slots=True)
class AllowedNet:
    """A network webhooks may reach although it is not public; `port` None means every port."""

    network: Network
    port: int | None = None

    def names(self, address: Address, port: int) -> bool:
        return self.port in (None, port) and address in self.network


def is_own(address: Address) -> bool:
    """Whether the kernel holds `address` on one of this machine's interfaces; services bound to all of them answer
    there, whatever the address looks like from outside."""
    version = address.version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            if not _binds_foreign_addresses(version):
                probe.bind((str(address), 0))
                return True
            # Connecting a datagram socket sends nothing; it makes the kernel choose the source, which for an own
            # address is that address.
            probe.connect((str(address), 9))
            return bool(probe.getsockname()[0] == str(address))
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Guard:
    """What this installation lets webhooks reach: public addresses on `ports`, and the `allowed` networks.

    `own` says which addresses are this machine's; `services` are the hosts of the servers that the service itself uses,
    whose addresses are none for webhooks either.
    """

    allowed: tuple[AllowedNet, ...]
    ports: frozenset[int]
    own: Callable[[Address], bool] = is_own
    services: tuple[str, ...] = ()

    def check(self, address: Address, port: int, services: frozenset[Address] | None = None) -> None:
        """Raises AddressRefused unless `address` may be connected to on `port`.

        `services`: their addresses; without them those count that are written out.
        """
        meant = _meant(address)
        # An entry that names 127.0.0.1 means its mapped form too, which is the same host; it does not mean the NAT64
        # form, which is somebody else's.
        named = meant if address.version == 6 and address in _MAPPED else address
        if any(entry.names(named, port) for entry in self.allowed):
            return
        why = _why_denied(meant) or ("this machine's own" if self.own(meant) else None)
        if meant in (frozenset(filter(None, map(literal, self.services))) if services is None else services):
            why = why or "a server's that this service uses itself"
        if why is not None:
            raise AddressRefused(f"is not a public address ({why}); to allow it name its network in WEBHOOK_ALLOW_NETS")
        self._check_port(port)

    def check_host(self, host: str, port: int) -> None:
        """What can be refused without asking the DNS: a literal address, and a port nothing allows.

        Raises AddressRefused.
        """
        address = literal(host)
        if address is not None:
            self.check(address, port)
        elif not any(entry.port in (None, port) for entry in self.allowed):
            self._check_port(port)

    def checked(self, answers: Iterable[Answer], port: int, services: frozenset[Address] | None = None) -> list[Answer]:
        """The answers of one resolution, if every one of them may be connected to; at most 8 are kept.

        Raises AddressRefused when a single one may not.
        """
        every = list(answers)
        for one in every:
            self.check(_address_of(one), port, services)
        return every[:_MOST_ANSWERS]

    def services_found(self, resolve: Resolve) -> frozenset[Address]:
        """The addresses of the services; one whose name means nothing just now is nowhere to be reached."""
        found: set[Address] = set()
        for host in self.services:
            try:
                found.update(_meant(_address_of(answer)) for answer in resolve(host, 0))
            except (OSError, UnicodeError):
                continue
        return frozenset(found)

    def _check_port(self, port: int) -> None:
        if port not in self.ports:
            raise AddressRefused(
                f"uses port {port}; webhooks may use {', '.join(map(str, sorted(self.ports)))} (WEBHOOK_ALLOW_PORTS)"
            )


def resolve(host: str, port: int) -> Sequence[Answer]:
    """What the system's resolver says. Raises OSError when it knows no address."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def literal(host: str) -> Address | None:
    """The address `host` spells out, in any form some resolver reads without the DNS; None for a name."""
    host = host.removesuffix(".")
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def parse_allowed_nets(text: str) -> tuple[AllowedNet, ...]:
    """WEBHOOK_ALLOW_NETS: `127.0.0.1/32:9000, [::1]/128:9000, 10.1.0.0/16, fd00::/8`. Raises ValueError."""
    return tuple(_entry(each.strip()) for each in text.split(",") if each.strip())


def _entry(text: str) -> AllowedNet:
    found = _ENTRY.fullmatch(text)
    network, port = text, None
    if found is not None:
        network = (found["six"] or found["four"]) + (found["length"] or "")
        port = int(found["port"]) if found["port"] else None
    try:
        if port is not None and not 1 <= port <= 65535:
            raise ValueError("a port is from 1 to 65535")
        return AllowedNet(ipaddress.ip_network(network), port)
    except ValueError as error:
        raise ValueError(
            f"must be a comma list of networks, each with a port or without, such as"
            f" 127.0.0.1/32:9000, [::1]/128:9000, 10.0.0.0/8; {text!r} is none: {error}"
        ) from None


def _address_of(answer: Answer) -> Address:
    # A scope id ("fe80::1%eth0") says which link, not which address.
    return ipaddress.ip_address(str(answer[4][0]).partition("%")[0])


def _meant(address: Address) -> Address:
    """The IPv4 address a connection to `address` ends at, where an IPv6 form is only another way to write it."""
    if address.version == 6 and (address in _MAPPED or address in _NAT64):
        return ipaddress.IPv4Address(int(address) & _LOW_32_BITS)
    return address


def _why_denied(address: Address) -> str | None:
    for network, why in DENIED:
        if address in network:
            return why
    if address.version == 6 and (int(address) >> 32) & _LOW_32_BITS in _ISATAP:
        return _why_denied(ipaddress.IPv4Address(int(address) & _LOW_32_BITS))
    return None


def _binds_foreign_addresses(version: int) -> bool:
    """Whether this kernel lets a socket bind an address the machine does not hold, so that binding proves nothing."""
    try:
        return Path(f"/proc/sys/net/ipv{version}/ip_nonlocal_bind").read_text().strip() != "0"
    except OSError:
        return False
