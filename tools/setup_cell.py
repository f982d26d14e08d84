# @title Set-up: nothing on your own machine; on Colab it installs course_lib and keeps torch
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec

repository = "https://github.com/OWNER/batch-size-course"
if find_spec("google") and find_spec("google.colab") and not find_spec("course_lib"):
    if "/OWNER/" in repository:
        raise RuntimeError("Set `repository` above to the address of the course, then run again.")
    names = [name for name in ("torch", "numpy", "torchvision") if find_spec(name)]
    kept = [f"{name}=={version(name)}" for name in names]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", f"git+{repository}", *kept]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"course_lib was not installed from {repository}:\n{done.stderr}")
    if kept != [f"{name}=={version(name)}" for name in names]:
        raise RuntimeError(f"The installation changed one of {kept}: restart the runtime.")
    print(f"Installed course_lib from {repository}; kept {', '.join(kept)}.")
