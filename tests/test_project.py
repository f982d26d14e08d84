"""The project's files agree with one another and speak of nothing but the project."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"torch": "pytorch"}
HOSTS = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"))]
HOSTS += [".".join(parts) for parts in (("anaconda", "org"), ("download", "pytorch", "org"))]
HOMES = [f"/{folder}/" for folder in ("root", "home", "Users")]


def required() -> list[Requirement]:
    """All that pyproject.toml asks for: the library's, the lab's and the tests' packages."""
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(line) for line in sum(extras, PROJECT["dependencies"])]


def test_the_conda_environment_is_the_projects():
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = {str(Requirement(line)) for line in lines if isinstance(line, str)}
    wanted = {f"{CONDA_NAMES.get(r.name, r.name)}{r.specifier}" for r in required()}
    assert conda == wanted | {"pip", f"python{PROJECT['requires-python']}"}
    assert {"pip": ["--editable ."]} in lines


def test_the_conda_environment_has_what_a_lesson_needs():
    names = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    names = {Requirement(line).name for line in names if isinstance(line, str)}
    assert {"jupyterlab", "pytorch-lightning", "torchmetrics", "seaborn", "nbval"} <= names


def test_constraints_pin_every_requirement_within_its_range():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    assert pins["torch"] == "2.13.0"
    for requirement in required():
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_torchvision_is_no_requirement():
    assert "torchvision" not in {requirement.name for requirement in required()}


def tracked() -> list[Path]:
    """The files that are, or will be, committed."""
    command = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    """A file's text; of a notebook all but its images, whose characters mean nothing."""
    return re.sub(r'"image/png": ".*"', "", path.read_bytes().decode(errors="replace"))


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="needs git")
@pytest.mark.parametrize("word", [*HOSTS, *HOMES, str(ROOT)])
def test_no_file_names_a_registry_or_a_place_on_one_machine(word):
    assert [path for path in tracked() if word in text_of(path)] == []


def test_the_readme_names_existing_targets_and_every_lesson():
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", readme, re.MULTILINE))
    assert {"lab", "test", "lessons", "stamp", "claims"} <= targets
    assert {"lab", "test"} <= named <= targets
    for lesson in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        assert f"(notebooks/{lesson.name})" in readme


@pytest.mark.parametrize("file", [".ci/run", ".github/workflows/validate.yml"])
def test_every_ci_runs_make_test(file):
    assert "make test" in (ROOT / file).read_text()


def test_ci_covers_the_pythons_of_the_project():
    jobs = yaml.safe_load((ROOT / ".github/workflows/validate.yml").read_text())["jobs"]
    pythons = jobs["test"]["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13"]
    assert f">={pythons[0]}" == PROJECT["requires-python"]
