"""The same networks on a GPU."""

import pytest
import torch

from course_lib.models import MLP, LeNet
from course_lib.training import fit
from zoo import ALONE, STACKED, largest_difference, noisy_digits

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA")
SETTINGS = {"batch_size": 50, "seeds": [3, 0], "lr": 0.05, "max_epochs": 2, "progress": False}
MEASURES = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]


@pytest.mark.parametrize("split", ["fixed", "seed"])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW], ids=["SGD", "AdamW"])
@pytest.mark.parametrize(
    "network", [MLP, LeNet, STACKED["F1"], ALONE["GRU"]], ids=["MLP", "LeNet", "F1", "GRU"]
)
def test_a_gpu_gives_the_numbers_of_the_cpu(network, optimizer, split):
    settings = {**SETTINGS, "optimizer": optimizer}
    settings |= {"lr": 1e-3} if optimizer is torch.optim.AdamW else {}
    data = noisy_digits(split=split)
    cpu, gpu = (fit(network, data, accelerator=name, **settings) for name in ("cpu", "gpu"))
    for first, second in zip(cpu.networks, gpu.networks, strict=True):
        assert all(tensor.device.type == "cpu" for tensor in second.state_dict().values())
        assert largest_difference(first, second) < 1e-3
    for name in MEASURES:
        assert gpu.history[name].tolist() == pytest.approx(cpu.history[name].tolist(), abs=0.02)


def test_a_recorded_run_on_a_gpu(recording):
    cpu, gpu = (fit(MLP, noisy_digits(), accelerator=n, **SETTINGS) for n in ("cpu", "gpu"))
    assert recording and not gpu.history.attrs["compiled"]
    for first, second in zip(cpu.networks, gpu.networks, strict=True):
        assert largest_difference(first, second) < 1e-3


def test_dropout_on_a_gpu_is_that_of_each_seed_alone():
    """Another device draws other numbers, but each seed its own, whatever the others are."""
    settings = {**SETTINGS, "accelerator": "gpu"}
    both = fit(ALONE["dropout"], noisy_digits(), **settings)
    alone = fit(ALONE["dropout"], noisy_digits(), **{**settings, "seeds": [0]})
    assert both.history.attrs["one_by_one"] == "random numbers"
    assert largest_difference(both.networks[1], alone.networks[0]) < 1e-3
    cpu = fit(ALONE["dropout"], noisy_digits(), **SETTINGS)
    last = [run.history.train_loss.iloc[-1] for run in (both, cpu)]
    assert last[0] == pytest.approx(last[1], abs=0.2)
