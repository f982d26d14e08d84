"""Private names of torch and Lightning, each behind a function of ours.

Tried with torch 2.13 and Lightning 2.6. Nobody promises that these names stay. Where another
version lacks one, its function says so once, in a warning, and goes a slower or narrower way with
public names alone. tests/test_internals.py fails as soon as a name is gone.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass, replace
from datetime import timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytorch_lightning
import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn
from torch.distributed import Store
from torch.fx.node import map_arg

# A view of what nothing else refers to, as matrix products issue it; tried with torch 2.13.
UNSAFE_VIEW = torch.ops.aten._unsafe_view.default
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


def random_state(gpus: Sequence[int | torch.device]) -> list[Tensor]:
    """PyTorch's random state, of the CPU and of these GPUs."""
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, gpus)]


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


def count_optimizer_steps(trainer: Trainer, steps: int) -> None:
    """Count updates in `trainer.global_step`, where the weights have been changed by hand.

    Tried with Lightning 2.6: the progress that `LightningOptimizer.step` increments under manual
    optimization. Where that counts nothing, as many steps are taken, without gradients; they change
    no weight, but take a third of a small network's update. For one optimizer.
    """
    before = trainer.global_step
    with suppress(AttributeError):
        progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for _ in range(steps):
            progress.increment_ready()
            progress.increment_completed()
    if trainer.global_step == before and steps:
        _warn("manual_optimization.optim_step_progress", "counting an update takes longer")
        optimizer: Any = trainer.lightning_module.optimizers()
        optimizer.zero_grad()
        for _ in range(steps):
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


def rendezvous_store() -> Store:
    """The key-value store of the processes that torchrun has started.

    Tried with torch 2.13: `torch.distributed.rendezvous`, which nobody documents.
    """
    soon = timedelta(minutes=1)  # for an agent that has died meanwhile nobody waits half an hour
    store, _, _ = next(torch.distributed.rendezvous("env://", timeout=soon))
    return store


def recorded(function: Callable, example: Sequence[Tensor]) -> torch.fx.GraphModule:
    """The operations that a function issues for tensors of the example's shapes.

    Tried with torch 2.13: `torch.fx.experimental.proxy_tensor.make_fx`. Tensors that the function
    holds itself, as a loss its class weights, become constants.

    Args:
        function: takes and returns tensors; has no branches that depend on their values.
        example: what it takes.

    Raises:
        Exception: of any kind, where the function cannot be recorded.
    """
    make_fx = import_module("torch.fx.experimental.proxy_tensor").make_fx
    with torch.no_grad(), _compiling():
        made = make_fx(
            lambda *given: function(*given), tracing_mode="fake", _allow_non_fake_inputs=True
        )
        return made(*example)


def compiled(
    operations: torch.fx.GraphModule,
    example: Sequence[Tensor],
    options: Mapping[str, Any],
    file: Path,
) -> None:
    """Compile recorded operations ahead of time, into a file that `runner` loads.

    Tried with torch 2.13: `torch._inductor.aot_compile`. Calls of what it makes take less ado than
    those of what `torch.compile` returns, and another process loads it in a millisecond.

    Raises:
        Exception: of any kind, where that is not possible, for instance without a C++ compiler.
    """
    inductor = import_module("torch._inductor")
    options = {**options, "aot_inductor.output_path": str(file)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pure = recorded(torch.func.functionalize(operations, remove="mutations"), example)
        inductor.aot_compile(pure, tuple(example), options=options)


def runner(file: Path) -> Callable[..., Sequence[Tensor]]:
    """The function that `compiled` has put into a file; it takes its tensors one by one.

    Tried with torch 2.13: `torch._C._aoti.AOTIModelContainerRunnerCpu`.

    Raises:
        Exception: of any kind, where the file does not hold such a function.
    """
    run = torch._C._aoti.AOTIModelContainerRunnerCpu(str(file), 1).run
    return lambda *tensors: run(list(tensors))


def changed_by(node: torch.fx.Node) -> set[torch.fx.Node]:
    """The nodes whose tensors a recorded operation changes in place.

    Tried with torch 2.13: `_schema` of operations.
    """
    schema = getattr(node.target, "_schema", None)
    arguments = schema.arguments if schema else ()
    given = {**dict(zip((a.name for a in arguments), node.args, strict=False)), **node.kwargs}
    held: list[torch.fx.Node] = []
    written = [a.name for a in arguments if a.alias_info and a.alias_info.is_write]
    map_arg([given.get(name) for name in written], held.append)
    return set(held)


def shown_by(node: torch.fx.Node) -> torch.fx.Node | None:
    """The node in whose memory lies what a recorded operation returns; None for its own memory.

    Tried with torch 2.13: `_schema` of operations; what has none takes an item out of a list.
    """
    schema = getattr(node.target, "_schema", None)
    first = node.args[0] if node.args else None
    shows = schema is None or any(each.alias_info for each in schema.returns)
    return first if shows and isinstance(first, torch.fx.Node) else None


@contextmanager
def _compiling() -> Iterator[None]:
    """`torch.compiler.is_compiling` says yes inside, so that optimizers count steps in tensors.

    Tried with torch 2.13: `torch.compiler._is_compiling_flag`. Without it the steps of some
    optimizers cannot be recorded; they are then made one by one.
    """
    before = getattr(torch.compiler, "_is_compiling_flag", None)
    if before is None:
        _warn("torch.compiler._is_compiling_flag", "some optimizers' steps are not recorded")
        yield
        return
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before


def gradient_hooks(parameter: Tensor) -> list[Callable]:
    """What watches or changes the gradients of a parameter.

    Tried with torch 2.13: `_backward_hooks` and `_post_accumulate_grad_hooks` of tensors. Without
    them there are none to be seen.
    """
    names = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return [hook for name in names for hook in (getattr(parameter, name, None) or {}).values()]


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
