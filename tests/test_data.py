"""TensorData: what it takes, and what it hands out."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

from course_lib.data import TensorData
from course_lib.datasets import Digits


@pytest.fixture(scope="module")
def digits():
    return Digits()


def test_part_is_stratified(digits):
    part = digits.part(100, 50)
    assert part.y_train.bincount().tolist() == pytest.approx([10] * 10, abs=1)
    assert len(part.x_val) == len(part.y_val) == 50


def test_dataloaders_serve_plain_lightning(digits):
    loader = TensorData(digits.x_train, digits.y_train, digits.x_val, digits.y_val, drop_last=True)
    assert [len(x) for x, _ in loader.train_dataloader()] == [32] * 44
    assert sum(len(x) for x, _ in loader.val_dataloader()) == 360


X, Y = torch.zeros(6, 2), torch.arange(6) % 3


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ((X, Y[:5], X, Y), r"x_train has shape \(6, 2\) and y_train \(5,\).*same number"),
        ((X, Y, X[:4], Y), r"x_val has shape \(4, 2\) and y_val \(6,\)"),
        ((X[:0], Y[:0], X, Y), r"x_train has shape \(0, 2\).*at least one"),
        ((X / 0, Y, X, Y), r"x_train has 12 values that are NaN or infinite"),
        ((X, Y.float(), X, Y), r"y_val has dtype torch.int64 but y_train torch.float32"),
        ((X, Y > 0, X, Y > 0), r"y_train has dtype torch.bool.*class labels must be whole numbers"),
        ((X, Y.float() / 0, X, Y), r"y_train has \d+ values that are NaN or infinite in torch.fl"),
        ((X, Y[:, None][:, :0], X, Y), r"y_train has shape \(6, 0\); each sample needs a target"),
        ((X, X[:, :0], X, X[:, :0]), r"y_train has shape \(6, 0\); each sample needs a target"),
        ((X, X, X, X[:, :1]), r"y_val holds samples of shape \(1,\) but y_train of shape \(2,\)"),
        ((X[0, 0], Y, X, Y), r"x_train has shape \(\) and y_train \(6,\)"),
        ((X, Y[0], X, Y), r"x_train has shape \(6, 2\) and y_train \(\)"),
        ((X, Y, X.long(), Y), r"x_val has dtype torch.int64 but x_train torch.float32"),
        ((X.to(torch.complex64), Y, X, Y), r"x_train must hold real numbers.*complex64"),
        ((X.to_sparse(), Y, X, Y), r"x_train must hold real numbers, and be dense"),
        ((np.ma.masked_less(X.numpy(), 1), Y, X, Y), r"x_train must have no mask: leave out"),
        ((X, np.ma.masked_less(Y.numpy(), 1), X, Y), r"y_train must have no mask: leave out"),
        ((np.array([[None, 1]] * 6), Y, X, Y), r"x_train must be numbers, as a tensor or an array"),
        ((X, np.array(list("abcdef")), X, Y), r"y_train must be numbers, as a tensor or an array"),
        ((X, None, X, Y), r"y_train must be numbers, as a tensor or an array"),
        (
            (np.full((6, 2), 2**63, np.uint64), Y, X, Y),
            r"x_train must hold whole numbers below 2",
        ),
        (([[1.0], [1.0, 2.0]], Y[:2], X, Y), r"x_train must be numbers, as a tensor or an array"),
        ((X.double() + 1e300, Y, X, Y), r"x_train has 12 values.*in torch.float32"),
        ((X, Y, X, Y - 1), r"y_val has dtype torch.int64 and minimum -1"),
        ((X, Y, X[:, :1], Y), r"x_val holds samples of shape \(1,\) but x_train of shape \(2,\)"),
    ],
)
def test_tensors_that_do_not_fit(tensors, message):
    with pytest.raises(ValueError, match=message):
        TensorData(*tensors)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("batch_size", 0, "batch_size=0 must be a whole number from 1"),
        ("batch_size", 2.5, "batch_size=2.5 must be a whole number from 1"),
        ("drop_last", 1, "drop_last=1 must be True or False"),
        ("split", np.array(["fixed", "seed"]), 'split=.* must be "fixed" or "seed"'),
    ],
)
def test_options_that_do_not_fit(option, value, message):
    with pytest.raises(ValueError, match=message):
        TensorData(X, Y, X, Y, **{option: value})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 2), "train_size=0 must be a whole number from 1 to 6"),
        ((4.0, 2), "train_size=4.0 must"),
        ((2, 7), "val_size=7 must be a whole number from 1 to 6"),
        ((2, None), "val_size=None must"),
        ((2, 2, 1.5), "seed=1.5 must be a whole number"),
    ],
)
def test_parts_that_do_not_fit(sizes, message):
    with pytest.raises(ValueError, match=message):
        TensorData(X, Y, X, Y).part(*sizes)


def test_labels_may_be_as_large_as_they_like():
    far = Y + 2**40
    data = TensorData(X, far, X, far, split="seed")
    assert data.of_seed(0).y_train.unique(return_counts=True)[1].tolist() == [2, 2, 2]
    assert data.part(3, 3).y_train.sort()[0].tolist() == [2**40, 2**40 + 1, 2**40 + 2]


@pytest.mark.parametrize("batch_size", [0, -4, 2.5, 32.0, 7, "half", True, None])
def test_batch_sizes_that_do_not_fit(batch_size):
    message = rf'batch_size={batch_size!r} must be a whole number from 1 to 6 .* or "full"'
    with pytest.raises(ValueError, match=message):
        TensorData(X, Y, X, Y).checked_batch_size(batch_size)


@pytest.mark.parametrize(
    "labels",
    [
        Y.numpy().astype(np.uint16),
        Y.numpy().astype(np.uint8),
        Y.numpy().astype(np.int16),
        Y.int(),
        Y.tolist(),
        tuple(Y.tolist()),
        pd.Series(Y.numpy(), index=range(60, 0, -10)),
        Y.numpy()[::-1].copy()[::-1],
        np.stack([Y.numpy()] * 2, 1)[:, 0],
    ],
    ids=[
        *("uint16", "uint8", "int16", "int32 tensor", "list", "tuple"),
        *("pandas with another index", "negative strides", "a column"),
    ],
)
def test_labels_in_many_forms(labels):
    data = TensorData(X, labels, X, Y)
    assert data.y_train.dtype == torch.int64 and torch.equal(data.y_train, Y)


XS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)


@pytest.mark.parametrize(
    "samples",
    [
        XS.astype(np.float64),
        XS[::-1].copy()[::-1],
        XS[:, ::-1].copy()[:, ::-1],
        np.asfortranarray(XS),
        pd.DataFrame(XS, index=range(60, 0, -10), columns=["b", "a"]),
        XS.tolist(),
        torch.tensor(XS).T.contiguous().T,
        torch.tensor(XS, requires_grad=True),
    ],
    ids=[
        *("float64", "negative strides", "mirrored", "Fortran", "pandas", "lists"),
        *("transposed", "with a gradient"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_samples_in_many_forms(samples):
    data = TensorData(samples, Y, X, Y)
    assert data.x_train.dtype == torch.float32 and not data.x_train.requires_grad
    np.testing.assert_allclose(data.x_train.numpy(), XS, rtol=1e-6)


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_are_taken():
    samples, labels = XS.copy(), Y.numpy().copy()
    for array in (samples, labels):
        array.flags.writeable = False
    data = TensorData(samples, labels, samples, labels)
    data.x_train.fill_(9)
    assert np.array_equal(samples, XS), "what is read-only stays as it is"


def test_half_precision_becomes_the_default_dtype():
    assert TensorData(X.half(), Y, X.bfloat16(), Y).x_val.dtype == torch.float32


def test_whole_numbers_stay_whole():
    tokens = np.arange(12, dtype=np.uint16).reshape(6, 2)
    data = TensorData(tokens, tokens, tokens, tokens)
    assert data.x_train.dtype == data.y_train.dtype == torch.int64
    assert data.x_train.tolist() == tokens.tolist()


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 2, 3)], ids=str)
def test_float_targets_are_taken(shape):
    targets = torch.linspace(-1, 1, int(np.prod(shape)), dtype=torch.float64).view(shape)
    data = TensorData(X, targets.numpy(), X, targets)
    assert data.y_train.dtype == data.y_val.dtype == torch.float32
    torch.testing.assert_close(data.y_train, targets.float())


# Weights.


def weighted(train=None, val=None, y=Y, **options):
    ones = torch.ones(6)
    return TensorData(
        *(X, y, X, y),
        weights_train=ones if train is None else train,
        weights_val=ones if val is None else val,
        **options,
    )


def test_weights_are_kept_beside_their_samples():
    data = weighted(np.arange(6), [0, 0, 0, 0, 0, 5])
    assert data.train[2].tolist() == [0, 1, 2, 3, 4, 5] and data.train[2].dtype == torch.float32
    assert data.val[2].tolist() == [0, 0, 0, 0, 0, 5]
    assert len(TensorData(X, Y, X, Y).train) == 2
    tokens = weighted(torch.ones(6, 2), torch.ones(6, 2), y=torch.zeros(6, 2, dtype=torch.long))
    assert tokens.train[2].shape == (6, 2)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(5), r"weights_train has shape \(5,\).*give 6 samples numbers from 0"),
        (torch.ones(2, 6), r"weights_train has shape \(2, 6\)"),
        (torch.tensor(1.0), r"weights_train has shape \(\)"),
        (torch.tensor([1.0, 1, 1, 1, 1, -1]), r"weights_train .* minimum -1.0"),
        (torch.zeros(6), r"weights_train .* sum 0.0; .* not all of them 0"),
        (torch.full((6,), 1e38), r"weights_train .* sum inf"),
        (torch.ones(6, 0), r"weights_train has shape \(6, 0\); give 6 numbers"),
        (torch.full((6,), torch.nan), r"weights_train has 6 values that are NaN"),
        (torch.ones(6, dtype=torch.complex64), r"weights_train must hold real numbers"),
        (["a"] * 6, r"weights_train must be numbers"),
        (np.ma.masked_less(np.ones(6), 2), r"weights_train must have no mask"),
        (torch.ones(6, 2), r"weights_val holds samples of shape \(\) but weights_train of shape"),
    ],
)
def test_weights_that_do_not_fit(weights, message):
    with pytest.raises(ValueError, match=message):
        weighted(weights)


@pytest.mark.parametrize("part", ["train", "val"])
def test_weights_for_one_part_alone_are_refused(part):
    with pytest.raises(ValueError, match="weights_train and weights_val: give both or none"):
        TensorData(X, Y, X, Y, **{f"weights_{part}": torch.ones(6)})


def test_a_part_has_the_weights_of_its_samples(digits):
    marks = torch.arange(1437.0), torch.arange(360.0)
    data = TensorData(
        *(digits.x_train, digits.y_train, digits.x_val, digits.y_val),
        weights_train=marks[0],
        weights_val=marks[1],
        split="seed",
        drop_last=True,
    )
    part = data.part(100, 50)
    assert torch.equal(part.y_train, digits.y_train[part.train[2].long()])
    assert torch.equal(part.x_val, digits.x_val[part.val[2].long()])
    assert part.split == "seed" and part.drop_last


# A split for each seed.


@pytest.mark.parametrize("split", ["other", None, 0, True, "Seed"])
def test_splits_that_do_not_exist(split):
    with pytest.raises(ValueError, match=f'split={split!r} must be "fixed" or "seed"'):
        TensorData(X, Y, X, Y, split=split)


def numbered(train, val, y=None, **options):
    """Each sample is its number."""
    x = torch.arange(float(train + val))[:, None]
    y = x[:, 0].long() % 3 if y is None else y
    return TensorData(x[:train], y[:train], x[train:], y[train:], **options)


def numbers(data):
    return [x.flatten().long().tolist() for x in (data.x_train, data.x_val)]


def test_the_fixed_split_is_that_of_every_seed(digits):
    assert digits.of_seed(7) is digits


@pytest.mark.parametrize("seed", [0, 5, -1, -(2**40), 2**32 + 5, 2**63])
@pytest.mark.parametrize(("train", "val"), [(60, 30), (30, 60), (88, 2), (1, 89), (7, 83)])
def test_each_sample_is_in_one_part_once(train, val, seed):
    data = numbered(train, val, split="seed").of_seed(seed)
    first, second = numbers(data)
    assert (len(first), len(second)) == (train, val)
    assert sorted(first + second) == list(range(90))
    assert data.split == "fixed" and data.of_seed(3) is data
    assert (data.y_train == data.x_train[:, 0] % 3).all()


def test_seeds_differ_and_repeat():
    data = numbered(60, 30, split="seed")
    splits = [numbers(data.of_seed(seed)) for seed in range(5)]
    assert len({repr(split) for split in splits}) == 5
    assert splits[3] == numbers(numbered(60, 30, split="seed").of_seed(3))
    assert numbers(data.of_seed(-1)) == numbers(data.of_seed(2**32 - 1)) != splits[1]
    assert numbers(data) == [list(range(60)), list(range(60, 90))], "the data stay as they are"


def test_the_split_of_a_seed_leaves_global_random_states_alone():
    torch.manual_seed(0), np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    numbered(60, 30, split="seed").of_seed(3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert repr(np.random.get_state()) == before[1]  # noqa: NPY002


def test_classes_keep_their_shares_in_each_seed():
    classes = (torch.arange(90) >= 60).long() + (torch.arange(90) >= 81).long()  # 60, 21, 9
    data = numbered(60, 30, classes, split="seed")
    for seed in range(4):
        own = data.of_seed(seed)
        assert own.y_train.bincount().tolist() == [40, 14, 6]
        assert own.y_val.bincount().tolist() == [20, 7, 3]


@pytest.mark.parametrize(
    "targets",
    [
        torch.arange(90) % 30,  # 30 classes, of which 10 held-out samples cannot hold each
        torch.arange(90),  # a class for each sample
        (torch.arange(90) == 4).long(),  # a class that occurs once
        torch.linspace(0, 1, 90),
        torch.arange(180).view(90, 2) % 3,
    ],
    ids=["many classes", "all different", "a class of one", "floats", "sequences"],
)
def test_what_cannot_be_stratified_is_split_nevertheless(targets):
    data = numbered(80, 10, targets, split="seed")
    first, second = numbers(data.of_seed(1))
    assert sorted(first + second) == list(range(90)) and len(second) == 10
    assert numbers(data.of_seed(2)) != [first, second]
    counts = Counter(len(set(part)) for part in (first, second))
    assert counts == {80: 1, 10: 1}
    assert torch.equal(data.of_seed(1).y_val, targets[second])


def test_weights_follow_their_samples_in_each_seed():
    marks = torch.arange(90.0)
    data = numbered(60, 30, split="seed", weights_train=marks[:60], weights_val=marks[60:])
    own = data.of_seed(4)
    for samples, _, weights in (own.train, own.val):
        assert torch.equal(samples[:, 0], weights)


def test_digits_of_each_seed_are_stratified():
    own = Digits(split="seed").of_seed(5)
    assert (len(own.x_train), len(own.x_val)) == (1437, 360)
    shares = [labels.bincount() / len(labels) for labels in (own.y_train, own.y_val)]
    torch.testing.assert_close(*shares, atol=0.003, rtol=0)
