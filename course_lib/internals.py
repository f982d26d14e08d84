"""Private names of torch and Lightning, each behind a function of ours.

Tried with torch 2.13 and Lightning 2.6. Nobody promises that these names stay. Where another
version lacks one, its function says so once, in a warning, and goes a slower or narrower way with
public names alone. tests/test_internals.py fails as soon as a name is gone.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any

import pytorch_lightning
import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn

LOADING = ("_data_source", "_combined_loader")  # of trainer.fit_loop, for count_batches_again


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a layer normalizes over the batch; without the base class, PyTorch's own ones.

    Tried with torch 2.13: `torch.nn.modules.batchnorm._BatchNorm`.
    """
    base = _found("torch.nn.modules.batchnorm", "_BatchNorm", "only torch's own layers are seen")
    own = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    return isinstance(module, base or own)


def is_dropout(module: nn.Module) -> bool:
    """Whether a layer drops values out; without the base class, PyTorch's own ones.

    Tried with torch 2.13: `torch.nn.modules.dropout._DropoutNd`.
    """
    base = _found("torch.nn.modules.dropout", "_DropoutNd", "only torch's own layers are seen")
    channels = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout)
    return isinstance(module, base or (nn.Dropout, nn.AlphaDropout, *channels))


def samples_in(batch: Any) -> int:
    """The number of samples in a batch of any form: the length of the first tensor in it.

    Tried with Lightning 2.6: `pytorch_lightning.utilities.data.extract_batch_size`. Without it
    tensors are looked for in sequences and mappings only.
    """
    module = "pytorch_lightning.utilities.data"
    extract = _found(module, "extract_batch_size", "sequences and mappings are searched")
    return extract(batch) if extract else len(next(_tensors(batch)))


def overrides(hook: str, callback: Callback) -> bool:
    """Whether a callback has a `hook` of its own.

    Tried with Lightning 2.6: `pytorch_lightning.utilities.model_helpers.is_overridden`. Without it
    the classes alone are compared, not what was set on the instance.
    """
    module = "pytorch_lightning.utilities.model_helpers"
    overridden = _found(module, "is_overridden", "the classes are compared")
    if overridden:
        return overridden(hook, callback, Callback)
    return getattr(type(callback), hook) is not getattr(Callback, hook)


def count_optimizer_step(trainer: Trainer) -> None:
    """Count one update in `trainer.global_step`, where the weights have been changed by hand.

    Tried with Lightning 2.6: the progress that `LightningOptimizer.step` increments under manual
    optimization. Where that counts nothing, the step itself is taken, without gradients; it changes
    no weight, but takes a third of a small network's update. For one optimizer.
    """
    before = trainer.global_step
    with suppress(AttributeError):
        progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
    if trainer.global_step == before:
        _warn("manual_optimization.optim_step_progress", "counting an update takes longer")
        optimizer: Any = trainer.lightning_module.optimizers()
        optimizer.zero_grad()
        optimizer.step()


def updating_callback_metrics(trainer: Trainer, values: Mapping[str, Tensor]) -> None:
    """Show values to the callbacks that look at `trainer.callback_metrics`.

    Tried with Lightning 2.6, where `callback_metrics` is the dictionary itself, no copy. Where it
    is a copy the module logs the values, which takes a hook that allows logging.
    """
    metrics = trainer.callback_metrics
    if metrics is trainer.callback_metrics:
        metrics.update(values)
    else:
        _warn("the dictionary trainer.callback_metrics", "what is measured is logged")
        trainer.lightning_module.log_dict(dict(values), on_step=False, on_epoch=True)


def count_batches_again(trainer: Trainer) -> None:
    """Let Lightning set its training loader up again, as its BatchSizeFinder does: the number of
    batches, when to validate, and the iterator that it made before the first epoch started.

    Tried with Lightning 2.6: `_data_source` and `_combined_loader` of the fit loop. Without them
    the loader is reloaded as `reload_dataloaders_every_n_epochs` does, each time it is called.

    Raises:
        ValueError: without these names, a loader that the module makes anew at each reloading.
    """
    loop: Any = trainer.fit_loop
    if not all(hasattr(loop, name) for name in LOADING) or not is_dataclass(loop._data_source):
        _warn(f"trainer.fit_loop.{' or '.join(LOADING)}", "the training loader is reloaded")
        return _reload(trainer)
    source: Any = loop._data_source
    # The loader itself, where a module would be asked for a new one, of the old batch size.
    loop._data_source = replace(source, instance=trainer.train_dataloader)
    loop._combined_loader = None
    try:
        loop.setup_data()
    finally:
        loop._data_source = source


def _reload(trainer: Trainer) -> None:
    settings: Any = trainer
    loader, every = trainer.train_dataloader, settings.reload_dataloaders_every_n_epochs
    settings.reload_dataloaders_every_n_epochs = -1  # always: -1 epoch has passed since the last
    try:
        trainer.fit_loop.setup_data()
    finally:
        settings.reload_dataloaders_every_n_epochs = every
    if trainer.train_dataloader is not loader:
        raise ValueError(
            "the batch size of a loader that is made anew cannot be set with this version of "
            "Lightning: hand the DataLoader itself to Trainer.fit"
        )


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Iterable) and not isinstance(batch, str):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _tensors(part)


def _found(module: str, name: str, instead: str) -> Any:
    """What a module calls `name`; None, and a warning, where it is gone."""
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError):
        _warn(f"{module}.{name}", instead)
        return None


@cache
def _warn(name: str, instead: str) -> None:
    """Warn of each name once."""
    warnings.warn(
        f"{name} is gone in torch {torch.__version__} with Lightning "
        f"{pytorch_lightning.__version__}: {instead}",
        stacklevel=3,
    )
