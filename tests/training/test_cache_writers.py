"""Writers of the cache that work at the same time, and what killed ones leave there."""

import errno
import fcntl
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from course_lib.models import MLP
from course_lib.training.batches import Batches
from course_lib.training.cache import Cache
from course_lib.training.cohort import Cohort
from course_lib.training.objective import Objective, accuracy
from course_lib.training.replicas import Replicas
from test_cache import SOURCE, files, forbid_training, keep, made_by, run_script, script_of


def test_writers_of_one_key_do_not_disturb_each_other(data, tmp_path):
    """Neither do those who look for leftovers meanwhile."""

    def cohort():
        batches = Batches(data, 50, [0, 1])
        replicas = Replicas(MLP, [0, 1], Objective(F.cross_entropy, accuracy))
        return Cohort(replicas, partial(torch.optim.SGD, lr=0.1), batches)

    written, read = cohort(), cohort()
    written.history = keep(MLP, data, tmp_path / "elsewhere").history
    cache = Cache(tmp_path / "kept", read, {"max_steps": 2})
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for parameter in written.parameters():
            parameter.fill_(3)
        with ThreadPoolExecutor(8) as pool:
            writing = [pool.submit(cache.write, written) for _ in range(64)]
            reading = [pool.submit(cache.read_into, cohort()) for _ in range(64)]
            for each in writing + reading:
                each.result()
        assert cache.read_into(read)
    assert files(tmp_path / "kept") == [cache.file.name]
    assert all((parameter == 3).all() for parameter in read.parameters())
    pd.testing.assert_frame_equal(read.history, written.history)


def test_only_unlocked_unfinished_files_are_deleted(data, tmp_path):
    for name in ("living", "dead"):
        (tmp_path / f"{name}.unfinished").write_text("half a run")
    (tmp_path / "mine.txt").write_text("notes")
    with (tmp_path / "living.unfinished").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        keep(MLP, data, tmp_path)
        left = {name for name in files(tmp_path) if not name.endswith(".pt")}
        assert left == {"living.unfinished", "mine.txt"}
    keep(MLP, data, tmp_path)
    assert {name for name in files(tmp_path) if not name.endswith(".pt")} == {"mine.txt"}


def test_a_file_that_is_deleted_before_it_is_locked_is_written_again(data, tmp_path, monkeypatch):
    taken, lock = [], fcntl.flock

    def late(file, how):
        if not taken:
            taken.extend(tmp_path.glob("*.unfinished"))
            taken[0].unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keep(MLP, data, tmp_path)
    assert len(taken) == 1 and [each.suffix for each in tmp_path.iterdir()] == [".pt"]


def test_without_locks_runs_are_kept_and_nothing_is_deleted(data, tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / "other.unfinished").write_text("half a run")
    keep(MLP, data, tmp_path)
    forbid_training(monkeypatch)
    keep(MLP, data, tmp_path)
    assert "other.unfinished" in files(tmp_path) and len(files(tmp_path)) == 2


SLOW = """
import os, sys

def slow(_):
    print("writing", flush=True)
    sys.stdin.readline()

os.fsync = slow
run()
"""


@pytest.mark.slow
def test_what_a_killed_writer_leaves_is_deleted_and_nothing_of_living_ones(data, tmp_path):
    kept = tmp_path / "kept"
    writers = [run_script(tmp_path, script_of(kept) + SLOW) for _ in range(3)]
    for each in writers:
        assert each.stdout.readline() == "writing\n", each.stderr.read()
    assert len(files(kept)) == 3 and not list(kept.glob("*.pt")), "nothing looks finished"
    killed, *living = writers
    killed.kill()
    killed.communicate()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keep(made_by(SOURCE), data, kept)
    assert len(list(kept.glob("*.unfinished"))) == 2
    for each in living:
        _, errors = each.communicate("\n", timeout=60)
        assert each.returncode == 0 and "Warning" not in errors, errors
    assert len(files(kept)) == 1 and kept.joinpath(files(kept)[0]).suffix == ".pt"
    with pytest.MonkeyPatch.context() as patched:
        forbid_training(patched)
        keep(made_by(SOURCE), data, kept)
