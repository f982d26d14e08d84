"""The course's networks in JAX: a compiled epoch for all seeds."""

import os
from collections.abc import Iterator

import torch

if torch.get_num_threads() == 1:  # the same for both, read when JAX starts
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    os.environ["NPROC"] = "1"

import jax
import jax.numpy as jnp

from course_lib.training.batches import Batches


def jax_epochs(state: dict[str, torch.Tensor], batches: Batches, lr: float) -> Iterator:
    """Train S replicas an epoch with each `next`; yields loss and accuracy on both parts.

    Args:
        state: stacked weights and biases, layer by layer, each ``(S, *shape)``.
        batches: the data, the batch size and the seeds' orders.
        lr: learning rate of plain SGD.
    """
    arrays = [jnp.asarray(tensor.numpy()) for tensor in state.values()]
    layers = list(zip(arrays[::2], arrays[1::2], strict=True))
    data, size, whole = batches.data, batches.batch_size, batches.whole_batches
    parts = (data.x_train, data.y_train), (data.x_val, data.y_val)
    train, val = (tuple(jnp.asarray(tensor.numpy()) for tensor in part) for part in parts)

    def update(layers, batch):
        gradients = jax.grad(mean_loss)(layers, train[0][batch], train[1][batch])
        return jax.tree.map(lambda value, slope: value - lr * slope, layers, gradients), None

    def epoch(layers, order):
        layers, _ = jax.lax.scan(update, layers, order[: whole * size].reshape(whole, size))
        if batches.rest:
            layers, _ = update(layers, order[whole * size :])
        return layers, (evaluated(layers, *train), evaluated(layers, *val))

    epoch_of_all = jax.jit(jax.vmap(epoch))
    while True:
        orders = [torch.randperm(len(data.x_train), generator=g).numpy() for g in batches.orders]
        layers, measured = epoch_of_all(layers, jnp.stack(orders))
        yield jax.device_get(measured)


def forward(layers, x):
    """Convolutions (3x3, then ReLU and pooling) come first, linear layers with ReLU between."""
    for position, (weight, bias) in enumerate(layers):
        x = jax.nn.relu(x) if position else x
        if weight.ndim == 4:
            x = jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME") + bias[:, None, None]
            window = 1, 1, 2, 2
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
        else:
            x = x.reshape(len(x), -1) @ weight.T + bias
    return x


def mean_loss(layers, x, y):
    return -jax.nn.log_softmax(forward(layers, x))[jnp.arange(len(y)), y].mean()


def evaluated(layers, x, y):
    return mean_loss(layers, x, y), (forward(layers, x).argmax(-1) == y).mean()
