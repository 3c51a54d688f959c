"""What shows that nothing is lost: a ledger outside the database, effects outside it too, an event table inside, faults
from a seed, and a checker that holds the four against each other. `storm.storm` runs it all.

Beside it `proxy`, which harms connections at a chosen message, and `points`, which cuts each operation at each of its
own.

And what is done to PostgreSQL itself: `restarts`, `held`, `deafness`, `failover`, `power`, `small_server`, each fault a
function of a `service` and a number of rounds that answers figures. To processes, links and clocks, in the same way, of
an `arena`: `cuts`, `zombies`, `links`, `leaving`, `outside`, `clocks`, `holders`.
"""
