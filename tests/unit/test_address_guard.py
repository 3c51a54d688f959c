"""The address guard against every form in which a forbidden address can be written or answered."""

import ipaddress
import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.forbidden_hosts import FORBIDDEN

from workerpool.kinds.address_guard import (
    DENIED,
    AddressRefused,
    Answer,
    Guard,
    is_own,
    literal,
    parse_allowed_nets,
    resolve,
)

PORTS = frozenset({80, 443})
STRICT = Guard((), PORTS)

# Every text here is read by the system's resolver, without any DNS, as an address that is not public.
FORMS_OF_LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0177.0.0.1",
    "0177.0.0.01",
    "017700000001",
    "0x7f.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "0x7F.0x0.0x0.0x1",
    "127.255.255.254",
    "１２７.０.０.１",  # noqa: RUF001
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "localhost",
    "LOCALHOST",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "0:0:0:0:0:ffff:127.0.0.1",
]
FORMS_OF_OTHERS = ["0", "0.0.0.0", "0x0", "::", "10.1", "0xa9fea9fe", "2852039166", "0300.0250.0.1", "0xc0a80001"]

PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "93.184.215.14", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1"),
    *("192.167.0.1", "198.17.0.1", "198.20.0.1", "223.255.255.254", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"),
    *("2606:4700:4700::1111", "2a00:1450:4001::200e", "2001:4860:4860::8888", "2001:200::1", "2606:4700::5efe:8.8.8.8"),
]


def answers(*addresses: str, port: int = 443) -> list[Answer]:
    """What a resolver says whose answers are these."""
    made: list[Answer] = []
    for address in addresses:
        six = ":" in address
        where: tuple[object, ...] = (address, port, 0, 0) if six else (address, port)
        made.append((socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM, 6, "", where))
    return made


@pytest.mark.parametrize("form", FORMS_OF_LOOPBACK + FORMS_OF_OTHERS)
def test_however_a_forbidden_address_is_written_its_resolution_is_refused(form: str) -> None:
    found = resolve(form, 443)
    assert found
    with pytest.raises(AddressRefused, match="WEBHOOK_ALLOW_NETS"):
        STRICT.checked(found, 443)


@pytest.mark.parametrize("form", [form for form in FORMS_OF_LOOPBACK + FORMS_OF_OTHERS if form.isascii()])
def test_a_literal_is_refused_without_asking_the_dns(form: str) -> None:
    if form.lower() == "localhost":
        STRICT.check_host(form, 443)
        return
    with pytest.raises(AddressRefused):
        STRICT.check_host(form, 443)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_a_forbidden_address_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        STRICT.check(ip_address(address), 443)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_passes(address: str) -> None:
    STRICT.check(ip_address(address), 443)


@pytest.mark.parametrize("network", [network for network, _ in DENIED], ids=str)
def test_a_denied_network_is_denied_from_its_first_address_to_its_last(network: ipaddress.IPv4Network) -> None:
    for address in (network[0], network[-1], network[network.num_addresses // 2]):
        if address.version == 6 and address in ipaddress.ip_network("2000::/3") and network.prefixlen < 4:
            continue
        with pytest.raises(AddressRefused):
            STRICT.check(address, 443)


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_python_calls_private_passes_in_any_clothes(address: ipaddress.IPv4Address) -> None:
    inner = int(address)
    clothes = [address, *(ip_address(high + inner) for high in (0xFFFF << 32, 0x64FF9B << 96, 0, 0xFFFF << 48))]
    clothes.append(ip_address((0x2002 << 112) + (inner << 80)))
    if address.is_global and not address.is_multicast:
        return
    for worn in clothes:
        with pytest.raises(AddressRefused):
            STRICT.check(worn, 443)


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_python_calls_anything_but_global_passes(address: ipaddress.IPv6Address) -> None:
    if address.is_global and not address.is_multicast:
        return
    if address in ipaddress.ip_network("64:ff9b::/96") or address.ipv4_mapped is not None:
        return
    with pytest.raises(AddressRefused):
        STRICT.check(address, 443)


@pytest.mark.parametrize("bad", ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1"])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_forbidden_answer_refuses_all(bad: str, position: int) -> None:
    every = ["93.184.215.14", "2606:4700::1"]
    every.insert(position, bad)
    with pytest.raises(AddressRefused):
        STRICT.checked(answers(*every), 443)


def test_a_forbidden_answer_behind_many_public_ones_is_seen() -> None:
    with pytest.raises(AddressRefused):
        STRICT.checked(answers(*["8.8.8.8"] * 500, "10.0.0.1"), 443)
    assert len(STRICT.checked(answers(*["8.8.8.8"] * 500), 443)) == 8


def test_an_answer_with_a_scope_is_judged_by_its_address() -> None:
    with pytest.raises(AddressRefused):
        STRICT.checked(answers("fe80::1%lo"), 443)


def test_the_refusal_of_a_name_does_not_tell_what_it_resolves_to() -> None:
    with pytest.raises(AddressRefused) as caught:
        STRICT.checked(answers("10.20.30.40"), 443)
    assert "10.20.30.40" not in str(caught.value)


@pytest.mark.parametrize("port", [22, 25, 5432, 6379, 8080, 65535])
def test_a_public_address_on_an_unusual_port_is_refused_unless_the_port_is_allowed(port: int) -> None:
    with pytest.raises(AddressRefused, match="WEBHOOK_ALLOW_PORTS"):
        STRICT.check(ip_address("8.8.8.8"), port)
    Guard((), PORTS | {port}).check(ip_address("8.8.8.8"), port)


def test_an_allowed_network_is_allowed_on_its_port_and_no_other() -> None:
    guard = Guard(parse_allowed_nets("127.0.0.1/32:9000,[::1]/128:9001,10.0.0.0/8"), PORTS)
    guard.check(ip_address("127.0.0.1"), 9000)
    guard.check(ip_address("::ffff:127.0.0.1"), 9000)
    guard.check(ip_address("::1"), 9001)
    guard.check(ip_address("10.1.2.3"), 5432)
    for address, port in (
        ("127.0.0.1", 9001),
        ("127.0.0.1", 80),
        ("127.0.0.2", 9000),
        ("::1", 9000),
        ("11.0.0.1", 9000),
        ("64:ff9b::7f00:1", 9000),
        ("2002:7f00:1::", 9000),
        ("64:ff9b::10.0.0.1", 443),
    ):
        with pytest.raises(AddressRefused):
            guard.check(ip_address(address), port)


def test_a_name_on_an_unusual_port_is_left_to_send_time_if_an_allowed_network_could_hold_it() -> None:
    with pytest.raises(AddressRefused):
        STRICT.check_host("hooks.example.org", 9000)
    with pytest.raises(AddressRefused):
        Guard(parse_allowed_nets("127.0.0.1/32:9001"), PORTS).check_host("hooks.example.org", 9000)
    Guard(parse_allowed_nets("127.0.0.1/32:9000"), PORTS).check_host("hooks.example.org", 9000)
    Guard(parse_allowed_nets("10.0.0.0/8"), PORTS).check_host("hooks.example.org", 9000)


def test_an_address_of_this_machine_is_recognised_whatever_it_is() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.1", 9))
        assert is_own(ip_address(probe.getsockname()[0]))
    assert is_own(ip_address("127.0.0.1"))
    assert not is_own(ip_address("8.8.8.8"))
    assert not is_own(ip_address("2606:4700::1111"))


@pytest.mark.parametrize("address", ["93.184.215.14", "::ffff:93.184.215.14", "64:ff9b::93.184.215.14"])
def test_an_address_of_this_machine_is_refused_even_if_it_looks_public(address: str) -> None:
    guard = Guard((), PORTS, own=lambda one: str(one) == "93.184.215.14")
    with pytest.raises(AddressRefused, match="this machine's own"):
        guard.check(ip_address(address), 443)
    guard.check(ip_address("8.8.8.8"), 443)
    named = Guard(parse_allowed_nets("93.184.215.14/32:443"), PORTS, own=guard.own)
    named.check(ip_address("93.184.215.14"), 443)


@pytest.mark.parametrize(("host", "address"), [("1.2.3.4", "1.2.3.4"), ("0x01020304", "1.2.3.4"), ("::1", "::1")])
def test_a_literal_is_read_as_the_resolver_reads_it(host: str, address: str) -> None:
    assert literal(host) == ip_address(address)


@pytest.mark.parametrize("host", ["example.org", "1.2.3.4.example.org", "", "999.1.1.1", "0x7f.example", "é"])
def test_a_name_is_no_literal(host: str) -> None:
    assert literal(host) is None
