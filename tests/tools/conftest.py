"""A Python as Colab has it."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest


@pytest.fixture
def colab_stub(tmp_path):
    """A folder with a stub of the module that tells Colab from other places."""
    (tmp_path / "stub/google/colab").mkdir(parents=True)
    (tmp_path / "stub/google/colab/__init__.py").touch()
    return tmp_path / "stub"


@pytest.fixture
def bare_python(tmp_path):
    """A Python with all the packages of this one except course_lib, as Colab's is."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    (Path(packages) / "packages.pth").write_text(sysconfig.get_path("purelib"))
    return python
