"""`windlass remote`: a worker over HTTP, for whoever has a script and no SDK.

`worker` takes jobs as it has room and drains, `heartbeat` keeps their leases, `work` and `command` run them, `settling`
says how they ended, all through `calls`; `guard` is a process that leaves no command behind.
"""
