"""Finished runs kept in a folder, so that nothing is trained twice or lost."""

import hashlib
import json
from pathlib import Path

import pytorch_lightning
import torch

from course_lib.training.batches import Batches
from course_lib.training.cohort import Cohort


class Cache:
    """One run's file ``<folder>/<key>.pt``.

    The key is the SHA-256 of all that decides the run's result: the networks' form and first
    weights, the data, the seeds, the optimizer and its options, the batch size, when to stop, and
    the versions of PyTorch and Lightning.

    Args:
        folder: where to keep the files; made when the first one is written.
        cohort: the cohort before training.
        batches: what it is trained on.
        limits: when training ends.
    """

    def __init__(self, folder: str | Path, cohort: Cohort, batches: Batches, limits: dict):
        data = batches.data
        tensors = [*cohort.stacked.state_dict().values()]
        tensors += [data.x_train, data.y_train, data.x_val, data.y_val]
        settings = {
            "form": repr(cohort.stacked),
            "seeds": cohort.seeds,
            "optimizer": f"{cohort.optimizer.__module__}.{cohort.optimizer.__qualname__}",
            "options": cohort.options,
            "batch_size": batches.batch_size,
            "drop_last": data.drop_last,
            "limits": limits,
            "versions": [torch.__version__, pytorch_lightning.__version__],
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for tensor in tensors:
            digest.update(tensor.numpy().tobytes())
        self.file = Path(folder) / f"{digest.hexdigest()[:32]}.pt"

    def exists(self) -> bool:
        return self.file.exists()

    def write(self, cohort: Cohort) -> None:
        """Write all or nothing: under another name first, then renamed."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.file.with_suffix(".unfinished")
        torch.save(cohort.state_dict(), unfinished)
        unfinished.replace(self.file)

    def read_into(self, cohort: Cohort) -> None:
        """Load the trained weights and the history into the cohort."""
        cohort.load_state_dict(torch.load(self.file))
