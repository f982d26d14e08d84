"""Where compiled operations are kept meanwhile, and what the record says about the machine."""

import os
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch

PACKAGES = ["torch", "pytorch-lightning", "numpy", "jax"]
LOAD = os.getloadavg()[0]  # before the benchmark makes its own


@pytest.fixture(scope="session", autouse=True)
def kept_compiled(tmp_path_factory):
    """A folder, empty at first, in which this session's long runs leave what they compile."""
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
        yield folder


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["load"] = LOAD
    machine_info["threads"] = torch.get_num_threads()
    machine_info["versions"] = {package: version_or_none(package) for package in PACKAGES}


def version_or_none(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
