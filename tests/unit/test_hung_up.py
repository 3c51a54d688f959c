"""Whether a client is still there."""

import socket
import struct
from collections.abc import Iterator

import pytest

from app.waiting import is_open


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


def test_a_client_that_waits_is_there(pair: tuple[socket.socket, socket.socket]) -> None:
    _, server = pair
    assert is_open(server)
    server.settimeout(30)
    assert is_open(server)


def test_a_client_that_sent_more_is_there_and_what_it_sent_stays(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    client.sendall(b"GET")
    server.settimeout(5)
    assert server.recv(1, socket.MSG_PEEK) == b"G"
    assert is_open(server)
    assert is_open(server)
    assert server.recv(3) == b"GET"


def test_a_client_that_hung_up_is_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    client.close()
    server.settimeout(5)
    assert server.recv(1, socket.MSG_PEEK) == b""
    assert not is_open(server)


def test_a_client_that_was_cut_off_is_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    server.settimeout(5)
    assert not is_open(server)


def test_a_socket_that_we_closed_has_no_client(pair: tuple[socket.socket, socket.socket]) -> None:
    _, server = pair
    server.close()
    assert not is_open(server)


def test_who_asks_without_a_socket_is_there() -> None:
    assert is_open(None)
