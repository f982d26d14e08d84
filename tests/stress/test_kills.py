"""A sweep that is killed again and again ends with the same numbers, and loses little work.

`make stress` runs it; ``-s`` shows how many kills fell where.
"""

import io
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch

import course_lib
from course_lib.training.cache import DIGEST_BYTES

HERE, PROJECT = Path(__file__).parent, Path(course_lib.__file__).parents[1]
SCRIPT, CELLS = HERE / "killed_sweep.py", 12
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# Of each way: what Python is called with, n_jobs, how many processes train, how often it is killed.
WAYS = {
    "alone": ([], 1, 1, 20),
    "n_jobs=2": ([], 2, 2, 16),
    "torchrun": (TORCHRUN, 1, 2, 16),
}
PHASES = ("starting up", "training", "writing", "between cells")
STARTING_SECONDS, LONGEST = 8, 120  # until the first cell, mostly and on a busy machine
WRITING_SECONDS = 0.1  # a file is written in a hundredth of it, too fast to be hit


class Story:
    """One sweep in a folder of its own, started and killed as often as one likes."""

    def __init__(self, folder: Path, way: str):
        self.python, self.n_jobs, self.workers, _ = WAYS[way]
        self.folder, self.kept, self.table = folder, folder / "kept", folder / "table.pkl"
        self.events, self.kills, self.done = folder / "events", 0, False
        self.events.parent.mkdir(exist_ok=True)
        self.events.touch()

    def start(self) -> None:
        options = {"EVENTS": self.events, "PYTHONPATH": f"{PROJECT}:{HERE}", "OMP_NUM_THREADS": 1}
        options |= {"TORCHINDUCTOR_CACHE_DIR": self.folder, "WRITING_SECONDS": WRITING_SECONDS}
        self.before = len(self.lines())
        self.process = subprocess.Popen(
            [sys.executable, *self.python, SCRIPT, self.kept, self.table, str(self.n_jobs)],
            env=os.environ | {name: str(value) for name, value in options.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.events.read_text().splitlines()]

    def now(self) -> dict[str, str]:
        """What each process of this start has last told: its id and an event."""
        return {process: event for process, event, _ in self.lines()[self.before :]}

    def wait_for(self, event: str, times: int = 1) -> bool:
        """Until this start has told of it so often; whether it did before its end."""
        deadline = time.monotonic() + LONGEST
        while sum(each == event for _, each, _ in self.lines()[self.before :]) < times:
            if self.process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def kill(self, everything: bool) -> str:
        """Kill it, and see that all its processes end; returns what it was doing."""
        doing, group = self.now(), self.process.pid
        starting = self.python and len(doing) < self.workers
        if everything or starting:  # what waits for torchrun's store would wait for long
            os.killpg(group, signal.SIGSTOP)  # it starts no other
            for each in [*_children(group), group]:
                os.killpg(each, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.communicate(timeout=60)  # the last one of them closes the pipe
        self.kills += 1
        return _phase(set(doing.values()))

    def finish(self) -> None:
        shown, _ = self.process.communicate(timeout=300)
        assert self.process.returncode == 0 and "could not" not in shown, shown
        self.done = True

    def trained(self) -> int:
        """How many cells were begun; none that was kept already, and one a kill and process."""
        kept: set[str] = set()
        begun = 0
        for _, event, cell in self.lines():
            begun += event == "training"
            assert event != "training" or cell not in kept, f"{cell} was kept, and trained again"
            kept |= {cell} if event == "kept" else set()
        assert CELLS <= begun <= CELLS + self.kills * self.workers
        return begun


def _children(process: int) -> list[int]:
    """Those in groups of their own: torchrun's."""
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True)
    return [each for each in map(int, found.stdout.split()) if os.getpgid(each) == each]


def _phase(events: set[str]) -> str:
    found = [phase for phase in ("writing", "training") if phase in events]
    return found[0] if found else "between cells" if events else "starting up"


def kill_once(story: Story, chance: random.Random) -> str | None:
    """Start the sweep and kill it at a random moment; None if it was done before."""
    story.start()
    match chance.choice(("starting", "training", "training", "writing")):
        case "starting":
            time.sleep(chance.uniform(0, STARTING_SECONDS))
        case "training":
            story.wait_for("training")
            time.sleep(chance.expovariate(1))
        case "writing":
            story.wait_for("writing", chance.randint(1, 2))
            time.sleep(chance.uniform(0, WRITING_SECONDS))
    if story.process.poll() is not None:
        story.finish()
        return None
    return story.kill(everything=chance.random() < 0.5)


def finished_runs(folder: Path) -> dict[str, dict]:
    """All files of a cache, which are whole runs."""
    assert {file.suffix for file in folder.iterdir()} == {".pt"}, "something is left"
    contents = {file.name: file.read_bytes()[DIGEST_BYTES:] for file in folder.iterdir()}
    return {name: torch.load(io.BytesIO(content)) for name, content in contents.items()}


def assert_same(story: Story, undisturbed: Story) -> None:
    """Bit for bit, but for the time it took."""
    tables = [pd.read_pickle(each.table).drop(columns="seconds") for each in (story, undisturbed)]
    for table in tables:
        table.attrs.pop("compile_seconds")
    assert tables[0].attrs == tables[1].attrs
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    runs, expected = finished_runs(story.kept), finished_runs(undisturbed.kept)
    assert runs.keys() == expected.keys() and len(runs) == CELLS
    for name, run in runs.items():
        assert_same_run(run, expected[name])


def assert_same_run(run: dict, expected: dict) -> None:
    histories = [pd.DataFrame(each.pop("_extra_state")["history"]) for each in (run, expected)]
    pd.testing.assert_frame_equal(
        *(history.drop(columns="seconds") for history in histories), check_exact=True
    )
    assert run.keys() == expected.keys()
    for name, weights in run.items():
        assert torch.equal(weights, expected[name]), name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Story:
    story = Story(tmp_path_factory.mktemp("undisturbed"), "alone")
    story.start()
    story.finish()
    assert story.trained() == CELLS
    return story


@pytest.mark.parametrize("way", WAYS)
def test_a_sweep_killed_at_random_moments_ends_the_same(way, undisturbed, tmp_path):
    started, chance, wanted = time.monotonic(), random.Random(way), WAYS[way][-1]
    counts: Counter[str] = Counter()
    stories: list[Story] = []
    while counts.total() < wanted:
        if not stories or stories[-1].done:
            stories.append(Story(tmp_path / str(len(stories)), way))
        if phase := kill_once(stories[-1], chance):
            counts[phase] += 1
    if not stories[-1].done:
        stories[-1].start()
        stories[-1].finish()
    trained = sum(story.trained() for story in stories)
    for story in stories:
        assert_same(story, undisturbed)
    report(way, counts, trained, CELLS * len(stories), time.monotonic() - started)


def report(way: str, counts: Counter, trained: int, cells: int, seconds: float) -> None:
    fallen = ", ".join(f"{counts[phase]} {phase}" for phase in PHASES)
    print(
        f"\n{way}: {counts.total()} kills ({fallen}); {trained} cells trained for {cells}; "
        f"{seconds:.0f} seconds"
    )
