"""The cache's files: damaged ones, those of other programs, a folder that takes none."""

import errno
import hashlib
import io
import os
import pickle
import warnings

import pandas as pd
import pytest
import torch

import course_lib.training.cache as cache_module
from course_lib.models import MLP
from test_cache import files, forbid_training, keep, run_script, script_of
from zoo import largest_difference


def assert_same_run(first, second):
    pd.testing.assert_frame_equal(
        first.history.drop(columns="seconds"),
        second.history.drop(columns="seconds"),
        check_exact=True,
    )
    for own, other in zip(first.networks, second.networks, strict=True):
        assert largest_difference(own, other) == 0


def assert_trained_again(first, data, file, reason):
    """One warning that names the file; then the same run, which is kept."""
    with pytest.warns(UserWarning) as caught:
        second = keep(MLP, data, file.parent)
    [message] = [str(each.message) for each in caught]
    assert message == f"{file} could not be used ({reason}); the run is trained again"
    assert_same_run(first, second)
    assert files(file.parent) == [file.name]
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patched:
        warnings.simplefilter("error")
        forbid_training(patched)
        assert_same_run(first, keep(MLP, data, file.parent))


# Damage.


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGE = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "a byte too long": lambda content: content + b"0",
    "a bit of the digest": lambda content: flipped(content, 3),
    "a bit of the content": lambda content: flipped(content, len(content) // 2),
    "something else": lambda content: b"<html>",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_named_and_written_afresh(data, tmp_path, damage):
    first = keep(MLP, data, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert_trained_again(first, data, file, "its content is not what was written")


class Other:
    """Of another program."""


OF_WEIGHTS = {
    "other names": lambda weights: {f"x{name}": tensor for name, tensor in weights.items()},
    "a tensor less": lambda weights: dict([*weights.items()][1:]),
    "other shapes": lambda weights: {name: tensor[:1] for name, tensor in weights.items()},
    "another dtype": lambda weights: {name: tensor.half() for name, tensor in weights.items()},
}
OF_HISTORY = {
    "a column less": lambda history: dict([*history.items()][1:]),
    "a column more": lambda history: {**history, "more": history["seed"]},
    "no rows": lambda history: dict.fromkeys(history, []),
    "other seeds": lambda history: {**history, "seed": [7] * len(history["seed"])},
}
OF_STATE = {
    "a short column": (lambda w, extra: {**w, "_extra_state": {"history": SHORT}}, "ValueError"),
    "no attrs": (lambda w, e: {**w, "_extra_state": {"history": e["history"]}}, "KeyError"),
    "no history": (lambda weights, _: weights, "ValueError"),
    "a list": (lambda weights, _: [*weights.values()], "AttributeError"),
    "a class": (lambda *_: Other(), "UnpicklingError"),
}
SHORT = {"seed": [0, 1], "epoch": [0]}


def altered(file, change):
    """The state in a file is another now, and the digest is right."""
    state = torch.load(io.BytesIO(file.read_bytes()[32:]))
    extra, content = state.pop("_extra_state"), io.BytesIO()
    torch.save(change(state, extra), content)
    file.write_bytes(with_digest(content.getvalue()))


def with_digest(content):
    return hashlib.sha256(content).digest() + content


@pytest.mark.parametrize("change", OF_WEIGHTS.values(), ids=OF_WEIGHTS)
def test_weights_of_other_networks_are_not_loaded(data, tmp_path, change):
    first = keep(MLP, data, tmp_path)
    (file,) = tmp_path.iterdir()
    altered(file, lambda weights, extra: {**change(weights), "_extra_state": extra})
    assert_trained_again(first, data, file, "it holds the weights of other networks")


@pytest.mark.parametrize("change", OF_HISTORY.values(), ids=OF_HISTORY)
def test_histories_of_other_runs_are_not_loaded(data, tmp_path, change):
    def changed(weights, extra):
        return {**weights, "_extra_state": {**extra, "history": change(extra["history"])}}

    first = keep(MLP, data, tmp_path)
    (file,) = tmp_path.iterdir()
    altered(file, changed)
    assert_trained_again(first, data, file, "it holds the history of another run")


@pytest.mark.parametrize(("change", "error"), OF_STATE.values(), ids=OF_STATE)
def test_what_is_no_finished_run_is_not_loaded(data, tmp_path, change, error):
    first = keep(MLP, data, tmp_path)
    (file,) = tmp_path.iterdir()
    altered(file, change)
    assert_trained_again(first, data, file, f"it holds no finished run: {error}")


@pytest.mark.parametrize("content", [b"", b"a letter", pickle.dumps([1, 2]), bytes(99)])
def test_a_whole_file_of_another_program_is_named_and_written_afresh(data, tmp_path, content):
    first = keep(MLP, data, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(with_digest(content))
    with pytest.warns(UserWarning, match=rf"{file} could not be used \(it holds no .*: \w+\)"):
        assert_same_run(first, keep(MLP, data, tmp_path))


def test_a_folder_in_the_place_of_a_file_is_named(data, tmp_path):
    first = keep(MLP, data, tmp_path)
    (file,) = tmp_path.iterdir()
    file.unlink()
    file.mkdir()
    with pytest.warns(UserWarning) as caught:
        assert_same_run(first, keep(MLP, data, tmp_path))
    assert [str(file) in str(each.message) for each in caught] == [True, True]  # read, written
    assert files(tmp_path) == [file.name]


# A folder that takes no file.


def assert_not_kept(data, folder, reason):
    """One warning, which names the file and says why; the run is there, and nothing is left."""
    with pytest.warns(UserWarning) as caught:
        run = keep(MLP, data, folder)
    [message] = [str(each.message) for each in caught]
    assert message.startswith(f"the run is finished but could not be kept in {folder}/")
    assert reason in message
    assert run.history.step.max() == 2 and len(run.networks) == 2


def failing(code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    return fail


def test_a_full_disk_costs_a_warning(data, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    assert_not_kept(data, tmp_path, "No space left on device")
    assert files(tmp_path) == []


def test_a_read_only_folder_costs_a_warning(data, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "NamedTemporaryFile", failing(errno.EROFS))
    assert_not_kept(data, tmp_path, "Read-only file system")
    assert files(tmp_path) == []


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_folder_that_cannot_be_made_costs_a_warning(data, tmp_path, below):
    (tmp_path / "file").write_text("in its place")
    assert_not_kept(data, tmp_path / "file" / below, "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_costs_a_warning(data, tmp_path):
    tmp_path.chmod(0o500)
    assert_not_kept(data, tmp_path, "Permission denied")
    tmp_path.chmod(0o700)


LIMITED = """
import resource, signal, warnings

warnings.simplefilter("error")  # a second one would end it
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    run()
except UserWarning as warning:
    print(warning)
"""


@pytest.mark.slow
def test_a_file_of_which_the_system_takes_a_part_costs_a_warning(data, tmp_path):
    process = run_script(tmp_path, script_of(tmp_path / "kept") + LIMITED)
    shown, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert f"could not be kept in {tmp_path}/kept/" in shown and "File too large" in shown
    assert files(tmp_path / "kept") == []
