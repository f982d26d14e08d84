"""The project's files agree with one another and speak of nothing but the project."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
WORKFLOW = (ROOT / ".github/workflows/validate.yml").read_text()
SYSTEMS = {
    "Linux": {"sys_platform": "linux", "os_name": "posix"},
    "Darwin": {"sys_platform": "darwin", "os_name": "posix"},
    "Windows": {"sys_platform": "win32", "os_name": "nt"},
}
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


def pins() -> dict[str, str]:
    """The versions of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    versions = dict(line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in versions.items()}


def test_constraints_pin_every_requirement_within_its_range():
    for requirement in required():
        assert pins()[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_constraints_are_releases_that_anybody_can_install():
    versions = [Version(version) for version in pins().values()]
    assert not [version for version in versions if version.is_prerelease or version.local]


def installed(marker_values: dict[str, str]) -> set[str]:
    """The names of all packages that a system needs, as far as this one can tell."""
    found, open_ends = set(), [(requirement, "") for requirement in required()]
    while open_ends:
        requirement, extra = open_ends.pop()
        name = canonicalize_name(requirement.name)
        values = {**marker_values, "extra": extra}
        if requirement.marker and not requirement.marker.evaluate(values):
            continue
        if (name, *requirement.extras) in found:
            continue
        found.add((name, *requirement.extras))
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:  # of another system, or for `make bench`
            continue
        open_ends += [(Requirement(line), e) for line in lines for e in ("", *requirement.extras)]
    return {name for name, *_ in found}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_constraints_pin_what_each_system_installs(system, python):
    for name, version in pins().items():
        try:
            if Version(distribution(name).version).public != version:
                pytest.skip(f"{name} is not the one of constraints.txt: its needs may be others")
        except PackageNotFoundError:
            continue
    values = {**SYSTEMS[system], "platform_system": system, "platform_machine": "arm64"}
    values |= {"python_version": python, "python_full_version": f"{python}.0"}
    assert installed(values) - set(pins()) == set()


def test_each_range_begins_with_its_lowest_version():
    # from where make check-lowest takes it, in lines like `"name>=1.2,<3",`
    lines = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
    assert [line for line in lines if not re.match(r"[a-z0-9-]+>=[0-9.]+(,|$)", line)] == []


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


def test_the_readme_names_every_target_and_every_lesson():
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.MULTILINE))
    assert {"lab", "check", "test", "lessons", "stamp", "claims"} <= targets
    assert named | {"help"} == targets
    for lesson in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        assert f"(notebooks/{lesson.name})" in readme


@pytest.mark.parametrize("file", [".ci/run", ".github/workflows/validate.yml"])
def test_every_ci_runs_make_test(file):
    assert "make test" in (ROOT / file).read_text()


def test_ci_covers_the_pythons_of_the_project():
    pythons = yaml.safe_load(WORKFLOW)["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13"]
    assert f">={pythons[0]}" == PROJECT["requires-python"]


def test_ci_runs_fixed_actions_that_keep_no_credentials():
    actions = re.findall(r"uses: (.*)", WORKFLOW)
    assert actions
    assert all(re.fullmatch(r"\S+@[0-9a-f]{40} # v[0-9.]+", action) for action in actions)
    assert WORKFLOW.count("persist-credentials: false") == WORKFLOW.count("actions/checkout@")


@pytest.mark.parametrize("bound", ["lowest", "newest"])
def test_ci_tries_the_ends_of_the_ranges(bound):
    steps = yaml.safe_load(WORKFLOW)["jobs"][bound]["steps"]
    assert f"make check-{bound}" in steps[-1]["run"]


def test_every_tool_is_a_target():
    tools = [path for path in (ROOT / "tools").glob("*.py") if "__main__" in path.read_text()]
    commands = (ROOT / "Makefile").read_text()
    assert [tool.name for tool in tools if f"tools/{tool.name}" not in commands] == []


def test_the_citation_and_the_changelog_name_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in PROJECT["authors"]
    ]
    newest = re.search(r"^## \[?([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == PROJECT["version"]


def test_contributing_names_files_and_constants_that_exist():
    names = re.findall(r"`([^`\s]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    paths = [name for name in names if "/" in name and not re.search("NN|your_title", name)]
    assert len(paths) > 15
    assert [name for name in paths if not (ROOT / name).exists()] == []
    constants = [name for name in names if re.fullmatch("[A-Z]+(_[A-Z]+)*", name)]
    assert len(constants) > 9
    files = [path for part in ("course_lib", "tests") for path in (ROOT / part).rglob("*.py")]
    code = "".join(path.read_text() for path in files)
    assert [name for name in constants if name not in code] == []


def test_pre_commit_has_the_ruff_of_the_constraints():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    versions = {repository["repo"]: repository["rev"] for repository in config["repos"]}
    assert versions["https://github.com/astral-sh/ruff-pre-commit"] == f"v{pins()['ruff']}"


def test_every_package_of_the_library_is_installed():
    folders = {path.parent for path in (ROOT / "course_lib").rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert names == set(SETTINGS["tool"]["setuptools"]["packages"])


def test_no_file_of_the_library_escapes_the_type_checker():
    mypy = SETTINGS["tool"]["mypy"]
    assert mypy["files"] == ["course_lib"] and mypy["disallow_untyped_defs"]
    assert "exclude" not in mypy
    for override in mypy["overrides"]:
        assert set(override) == {"module", "ignore_missing_imports"}
        assert not [name for name in override["module"] if name.startswith("course_lib")]
    for path in (ROOT / "course_lib").rglob("*.py"):
        assert not re.search(r"# (mypy:|type: ignore(?!\[))", path.read_text()), path


@pytest.mark.slow
def test_a_notebook_imports_the_library_without_a_word():
    cell = nbformat.v4.new_code_cell("from course_lib import load_images\n\nload_images();")
    NotebookClient(nbformat.v4.new_notebook(cells=[cell])).execute()
    assert cell.outputs == []
