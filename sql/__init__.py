"""The contract between `app` and `workerpool`: the tables, and all that may be said to them.

Producers (`jobs`) write work, consumers (`leases`) claim and settle it, and neither side reaches the other in any
other way. SQL text stands only in this package's `.sql` files; `statements` loads them, `connection` runs them,
`rows` is what comes back. The package imports the standard library and psycopg2, nothing else.
"""

__version__ = "0.1.0"
