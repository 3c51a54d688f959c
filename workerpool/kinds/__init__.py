"""What a job of each kind is and does: payload shape, defaults and handler, one file per kind.

The web processes read the payload shapes here and the pool the handlers, so the modules load nothing heavy: a handler
imports what it needs when it runs. `registry` says how a kind is declared and loaded.
"""
