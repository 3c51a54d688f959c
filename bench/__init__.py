"""Measurements, one file per question; `python -m bench.drain` and so on. RESULTS.md is written from what they found.

A question is a module with a docstring and a `main`. The docstring's first line is the question and an example of its
command, the rest says how it is measured and what should come out; RESULTS.md repeats it. What questions share:

`report.asked(__doc__, jobs=(200_000, 300), workers=(2, 2))` reads the command line: each option with its default and
    its size under `--smoke` (a few seconds, for correctness only); a tuple of numbers becomes a comma list. Always
    there: `--rounds`, `--smoke`, `--bin-dir` (PostgreSQL's programs for the embedded server), `--out` (where the JSON
    goes; bench/results, or with `--smoke` nowhere).
`report.Report("drain", asked)` collects: `.server(url)` once per server, `.add({"workers": 2}, {"jobs/s": 5.1e4})` once
    per round and case, `.plot(...)`, and `.finish()` prints medians and writes <out>/drain.json.
`database.server(bin_dir, preload=…, tcp_port=…)` is the server of DATABASE_URL, or an embedded one of our own;
    `with server.fresh() as url` is a migrated database on it. When the block is left the invariants' checker looks at
    the database (a finding ends the bench with an error), then it is dropped.
`database.fill(url, count, …)` enqueues; `database.calm(url)` analyzes and writes a checkpoint: rounds begin alike.
`pool.Pool(url, workers=2, WORKER_PREFETCH="10")` is `python -m workerpool` with bench.kinds; `.wait_until_drained()`,
    `.cpu_seconds()`, `.private_mib()`; TERM at the end of the `with` block.
`web.Web(url, processes=2)` is `windlass web` on a free port: `.url`, `.host`, `.port`.
`clients.ask(address, clients, seconds, status, next_request)` has so many keep-alive clients ask, at next to no cost.
`rates` reads from `done` how fast a database was drained, `history` writes finished jobs by the million, `stamps` hears
    from handlers when they started, `processes` knows waiting, memory and processor time.

`bench.peers` asks other people's queues beside ours, by adapters of its own; what it installs goes to the user's cache.

`python -m bench.results` writes RESULTS.md and bench/plots/*.svg from bench/results/*.json (needs the extra `bench`).
"""
