# @title Set-up: where course_lib is missing, it is installed from this file, and torch is kept
import base64
import io
import subprocess
import sys
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

carried = """
CARRIED
"""


class Stop(Exception):
    """An error of which a notebook shows one line."""

    def _render_traceback_(self):
        return [str(self)]


with zipfile.ZipFile(io.BytesIO(base64.b64decode(carried))) as files:
    files.extractall(members=[name for name in files.namelist() if not Path(name).exists()])
[wheel] = Path.cwd().glob("course_lib-*.whl")
if not find_spec("course_lib"):
    names = [name for name in ("torch", "numpy", "torchvision") if find_spec(name)]
    kept = [f"{name}=={version(name)}" for name in names]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", str(wheel), *kept]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        raise Stop(f"course_lib could not be installed. pip says: {done.stderr.strip()}")
    if kept != [f"{name}=={version(name)}" for name in names]:
        raise Stop(f"The installation changed one of {kept}: restart the kernel and run again.")
    print(f"Installed course_lib from this file; kept {', '.join(kept)}.")
wheel.unlink()
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
print(f"The lesson trains on the CPU, which is enough; this machine has {gpu}.")
