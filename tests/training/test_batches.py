import pytest
import torch

from course_lib.data import TensorData
from course_lib.training import batches as module
from course_lib.training.batches import Batches, Samples, samples_of


def numbered(samples: int, held_out: int = 3, weighted: bool = False, **options) -> TensorData:
    """Samples that are their own numbers, held-out ones from 100; weights are a tenth of them."""
    x, held = torch.arange(samples)[:, None], 100 + torch.arange(held_out)[:, None]
    y, held_y = torch.zeros(samples, dtype=int), torch.zeros(held_out, dtype=int)
    weights = {"weights_train": x[:, 0] / 10, "weights_val": held[:, 0] / 10} if weighted else {}
    return TensorData(x, y, held, held_y, **weights, **options)


def sizes(batches: Batches) -> list[int]:
    return [batch[0].shape[1] for item in batches for batch in item]


def orders(samples: int, *seeds: int, epochs: int = 1) -> list[torch.Tensor]:
    """The loop's order of each seed in the last of these epochs."""
    found = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        found.append([torch.randperm(samples, generator=generator) for _ in range(epochs)][-1])
    return found


@pytest.mark.parametrize("one_update_per_step", [True, False])
def test_batches_visit_each_sample_once_in_the_seed_s_order(one_update_per_step):
    batches = Batches(numbered(10), 4, [5, 6], one_update_per_step)
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    for _ in range(2):
        epoch = [x for item in batches for x, _ in item]
        assert [x.shape[1] for x in epoch] == [4, 4, 2]
        assert all(x.is_contiguous() for x in epoch)
        for replica, generator in enumerate(generators):
            visited = torch.cat([x[replica, :, 0] for x in epoch])
            assert torch.equal(visited, torch.randperm(10, generator=generator))


def test_one_update_a_step_makes_items_of_one_batch():
    assert [len(item) for item in Batches(numbered(10), 4, [0], True)] == [1, 1, 1]
    assert [len(item) for item in Batches(numbered(10), 4, [0])] == [2, 1]


def test_batches_with_drop_last():
    batches = Batches(numbered(10, drop_last=True), 4, seeds=[0])
    assert sizes(batches) == [4, 4]
    assert (batches.updates_per_epoch, batches.samples_per_epoch, batches.rest) == (2, 8, 0)


def test_batches_are_gathered_in_pieces_of_bounded_size(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 3 * 2 * 4 * 16)  # x and y: 16 bytes a sample
    batches = Batches(numbered(100), 4, seeds=[0, 1])
    assert [len(item) for item in batches] == [3] * 8 + [1]
    assert len(batches) == 9


def test_batches_are_gathered_in_pieces_of_bounded_length():
    batches = Batches(numbered(1001), 2, seeds=[0])
    assert [len(item) for item in batches] == [200, 200, 100, 1]
    assert len(batches) == 4


@pytest.mark.parametrize("samples", [8, 10])
@pytest.mark.parametrize("batch_size", [1, 4, 8])
@pytest.mark.parametrize("drop_last", [False, True])
def test_length_counts_the_items(samples, batch_size, drop_last):
    batches = Batches(numbered(samples, drop_last=drop_last), batch_size, [0, 1])
    assert len(list(batches)) == len(batches)
    assert len(sizes(batches)) == batches.updates_per_epoch
    assert sum(sizes(batches)) == batches.samples_per_epoch


def test_weights_go_with_their_samples():
    for item in Batches(numbered(10, weighted=True), 4, [5, 6]):
        for x, y, weights in item:
            assert x.shape[:2] == y.shape == weights.shape
            assert torch.equal(weights, x[..., 0] / 10)


@pytest.mark.parametrize("batch_size", ["full", 10])
def test_full_batch_is_all_samples_for_all_seeds(batch_size):
    [[(x, y)]] = Batches(numbered(10), batch_size, [5, 6])
    assert x.shape == (1, 10, 1) and y.shape == (1, 10)
    assert torch.equal(x[0, :, 0], torch.arange(10))


def test_full_batch_whose_order_matters_is_shuffled():
    batches = Batches(numbered(10), "full", [5, 6])
    batches.order_matters = True
    for epochs in (1, 2):
        [[(x, _)]] = batches
        assert torch.equal(x[..., 0], torch.stack(orders(10, 5, 6, epochs=epochs)))
    assert len(batches) == 1


@pytest.mark.parametrize("batch_size", [4, "full"])
def test_each_seed_has_its_own_split(batch_size):
    data = numbered(10, 5, weighted=True, split="seed")
    batches = Batches(data, batch_size, [5, 6])
    epoch = [
        torch.cat(part, 1) for part in zip(*(b for item in batches for b in item), strict=True)
    ]
    x, _, weights = epoch
    assert torch.equal(weights, x[..., 0] / 10)
    for replica, (seed, order) in enumerate(zip((5, 6), orders(10, 5, 6), strict=True)):
        own = data.of_seed(seed)
        expected = own.x_train if batch_size == "full" else own.x_train[order]
        assert torch.equal(x[replica], expected)
        assert torch.equal(batches.val.whole()[0][replica], own.x_val)
        everything = torch.cat([own.x_train, own.x_val]).flatten().sort().values
        assert everything.tolist() == [*range(10), *range(100, 105)]
    assert not torch.equal(x[0].sort(0).values, x[1].sort(0).values)


def test_split_of_a_seed_does_not_depend_on_the_others():
    data = numbered(10, 5, split="seed")
    _, beside = samples_of(data, [1, 5, 2])
    _, alone = samples_of(data, [5])
    assert torch.equal(beside.whole()[0][1], alone.whole()[0][0])


@pytest.mark.parametrize("rows", [None, torch.tensor([[3, 1, 0, 2], [2, 0, 4, 1]])])
def test_samples_have_a_length_a_whole_and_pieces(rows):
    samples = Samples([torch.arange(5) * 10, torch.arange(5) * 100], rows)
    expected = torch.arange(5)[None] if rows is None else rows
    assert len(samples) == expected.shape[1]
    assert torch.equal(samples.whole()[0], expected * 10)
    pieces = list(samples.pieces(3))
    assert [x.shape[1] for x, _ in pieces] == [3, len(samples) - 3]
    for x, y in pieces:
        assert torch.equal(y, 10 * x)
    assert torch.equal(torch.cat([x for x, _ in pieces], 1), samples.whole()[0])


@pytest.mark.parametrize("rows", [None, torch.tensor([[3, 1, 0, 2], [2, 0, 4, 1]])])
def test_shares_of_processes_make_up_the_whole(rows):
    samples = Samples([torch.arange(5), torch.arange(5) * 100], rows)
    shares = [samples.share(rank, 3) for rank in range(3)]
    assert sum(map(len, shares)) == len(samples)
    for number, whole in enumerate(samples.whole()):
        assert torch.equal(torch.cat([each.whole()[number] for each in shares], 1), whole)


def test_rows_are_gathered_for_several_batches():
    rows = torch.tensor([[3, 1, 0, 2], [2, 0, 4, 1]])
    samples = Samples([torch.arange(5) * 10, torch.arange(5) * 100], rows)
    indices = torch.tensor([[[0, 1], [2, 3]], [[2, 3], [1, 0]], [[3, 3], [0, 0]]])
    gathered = samples.gathered(indices)
    for batch, wanted in zip(gathered, indices, strict=True):
        expected = torch.stack([rows[seed, wanted[seed]] for seed in (0, 1)])
        assert torch.equal(batch[0], 10 * expected) and torch.equal(batch[1], 100 * expected)
        assert all(part.is_contiguous() for part in batch)


def test_changed_batch_size_counts_from_the_next_epoch():
    batches = Batches(numbered(10), 4, [0])
    epoch = iter(batches)
    first = next(epoch)
    batches.batch_size = 5
    assert [x.shape[1] for item in [first, *epoch] for x, _ in item][:2] == [4, 4]
    assert sizes(batches) == [5, 5]
    assert (batches.updates_per_epoch, len(batches)) == (2, 1)


@pytest.mark.parametrize("batch_size", [0, 11, 2.5, True, "all", None])
def test_batch_size_out_of_range(batch_size):
    with pytest.raises(ValueError, match=f"batch_size={batch_size!r} must be a whole number"):
        Batches(numbered(10), batch_size, [0])
    batches = Batches(numbered(10), 4, [0])
    with pytest.raises(ValueError, match=f"batch_size={batch_size!r} must be a whole number"):
        batches.batch_size = batch_size
    assert batches.batch_size == 4


def test_samples_move_to_the_device():
    batches = Batches(numbered(10, split="seed"), 4, [0, 1])
    batches.to(torch.device("meta"))
    parts = (*batches.train.tensors, *batches.val.tensors, batches.train.rows, batches.val.rows)
    assert {part.device.type for part in parts} == {"meta"}
