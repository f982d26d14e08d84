import subprocess
import sys

import pandas as pd

from course_lib.datasets import Digits
from course_lib.models import MLP
from course_lib.training import sweep

# What each of the processes runs: it tells who did what, and writes what it got.
WORKER = """
import os, sys, time
from functools import partial
from course_lib.training.torchrun import shared_out

def job(number):
    time.sleep(0.2)
    return number, os.environ["RANK"]

for numbers in (range(6), range(6, 8)):
    results = list(shared_out([partial(job, number) for number in numbers]))
    with open(f"{sys.argv[1]}/{os.environ['RANK']}", "a") as file:
        print(*(f"{number}:{rank}" for number, rank in results), file=file)
"""
SWEEPER = """
import os, sys
from course_lib import MLP, Digits, sweep

data = Digits().part(100, 50)
settings = {"batch_sizes": [16, "full"], "seeds": 18, "lr": 0.1, "max_epochs": 2}
history = sweep(MLP, data, **settings, cache=sys.argv[1])
history.to_csv(f"{sys.argv[1]}/{os.environ['RANK']}.csv", index=False)
"""


def torchrun(folder, script, processes=2):
    file = folder / "script.py"
    file.write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    subprocess.run(
        [*command, f"--nproc-per-node={processes}", file, folder],
        check=True,
        capture_output=True,
        timeout=300,
    )


def test_each_job_is_done_once_and_known_to_all(tmp_path):
    torchrun(tmp_path, WORKER)
    first, second = ((tmp_path / rank).read_text() for rank in "01")
    assert first == second
    done = [each.split(":") for line in first.splitlines() for each in line.split()]
    assert [int(number) for number, _ in done] == list(range(8))
    assert {rank for _, rank in done[:6]} == {"0", "1"}


def test_sweep_under_torchrun_returns_the_rows_of_one_process(tmp_path):
    torchrun(tmp_path, SWEEPER)
    first, second = (pd.read_csv(tmp_path / f"{rank}.csv") for rank in "01")
    alone = sweep(
        MLP, Digits().part(100, 50), batch_sizes=[16, "full"], seeds=18, lr=0.1, max_epochs=2
    )
    pd.testing.assert_frame_equal(first, second)
    first, alone = (rows.drop(columns="seconds") for rows in (first, alone))
    pd.testing.assert_frame_equal(first, alone, check_dtype=False, rtol=1e-4)
    assert len(list(tmp_path.glob("*.pt"))) == 4  # each process keeps what it has trained
