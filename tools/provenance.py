"""How a shipped table was made: the comment lines at its head."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent


def lines() -> list[str]:
    """Date, commit, versions and hardware of this run."""
    packages = ("torch", "pytorch-lightning", "numpy", "scipy")
    versions = [f"{package} {version(package)}" for package in packages]
    return [
        f"date: {datetime.now(UTC).date()}",
        f"commit: {commit()}",
        f"versions: Python {platform.python_version()}, {', '.join(versions)}",
        f"hardware: {hardware()}",
    ]


def commit() -> str:
    """Return the commit of the code, and whether the code has changed since."""

    def git(*command: str) -> str:
        done = subprocess.run(["git", "-C", ROOT, *command], capture_output=True, text=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "course_lib", "tools")
    return (git("rev-parse", "HEAD") or "unknown") + " with changes" * bool(changed)


def hardware() -> str:
    """Return the processor's name and the number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    found = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in found if line.startswith("model name")]
    name = (names or [platform.processor() or platform.machine()])[0]
    return f"{name}, {os.cpu_count()} cores"


def write(path: Path, note: list[str], rows: pd.DataFrame) -> None:
    """Write a table below its comment lines; what was there is replaced at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    comments = "".join(f"# {line}\n" for line in note)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(comments + rows.to_csv(index=False, float_format="%.6g"))
    unfinished.replace(path)
