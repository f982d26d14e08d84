# @title Set-up: nothing on your own machine; on Colab it installs course_lib and keeps torch
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from shutil import copytree
from tempfile import TemporaryDirectory

repository, edition = "https://github.com/OWNER/batch-size-course", "HEAD"


class Stop(Exception):
    """An error of which a notebook shows one line."""

    def _render_traceback_(self):
        return [str(self)]


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Stop(f"course_lib was not installed from {repository}: {done.stderr.strip()}")


if not find_spec("course_lib"):
    if "/OWNER/" in repository or not (find_spec("google") and find_spec("google.colab")):
        raise Stop(
            "course_lib is not installed here: choose the kernel of .venv, which `make lab` makes, "
            "or take this lesson from `make colab`, which brings course_lib along."
        )
    names = [name for name in ("torch", "numpy", "torchvision") if find_spec(name)]
    kept = [f"{name}=={version(name)}" for name in names]
    with TemporaryDirectory() as course:
        call("git", "clone", "--quiet", repository, course)
        call("git", "-C", course, "checkout", "--quiet", edition)
        call(sys.executable, "-m", "pip", "install", "--quiet", course, *kept)
        copytree(f"{course}/notebooks/results", "results", dirs_exist_ok=True)
    if kept != [f"{name}=={version(name)}" for name in names]:
        raise Stop(f"The installation changed one of {kept}: restart the runtime and run again.")
    print(f"Installed course_lib from {repository}; kept {', '.join(kept)}.")
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"The lesson trains on the CPU, which is enough; this machine has {gpu}.")
