"""What the benchmark's record says about the machine."""

import os
from importlib.metadata import PackageNotFoundError, version

import torch

PACKAGES = ["torch", "pytorch-lightning", "numpy", "jax"]
LOAD = os.getloadavg()[0]  # before the benchmark makes its own


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["load"] = LOAD
    machine_info["threads"] = torch.get_num_threads()
    machine_info["versions"] = {package: version_or_none(package) for package in PACKAGES}


def version_or_none(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
