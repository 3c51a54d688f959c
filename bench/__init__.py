"""Measurements, one file per question. Each makes a database of its own on the server of DATABASE_URL, or on an
embedded one, and prints a table; RESULTS.md has figures with their command, machine and date."""
