"""The socket the metrics are read at."""

import socket


def bind(address: tuple[str, int]) -> socket.socket:
    """The listening socket; the supervisor opens it, so that it outlives any steward. Raises OSError."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(16)
    return listener
