"""`sweep` and `collect`: many calls of `fit`, one table."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import pandas as pd
from torch import nn
from torch.distributed import is_torchelastic_launched
from tqdm import tqdm

from course_lib import checks
from course_lib.data import TensorData
from course_lib.training.console import interruptible
from course_lib.training.fit import check_data, checked_callbacks, fit
from course_lib.training.torchrun import end_with, run_distributed

SEEDS_PER_CELL = 16  # beyond this, time grows in proportion to the seeds


def sweep(
    network: Callable[[], nn.Module],
    data: TensorData,
    *,
    batch_sizes: Iterable[int | str],
    seeds: int | Sequence[int] = 8,
    lr: float | Callable[[int], float],
    progress: bool = True,
    n_jobs: int = 1,
    **options: Any,
) -> pd.DataFrame:
    """`fit` for each batch size; the histories in one table.

    In processes started by ``torchrun`` the sweep is shared out: each process trains the next
    cell (a batch size with up to 16 seeds) that nobody has taken, and all of them return the
    whole table.

    Args:
        network: makes one network.
        data: training and validation tensors.
        batch_sizes: samples an update; "full" stands for all of them.
        seeds: how many seeds, or the seeds themselves; 16 at a time are trained at once.
        lr: one learning rate for all, or a function of the batch size (in samples).
        progress: show one progress bar for the whole sweep.
        n_jobs: how many cells to train at once, each in a process of its own; -1 for as many as
            there are cores. The first sweep with processes waits seconds for their start. They end
            with this one, even where it is killed.
        **options: the other arguments of `fit`. With `cache`, a sweep that was interrupted
            goes on where it stopped. `callbacks` work in this process alone, with ``n_jobs=1``.

    Returns:
        All rows; ``attrs`` as `Run.history` has them: whether any cell was compiled, the seconds
        of all, and the reasons why networks were trained one by one.

    Raises:
        ValueError: as `fit`; a wrong batch size is named before the first one is trained.
    """
    check_data(data)
    callbacks, seeds = checked_callbacks(options.pop("callbacks", ())), checks.seeds(seeds)
    if callbacks and (n_jobs != 1 or is_torchelastic_launched()):
        raise ValueError(
            f"callbacks with {n_jobs=} or torchrun would record in other processes what this one "
            "never sees; use n_jobs=1 without torchrun, or collect tables that your functions make"
        )
    listed = [] if isinstance(batch_sizes, str) else checks.listed(batch_sizes)
    if not listed:
        raise ValueError(f"{batch_sizes=} must hold one batch size or more, such as [8, 64]")
    sizes = [(size, data.checked_batch_size(size)) for size in listed]
    options["callbacks"] = callbacks
    cells = [
        partial(_history, network, data, batch_size=size, seeds=group, lr=rate, **options)
        for size, rate in ((given, lr(size) if callable(lr) else lr) for given, size in sizes)
        for group in _groups(seeds)
    ]
    return collect(cells, n_jobs=n_jobs, progress=progress)


def collect(
    cells: Sequence[Callable[[], pd.DataFrame]], *, n_jobs: int = 1, progress: bool = True
) -> pd.DataFrame:
    """Call functions that return tables; all rows in one table, in the functions' order.

    In processes started by ``torchrun`` the functions are shared out, as `sweep` says.

    Args:
        cells: functions without arguments, for instance made with `functools.partial`. Those that
            call `fit` should give it ``progress=False``.
        n_jobs: how many to call at once, each in a process of its own; -1 for as many as there
            are cores.
        progress: show one progress bar for all.

    Raises:
        ValueError: no functions, functions that return other things, a number of jobs that is 0 or
            no whole number.
    """
    cells = checks.listed(cells)
    if not cells or not all(map(callable, cells)):
        raise ValueError(f"{cells=} must hold one function or more")
    if n_jobs != -1:
        n_jobs = checks.whole("n_jobs", n_jobs)
    silent = not progress or int(os.environ.get("RANK", 0)) > 0
    bar = {"desc": "sweep", "unit": "fit", "leave": False, "file": sys.stdout}
    bar |= {"disable": True} if silent else {}  # else TQDM_DISABLE decides
    with interruptible():
        tables = list(tqdm(_tables(cells, n_jobs), total=len(cells), **bar))
    if not all(isinstance(table, pd.DataFrame) for table in tables):
        raise ValueError(f"{cells=} must return tables, each a pandas.DataFrame")
    joined = pd.concat(tables, ignore_index=True)
    joined.attrs = _joined([table.attrs for table in tables])
    return joined


def _tables(cells: Sequence[Callable[[], pd.DataFrame]], n_jobs: int) -> Iterable[pd.DataFrame]:
    if is_torchelastic_launched():
        return run_distributed(cells)
    from joblib import Parallel, delayed  # slow to import, and fit does without

    ending = {"initializer": end_with, "initargs": (os.getpid(),)}
    return Parallel(n_jobs, return_as="generator", **ending)(delayed(cell)() for cell in cells)


def _joined(attrs: list[dict[str, Any]]) -> dict[str, Any]:
    """The attrs of several histories as those of one; of other tables, none."""
    if not all({"compiled", "compile_seconds", "one_by_one"} <= each.keys() for each in attrs):
        return {}
    return {
        "compiled": any(each["compiled"] for each in attrs),
        "compile_seconds": sum(each["compile_seconds"] for each in attrs),
        "one_by_one": "; ".join(sorted({each["one_by_one"] for each in attrs} - {""})),
    }


def _history(*arguments: Any, **options: Any) -> pd.DataFrame:
    return fit(*arguments, progress=False, **options).history


def _groups(seeds: list[int]) -> list[list[int]]:
    return [seeds[start : start + SEEDS_PER_CELL] for start in range(0, len(seeds), SEEDS_PER_CELL)]
