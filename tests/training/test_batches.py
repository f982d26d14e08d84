import pytest
import torch

from course_lib.data import TensorData
from course_lib.training import batches as module
from course_lib.training.batches import Batches


def numbered(samples: int, **loading) -> TensorData:
    """Samples that are their own numbers."""
    x, y = torch.arange(samples)[:, None], torch.zeros(samples, dtype=int)
    return TensorData(x, y, x, y, **loading)


@pytest.mark.parametrize("single", [True, False])
def test_batches_visit_each_sample_once_in_the_seed_s_order(single):
    batches = Batches(numbered(10), 4, seeds=[5, 6], single=single)
    orders = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    for _ in range(2):
        epoch = [x for item in batches for x, _ in item]
        assert [x.shape[1] for x in epoch] == [4, 4, 2]
        assert all(x.is_contiguous() for x in epoch)
        for replica, generator in enumerate(orders):
            visited = torch.cat([x[replica, :, 0] for x in epoch])
            assert torch.equal(visited, torch.randperm(10, generator=generator))


def test_batches_with_drop_last():
    batches = Batches(numbered(10, drop_last=True), 4, seeds=[0])
    assert [x.shape[1] for item in batches for x, _ in item] == [4, 4]
    assert (batches.updates_per_epoch, batches.samples_per_epoch) == (2, 8)


def test_batches_are_gathered_in_pieces_of_bounded_size(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 3 * 2 * 4 * 8)
    batches = Batches(numbered(100), 4, seeds=[0, 1])
    assert [len(item) for item in batches] == [3] * 8 + [1]
    assert len(batches) == 9
