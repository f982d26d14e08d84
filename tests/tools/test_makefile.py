"""The Makefile takes a Python only where the pinned packages can be installed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRETEND = "import ensurepip, platform, sys, venv; sys.version_info, sys.platform = {}, {!r}; "
PRETEND += "platform.machine = lambda: {!r}; "


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize(
    ("version", "system", "machine", "suits"),
    [
        ((3, 10, 14), "linux", "x86_64", False),
        ((3, 11, 0), "linux", "x86_64", True),
        ((3, 14, 2), "darwin", "arm64", True),
        ((3, 13, 1), "darwin", "x86_64", False),
        ((3, 15, 0), "linux", "aarch64", False),
    ],
)
def test_a_python_suits_where_torch_can_be_installed(version, system, machine, suits, tmp_path):
    command = ["make", "--dry-run", "lab", f"VENV={tmp_path / 'none'}"]
    recipe = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    question = re.search(r"-c '(.*?)' 2>/dev/null", recipe)[1]
    pretended = PRETEND.format(version, system, machine) + question
    asked = subprocess.run([sys.executable, "-c", pretended], capture_output=True, text=True)
    assert (asked.returncode == 0) == suits and asked.stderr == ""


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_where_no_python_suits_it_says_what_to_do(tmp_path):
    for name in ("make", "sh", "rm", "touch", "test"):
        (tmp_path / name).symlink_to(shutil.which(name))
    command = ["make", "lab", f"VENV={tmp_path / 'none'}"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "Python 3.11 to 3.14" in done.stdout and "make lab PYTHON=/path/to" in done.stdout
    assert not (tmp_path / "none").exists()
