"""Finished runs kept in a folder, so that nothing is trained twice or lost."""

import hashlib
import io
import os
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytorch_lightning
import torch

from course_lib.training.cohort import Cohort
from course_lib.training.meaning import meaning

DIGEST_BYTES = 32  # of the SHA-256 that a file begins with


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
        """Load the trained weights and the history into the cohort, if the file is there, whole."""
        if not self.file.exists():
            return False
        try:
            content = self.file.read_bytes()
            if hashlib.sha256(content[DIGEST_BYTES:]).digest() != content[:DIGEST_BYTES]:
                raise ValueError("its content is not what was written")
            cohort.load_state_dict(torch.load(io.BytesIO(content[DIGEST_BYTES:])))
        except (OSError, ValueError) as error:
            _warn(f"{self.file} is damaged ({error}); the run is trained again")
            return False
        return True


def _replace(file: Path, content: bytes) -> None:
    with NamedTemporaryFile(dir=file.parent, suffix=".unfinished", delete=False) as unfinished:
        try:
            unfinished.write(content)
            unfinished.flush()
            os.fsync(unfinished.fileno())
            Path(unfinished.name).replace(file)
        except OSError:
            Path(unfinished.name).unlink(missing_ok=True)
            raise


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)
