"""Finished runs kept in a folder, so that nothing is trained twice or lost."""

import hashlib
import io
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

import pandas as pd
import pytorch_lightning
import torch
from torch import Tensor

from course_lib.history import COUNTS, DIVERGED, measures
from course_lib.training.cohort import Cohort
from course_lib.training.meaning import meaning

try:
    import fcntl
except ImportError:  # Windows, where no file is deleted that is open
    fcntl = None  # type: ignore[assignment]

DIGEST_BYTES = 32  # of the SHA-256 that a file begins with
UNFINISHED = ".unfinished"  # how the name of a file ends that is being written


class Cache:
    """One run's file ``<folder>/<key>.pt``: the SHA-256 of what follows, then weights and history.

    The key is the SHA-256 of all that decides the run's result: the networks' code and first
    tensors, the data and their split, the loss, the metrics, the seeds, the optimizer and its
    options, the batch size, when to stop, and the versions of course_lib, PyTorch and Lightning.

    Args:
        folder: where to keep the files; made when the first one is written.
        cohort: the cohort before training.
        limits: when training ends.
    """

    def __init__(self, folder: str | Path, cohort: Cohort, limits: Mapping[str, Any]):
        replicas, batches = cohort.replicas, cohort.batches
        parts = [
            *(network for network in replicas.networks),
            replicas.random_states,  # from which dropout goes on
            *(replicas.objective.loss, replicas.objective.metrics, replicas.seeds),
            *(cohort.make, batches.batch_size, batches.data.drop_last, limits),
            *(part for samples in (batches.train, batches.val) for part in samples.tensors),
            *(samples.rows for samples in (batches.train, batches.val)),
            *(version("course_lib"), torch.__version__, pytorch_lightning.__version__),
        ]
        self.file = Path(folder) / f"{meaning(parts).hex()[:32]}.pt"

    def write(self, cohort: Cohort) -> None:
        """Write all or nothing: into a file of its own first, then renamed.

        A folder that cannot be written to costs a warning, not the run.
        """
        content = io.BytesIO()
        torch.save(cohort.state_dict(), content)
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            _replace(self.file, hashlib.sha256(content.getvalue()).digest() + content.getvalue())
        except OSError as error:
            _warn(f"the run is finished but could not be kept in {self.file}: {error}")

    def read_into(self, cohort: Cohort) -> bool:
        """Load the trained weights and the history into the cohort, if the file is there, whole.

        Another file in its place costs a warning and leaves the cohort as it was. What killed
        processes have left in the folder is deleted.
        """
        _delete_leftovers(self.file.parent)
        try:
            state = _checked(self.file.read_bytes(), cohort)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError) as error:
            _warn(f"{self.file} could not be used ({error}); the run is trained again")
            return False
        cohort.load_state_dict(state)
        return True


def _checked(content: bytes, cohort: Cohort) -> dict[str, Any]:
    """The state in a file's content; a ValueError says why it is not this cohort's after a run."""
    if hashlib.sha256(content[DIGEST_BYTES:]).digest() != content[:DIGEST_BYTES]:
        raise ValueError("its content is not what was written")
    try:
        state = torch.load(io.BytesIO(content[DIGEST_BYTES:]))
        [extra] = (part for part in state.values() if not isinstance(part, Tensor))
        history, _ = pd.DataFrame(extra["history"]), extra["attrs"]
    except Exception as error:  # there is no end to what another program may have written
        raise ValueError(f"it holds no finished run: {type(error).__name__}") from error
    columns = [*COUNTS, *measures(cohort.replicas.objective.metrics), DIVERGED]
    if _forms(state) != _forms(cohort.state_dict()):
        raise ValueError("it holds the weights of other networks")
    if list(history) != columns or set(history.seed) != set(cohort.seeds):
        raise ValueError("it holds the history of another run")
    return state


def _forms(state: Mapping[str, Any]) -> dict[str, Any]:
    """Shape and kind of each tensor in a state; False for what is none."""
    return {n: isinstance(part, Tensor) and (part.shape, part.dtype) for n, part in state.items()}


def _replace(file: Path, content: bytes) -> None:
    with NamedTemporaryFile(dir=file.parent, suffix=UNFINISHED, delete=False) as unfinished:
        with suppress(OSError):  # a file system without locks, where no leftovers are deleted
            _lock(unfinished, wait=True)
        if not os.fstat(unfinished.fileno()).st_nlink:
            return _replace(file, content)  # deleted as a leftover just before it was locked
        try:
            unfinished.write(content)
            unfinished.flush()
            os.fsync(unfinished.fileno())
            Path(unfinished.name).replace(file)
        finally:
            Path(unfinished.name).unlink(missing_ok=True)


def _delete_leftovers(folder: Path) -> None:
    """Delete the unfinished files that nobody holds a lock on, as every living writer does."""
    with suppress(OSError):
        for file in folder.glob(f"*{UNFINISHED}"):
            with suppress(OSError), file.open("r+b") as leftover:
                _lock(leftover, wait=False)
                file.unlink()


def _lock(file: IO[bytes], wait: bool) -> None:
    """Lock a file until it is closed or this process has ended, in whatever way.

    Raises:
        OSError: another one holds the lock and this one does not wait, or there are no locks.
    """
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)
