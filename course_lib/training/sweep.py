"""`sweep` and `collect`: many calls of `fit`, one table."""

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import pandas as pd
from joblib import Parallel, delayed
from pytorch_lightning.utilities import rank_zero_only
from torch import nn
from torch.distributed import is_torchelastic_launched
from tqdm import tqdm

from course_lib.data import TensorData
from course_lib.training.cohort import checked_seeds
from course_lib.training.fit import _numbered, fit
from course_lib.training.torchrun import shared_out

SEEDS_AT_ONCE = 16  # of a sweep: more cost as much again


def sweep(
    network: Callable[[], nn.Module],
    data: TensorData,
    *,
    batch_sizes: Iterable[int | str],
    seeds: int | Sequence[int] = 8,
    lr: float | Callable[[int], float],
    progress: bool = True,
    n_jobs: int = 1,
    **options,
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
            there are cores. The first sweep with processes waits seconds for their start.
        **options: the other arguments of `fit`. With `cache`, a sweep that was interrupted
            goes on where it stopped.

    Raises:
        ValueError: as `fit`; a wrong batch size is named before the first one is trained.
    """
    sizes = [data.checked_batch_size(size) for size in batch_sizes]
    cells = [
        partial(_history, network, data, batch_size=size, seeds=group, lr=rate, **options)
        for size, rate in ((size, lr(size) if callable(lr) else lr) for size in sizes)
        for group in _groups(checked_seeds(_numbered(seeds)))
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
    """
    if is_torchelastic_launched():
        tables = shared_out(cells)
    else:
        tables = Parallel(n_jobs, return_as="generator")(delayed(cell)() for cell in cells)
    if progress and rank_zero_only.rank == 0:
        bar = {"desc": "sweep", "unit": "fit", "leave": False, "file": sys.stdout}
        tables = tqdm(tables, total=len(cells), **bar)
    return pd.concat(tables, ignore_index=True)


def _history(*arguments, **options) -> pd.DataFrame:
    return fit(*arguments, progress=False, **options).history


def _groups(seeds: list[int]) -> list[list[int]]:
    return [seeds[start : start + SEEDS_AT_ONCE] for start in range(0, len(seeds), SEEDS_AT_ONCE)]
