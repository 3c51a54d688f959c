"""Which address a request comes from, and which addresses are one client."""

import ipaddress

import pytest

from app.addresses import client_address, client_key

TRUSTED = tuple(ipaddress.ip_network(net) for net in ("10.0.0.0/8", "127.0.0.1", "2001:db8:1::/48"))


def client(peer: str | None, *forwarded: str) -> str:
    return str(client_address(peer, forwarded, TRUSTED))


@pytest.mark.parametrize("peer", ["192.0.2.1", "9.255.255.255", "2001:db8:2::1", "::1"])
@pytest.mark.parametrize("forwarded", ["198.51.100.7", "127.0.0.1", "10.0.0.1, 10.0.0.2", "x", ""])
def test_what_a_stranger_forwards_is_not_believed(peer: str, forwarded: str) -> None:
    assert client(peer, forwarded) == peer


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        (["1.1.1.1, 198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        (["10.1.1.1, 198.51.100.7 ,10.9.9.9,2001:db8:1::5"], "198.51.100.7"),
        (["1.1.1.1", "198.51.100.7, 10.9.9.9", "10.8.8.8"], "198.51.100.7"),
        (["2001:db8:2::7"], "2001:db8:2::7"),
        (["198.51.100.7:4711"], "198.51.100.7"),
        (["[2001:db8:2::7]:4711"], "2001:db8:2::7"),
        (["[2001:db8:2::7]"], "2001:db8:2::7"),
        (["::ffff:198.51.100.7"], "198.51.100.7"),
        (["1.1.1.1, ::ffff:10.9.9.9"], "1.1.1.1"),
    ],
)
def test_behind_a_trusted_proxy_the_client_is_the_first_from_the_right_that_is_none(
    forwarded: list[str], expected: str
) -> None:
    assert client("10.0.0.1", *forwarded) == expected


@pytest.mark.parametrize("forwarded", ["10.2.0.1", "10.2.0.1, 10.3.0.1", "10.2.0.1, 127.0.0.1, 10.4.0.1"])
def test_where_all_are_trusted_the_client_is_the_farthest(forwarded: str) -> None:
    assert client("10.0.0.1", forwarded) == "10.2.0.1"


@pytest.mark.parametrize(
    "junk",
    ["", " ", "unknown", "_hidden", "198.51.100", "198.51.100.7.8", "198.51.100.256", "198.51.100.07", "1:2", "[::1",
     "[198.51.100.7:1", "::1::", "198.51.100.7;x", "\u0661.1.1.1", "1" * 5000, "198.51.100.7:999999", "/24"],
)  # fmt: skip
def test_an_entry_that_is_no_address_ends_the_walk_at_the_one_who_added_it(junk: str) -> None:
    assert client("10.0.0.1", junk) == "10.0.0.1"
    assert client("10.0.0.1", f"198.51.100.7, {junk}") == "10.0.0.1"
    assert client("10.0.0.1", f"198.51.100.7, {junk}, 10.5.0.1") == "10.5.0.1"


def test_without_the_header_the_client_is_the_peer() -> None:
    assert client("10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize("peer", [None, "", "/run/of/the/client.sock", "x"])
def test_a_peer_without_an_address_is_this_machine(peer: str | None) -> None:
    assert client(peer, "198.51.100.7") == "198.51.100.7"
    assert str(client_address(peer, ["198.51.100.7"], ())) == "127.0.0.1"


def test_an_ipv4_peer_of_a_socket_for_both_families_is_an_ipv4_address() -> None:
    assert client("::ffff:192.0.2.1") == "192.0.2.1"
    assert client("::ffff:10.0.0.1", "198.51.100.7") == "198.51.100.7"


def test_nobody_trusted_nothing_believed() -> None:
    assert str(client_address("127.0.0.1", ["198.51.100.7"], ())) == "127.0.0.1"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:2:3::1", "2001:db8:2:3:ffff:ffff:ffff:ffff", True),
        ("2001:db8:2:3::1", "2001:db8:2:4::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::", "0.0.0.0", False),
    ],
)
def test_an_ipv6_client_is_all_of_its_64(one: str, other: str, same: bool) -> None:
    assert (client_key(ipaddress.ip_address(one)) == client_key(ipaddress.ip_address(other))) == same
