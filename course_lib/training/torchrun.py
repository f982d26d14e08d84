"""Tables shared out over the processes that `torchrun` has started, and when such processes end."""

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cache

import pandas as pd
from torch.distributed import PrefixStore, Store

from course_lib.internals import rendezvous_store

LONGEST_JOB = timedelta(days=7)
SECONDS_BETWEEN_LOOKS = 0.5  # at the parent process; to look takes a microsecond
_calls = itertools.count()  # in every process the same, since all make the same calls


def run_distributed(jobs: Sequence[Callable[[], pd.DataFrame]]) -> Iterator[pd.DataFrame]:
    """Yield the tables of all jobs, in their order, in each of the processes.

    Every process takes the next job that nobody has taken, so whoever is faster does more. Tickets
    and tables lie in torchrun's key-value store, the tables as JSON: whoever reaches the store
    could change numbers there, but nothing in it is run.

    Args:
        jobs: functions without arguments, the same ones in every process.

    Raises:
        torch.distributed.DistStoreError: another process took longer than a week for one job.
    """
    store = PrefixStore(f"jobs {os.environ['TORCHELASTIC_RESTART_COUNT']} {next(_calls)}", _store())
    taken = 0
    for index in range(len(jobs)):
        while taken < len(jobs) and not store.check([str(index)]):
            taken = store.add("taken", 1)
            if taken <= len(jobs):
                store.set(str(taken - 1), to_json(jobs[taken - 1]()))
        store.wait([str(index)], LONGEST_JOB)
        yield from_json(store.get(str(index)).decode())


def to_json(table: pd.DataFrame) -> str:
    """A table of numbers, words and truth values, with its attrs; no digit is lost."""
    kinds = {name: str(kind) for name, kind in table.dtypes.items()}
    return json.dumps({"rows": table.to_dict("list"), "kinds": kinds, "attrs": table.attrs})


def from_json(text: str) -> pd.DataFrame:
    """The table that `to_json` has written."""
    read = json.loads(text)
    table = pd.DataFrame(read["rows"]).astype(read["kinds"])
    table.attrs = read["attrs"]
    return table


def end_with(parent: int) -> None:
    """Let this process end at most a second after its parent process, however that one ended.

    A parent that is killed can tell nobody. Its children would train on, and those without work
    would wait for minutes.

    Args:
        parent: the parent's process id; where it is gone already, this process ends at once.
    """
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:  # an orphan gets another parent
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGKILL)


@cache
def _store() -> Store:
    end_with(os.getppid())
    return rendezvous_store()
