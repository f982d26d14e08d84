"""Jobs shared out over the processes that `torchrun` has started."""

import itertools
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cache

from torch.distributed import PrefixStore, Store, rendezvous

LONGEST_JOB = timedelta(days=7)
calls = itertools.count()


def shared_out(jobs: Sequence[Callable]) -> Iterator:
    """Yield the results of all jobs, in their order, in each of the processes.

    Every process takes the next job that nobody has taken, so whoever is faster does more. Tickets
    and results lie in torchrun's key-value store; the results must be picklable.

    Args:
        jobs: functions without arguments, the same ones in every process.

    Raises:
        torch.distributed.DistStoreError: another process took longer than a week for one job.
    """
    store = PrefixStore(f"jobs {os.environ['TORCHELASTIC_RESTART_COUNT']} {next(calls)}", _store())
    for index in range(len(jobs)):
        while not store.check([str(index)]) and (ticket := store.add("taken", 1) - 1) < len(jobs):
            store.set(str(ticket), pickle.dumps(jobs[ticket]()))
        store.wait([str(index)], LONGEST_JOB)
        yield pickle.loads(store.get(str(index)))


@cache
def _store() -> Store:
    store, _, _ = next(rendezvous("env://"))
    return store
