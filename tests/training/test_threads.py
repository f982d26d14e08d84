"""Threads over the replicas, and numbers too small to matter."""

import threading
import time

import pytest
import torch

from course_lib.training.threads import ONE_THREAD_BELOW, replica_map, without_subnormals

MUCH, LITTLE = 10 * ONE_THREAD_BELOW, 1


@pytest.fixture
def four_threads():
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(1)


@pytest.fixture(params=[False, True], ids=["kept", "flushed"])
def flushed_before(request):
    torch.set_flush_denormal(request.param)
    yield request.param
    torch.set_flush_denormal(False)


def flushes(_=None) -> bool:
    """Whether this thread takes subnormal numbers for 0."""
    return (torch.tensor(1e-39) * 1).item() == 0


@pytest.mark.parametrize("replicas", [1, 3, 4, 9])
@pytest.mark.parametrize("work", [LITTLE, MUCH])
def test_results_come_in_order(four_threads, replicas, work):
    with replica_map(replicas, work) as each:
        assert list(each(lambda number: number**2, range(9))) == [n**2 for n in range(9)]


@pytest.mark.parametrize(
    ("replicas", "work", "expected"), [(1, LITTLE, 1), (1, MUCH, 4), (3, LITTLE, 1), (3, MUCH, 1)]
)
def test_only_a_lone_replica_with_much_work_gets_all_threads(
    four_threads, replicas, work, expected
):
    with replica_map(replicas, work) as each:
        assert torch.get_num_threads() == expected
        assert set(each(lambda _: torch.get_num_threads(), range(6))) == {expected}
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize(("replicas", "most"), [(1, 1), (2, 2), (4, 4), (9, 4)])
def test_as_many_threads_work_as_are_allowed(four_threads, replicas, most):
    def wait(_):
        time.sleep(0.02)
        return threading.get_ident()

    with replica_map(replicas, MUCH) as each:
        assert len(set(each(wait, range(12)))) == most


def test_one_allowed_thread_is_this_one():
    with replica_map(9, MUCH) as each:
        assert set(each(lambda _: threading.get_ident(), range(9))) == {threading.get_ident()}


@pytest.mark.parametrize("replicas", [1, 3])
def test_subnormals_are_zero_inside_and_not_after(four_threads, replicas, flushed_before):
    assert flushes() == flushed_before
    with replica_map(replicas, MUCH) as each:
        assert all(each(flushes, range(8)))
        assert replicas > 1 or flushes()
    assert flushes() == flushed_before


@pytest.mark.parametrize("replicas", [1, 3])
def test_an_error_passes_and_everything_is_as_before(four_threads, replicas):
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError), replica_map(replicas, LITTLE) as each:
        list(each(lambda number: 1 / number, [1, 0, 2]))
    assert torch.get_num_threads() == 4 and not flushes()
    assert set(threading.enumerate()) == before


def test_no_thread_is_left(four_threads):
    before = set(threading.enumerate())
    for _ in range(3):
        with replica_map(4, MUCH) as each:
            list(each(flushes, range(8)))
    assert set(threading.enumerate()) == before


def test_nested_calls_give_back_what_they_found(four_threads):
    with replica_map(1, MUCH):
        with replica_map(1, LITTLE):
            assert torch.get_num_threads() == 1 and flushes()
        assert torch.get_num_threads() == 4 and flushes()
    assert torch.get_num_threads() == 4 and not flushes()


def test_without_subnormals_in_another_default_dtype(float64, flushed_before):
    with without_subnormals():
        assert (torch.tensor(1e-39, dtype=torch.float32) * 1).item() == 0
    assert ((torch.tensor(1e-39, dtype=torch.float32) * 1).item() == 0) == flushed_before
