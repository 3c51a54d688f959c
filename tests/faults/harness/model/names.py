"""Numbers for the parts of states, and the one state that stands for all that differ in names only.

Jobs are alike, and so are the workers of the pool: any renaming of either leads from states that can be reached to
states that can be reached, and invariants name nobody.
"""

from itertools import permutations

from faults.harness.model.actions import Workers
from faults.harness.model.states import Instance, Job, State, believing, by_rank, holders

# The number of the workers, then those of the jobs in ascending order.
Key = tuple[int, ...]
# The number of the workers under the names chosen, and the renamings that lead there; None: the names as they are.
Chosen = tuple[int, tuple[int, ...] | None]


class Names:
    """Of one instance.

    jobs, workers  by their numbers
    held           of each job, who holds it or believes to
    """

    def __init__(self, instance: Instance) -> None:
        self.jobs: list[Job] = []
        self.workers: list[Workers] = []
        self.held: list[int] = []
        self._instance = instance
        self._number_of_job: dict[Job, int] = {}
        self._number_of_workers: dict[Workers, int] = {}
        self._renamings = list(permutations(range(instance.pool_workers)))
        self._renamed: list[dict[int, int]] = [{} for _ in self._renamings]
        self._chosen: dict[int, Chosen] = {}

    def number_of(self, job: Job) -> int:
        """The same number for all jobs that differ in nothing that matters."""
        job = by_rank(job, self._instance.starts_told_apart)
        if job not in self._number_of_job:
            self._number_of_job[job] = len(self.jobs)
            self.jobs.append(job)
            self.held.append(holders(job))
        return self._number_of_job[job]

    def number_of_workers(self, workers: Workers) -> int:
        """A number for each."""
        if workers not in self._number_of_workers:
            self._number_of_workers[workers] = len(self.workers)
            self.workers.append(workers)
        return self._number_of_workers[workers]

    def key(self, state: State) -> Key:
        """Of the state that stands for this one."""
        chosen = self.choose(self.number_of_workers(state.workers))
        return self.renamed(chosen, [self.number_of(job) for job in state.jobs])

    def choose(self, workers: int) -> Chosen:
        """Under which names these workers are told."""
        if workers not in self._chosen:
            statuses = self.workers[workers]
            rest = statuses[self._instance.pool_workers :]
            named = [(*(statuses[old] for old in renaming), *rest) for renaming in self._renamings]
            best = min(named)
            renamings = tuple(n for n, name in enumerate(named) if name == best)
            # The first renaming changes nothing.
            self._chosen[workers] = self.number_of_workers(best), None if renamings == (0,) else renamings
        return self._chosen[workers]

    def renamed(self, chosen: Chosen, jobs: list[int]) -> Key:
        """The key of these workers and jobs."""
        workers, renamings = chosen
        if renamings is None:
            return (workers, *sorted(jobs))
        return min((workers, *sorted([self._rename(each, job) for job in jobs])) for each in renamings)

    def _rename(self, renaming: int, job: int) -> int:
        known = self._renamed[renaming]
        if job not in known:
            known[job] = self.number_of(_under(self._renamings[renaming], self.jobs[job]))
        return known[job]


def _under(renaming: tuple[int, ...], job: Job) -> Job:
    renamed = job
    for new, old in enumerate(renaming):
        renamed = believing(renamed, new, job.beliefs[old])
    row = job.running
    if row and row.holder < len(renaming):
        renamed = renamed._replace(running=row._replace(holder=renaming.index(row.holder)))
    return renamed
