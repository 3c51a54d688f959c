"""A model of jobs, workers and leases small enough to visit every state of it, held against the code's transitions.

`states` says what a state is, `actions` and `lives` what may happen in one, `invariants` what must hold, `explorer`
visits all; `reality` makes the same moves on a real PostgreSQL, `walks` chooses which, `summary` asks for all of it.
"""
