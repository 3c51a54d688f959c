"""How do other queues on PostgreSQL do on the same machine? `python -m bench.peers --rounds 3`

Every queue gets the same server and durability, two worker processes, jobs whose payload is their number, and its best
documented configuration; ours is told nothing but its number of workers. They take turns within each round, ours first.

*Drained* are preloaded jobs that do nothing: jobs / (first handler's start → the database shows none left), by the
bench's clock for all, after a vacuum and a checkpoint. *Enqueued* is by one client and as a library, without HTTP, for
us too; *in bulk* is 1,000 at a time. *Pickup* is from the enqueue's commit to the handler's start, one job every 50 ms,
workers idle. Memory is of one worker process at the end of the drain: the most it ever had resident, and what it shares
with nobody; ours is a pool, so beside its workers stand the supervisor and the steward, in *all processes*.
"""
