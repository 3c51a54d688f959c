"""Where a request comes from. What a header says of it counts only as far as our own proxies wrote it."""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

from app.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
# Some proxies write the port too.
_WITH_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([0-9.]+))(?::[0-9]{1,5})?")
_IPV6_CLIENT_BITS = 64
# Clients ask again, and a text is made an address in 10 µs.
_MOST_KEPT = 256


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> Address:
    """The client of a request that came from `peer`, with these `X-Forwarded-For` headers in their order.

    From the right each entry was added by the one after it, so the first address that is not one of `trusted` is the
    client: all to the left of it the client may have made up. An entry that is no address ends the walk at the one
    that added it. A peer without an address, as on a unix socket, is this machine.
    """
    client = _address(peer or "") or _LOOPBACK
    entries = ",".join(forwarded).split(",") if forwarded else []
    while entries and any(client in network for network in trusted):
        before = _address(entries.pop())
        if before is None:
            break
        client = before
    return client


def client_key(address: Address) -> bytes:
    """What is one client among addresses: an IPv4 address, or the /64 that an IPv6 customer has to choose from."""
    if address.version == 4:
        return address.packed
    return address.packed[: _IPV6_CLIENT_BITS // 8]


@lru_cache(_MOST_KEPT)
def _address(text: str) -> Address | None:
    text = text.strip()
    parted = _WITH_PORT.fullmatch(text)
    try:
        found = ipaddress.ip_address((parted[1] or parted[2]) if parted else text)
    except ValueError:
        return None
    # What a socket open to both families calls an IPv4 peer.
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found
