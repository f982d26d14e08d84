"""Generated calls: TensorData and the digits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

import calls
import kinds
from calls import Argument, called, judge
from course_lib import Digits, TensorData
from course_lib.data import SPLITS

N, M = 12, 6
X, Y = np.random.default_rng(0).normal(size=(N, 3)).round(2), np.arange(N) % 3
W = np.arange(N) + 0.5


def with_value(array, value):
    changed = np.array(array, float)
    changed.flat[4] = value
    return changed


def wrong_numbers(array):
    values = [np.nan, np.inf, -np.inf, 1e300, -1e39]
    shapes = [array[:0], array[:-1], np.float64(3), array[0, ..., None] if array.ndim > 1 else 3.0]
    return kinds.no_array(array) | st.sampled_from(
        [*(with_value(array, v) for v in values), *shapes]
    )


X_TYPES = kinds.FLOAT_TYPES  # both parts need the same dtype, which all floats become
INPUTS = {
    "x_train": Argument(kinds.formed(X, X_TYPES), wrong_numbers(X), "x_train"),
    "y_train": Argument(
        kinds.formed(Y, kinds.LABEL_TYPES),
        kinds.no_array(Y)
        | st.sampled_from([Y - 1, Y > 0, Y[:-1], Y[:0], np.int64(3), Y[:, None][:, :0]])
        | st.just(np.full(N, 2**64 - 1, np.uint64)),
        "[xy]_train",
    ),
    "x_val": Argument(
        kinds.formed(X[:M], X_TYPES), wrong_numbers(X[:M]) | st.just(X[:M, :2]), "x_val"
    ),
    "y_val": Argument(
        kinds.formed(Y[:M], kinds.LABEL_TYPES),
        kinds.no_array(Y[:M]) | st.sampled_from([Y, Y[:M, None], Y[:M] / 2]),
        "[xy]_val",
    ),
}
OPTIONS = {
    "split": Argument([*SPLITS, np.str_("seed")], ["Fixed", "", *kinds.NO_TEXT], "split="),
    "batch_size": Argument(kinds.whole(1, 20), kinds.no_whole(0, -3), "batch_size="),
    "drop_last": Argument([True, False, np.True_], [None, 1, "yes", [], 0.0], "drop_last="),
}


@calls.examples(28)
@given(called(**INPUTS, **OPTIONS))
def test_tensor_data(call):
    def right(data, x_train, y_train, x_val, y_val, split, batch_size, drop_last):
        for mine, given_ in ((data.x_train, x_train), (data.x_val, x_val)):
            assert mine.dtype is torch.float32
            np.testing.assert_array_equal(mine, kinds.as_array(given_).astype(np.float32))
        for mine, given_ in ((data.y_train, y_train), (data.y_val, y_val)):
            assert mine.dtype is torch.int64
            np.testing.assert_array_equal(mine, kinds.as_array(given_))
        assert sum(len(y) for _, y in data.val_dataloader()) == M
        full, rest = divmod(N, int(batch_size))
        assert len(data.train_dataloader()) == full + (rest > 0 and not drop_last)

    judge("TensorData", TensorData, call, right)


TRAINING = (torch.tensor(X), torch.tensor(Y), torch.tensor(X[:M]), torch.tensor(Y[:M]))


def wrong_weights(w):
    values = [-w, 0 * w, w[:, None][:, :0], np.full(len(w), 1e38)]
    return wrong_numbers(w).filter(lambda given_: given_ is not None) | st.sampled_from(values)


@calls.examples(8)
@given(
    called(
        weights_train=Argument(
            kinds.formed(W, [*kinds.FLOAT_TYPES, np.int64, np.uint8]),
            wrong_weights(W),
            "weights_train",
        ),
        weights_val=Argument(kinds.formed(W[:M], [np.float32]), wrong_weights(W[:M])),
    )
)
def test_weights(call):
    def right(data, weights_train, weights_val):
        assert data.train[2].dtype is data.val[2].dtype is torch.float32
        np.testing.assert_allclose(data.train[2], kinds.as_array(weights_train))

    judge("TensorData weights", lambda **given_: TensorData(*TRAINING, **given_), call, right)


@calls.examples(8)
@given(
    called(
        train_size=Argument(kinds.whole(1, N), kinds.no_whole(0, -1, N + 1, kinds.HUGE)),
        val_size=Argument(kinds.whole(1, M), kinds.no_whole(0, -1, M + 1, kinds.HUGE)),
        seed=Argument(kinds.whole(-5, 2**15 - 1), kinds.no_whole(kinds.HUGE, -(2**70))),
    )
)
def test_part(call):
    data = TensorData(*TRAINING)

    def right(part, train_size, val_size, seed):
        assert len(part.x_train) == train_size and len(part.x_val) == val_size
        rows = [(data.x_train == x).all(1).nonzero().item() for x in part.x_train]
        assert len(set(rows)) == train_size
        assert torch.equal(data.y_train[rows], part.y_train)
        if 3 <= train_size <= N - 3:
            assert part.y_train.bincount(minlength=3).float().sub(train_size / 3).abs().max() < 1

    judge("TensorData.part", data.part, call, right)


@calls.examples(8)
@given(
    called(seed=Argument(kinds.whole(-5, 2**15 - 1), kinds.no_whole(kinds.HUGE, -(2**70)))),
    st.booleans(),
)
def test_rows_of_seed(call, large_labels):
    far = 2**40 * large_labels
    data = TensorData(X, Y + far, X[:M], Y[:M] + far, split="seed")

    def right(rows, seed):
        everything = np.concatenate([Y, Y[:M]])
        options = {"train_size": N, "test_size": M, "stratify": everything}
        state = int(seed) % 2**32
        expected = train_test_split(np.arange(N + M), random_state=state, **options)
        for mine, theirs in zip(rows, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        own = data.of_seed(seed)
        assert torch.equal(own.y_train, torch.tensor(everything[expected[0]] + far))

    judge("TensorData.of_seed", data.rows_of_seed, call, right)


@calls.examples(8)
@given(
    called(
        batch_size=Argument(
            kinds.whole(1, N) | st.sampled_from(["full", np.str_("full")]),
            kinds.no_whole(0, N + 1, -2, kinds.HUGE, "Full", b"full"),
        )
    )
)
def test_checked_batch_size(call):
    def right(size, batch_size):
        assert type(size) is int and size == (N if str(batch_size) == "full" else batch_size)

    judge("TensorData.checked_batch_size", TensorData(*TRAINING).checked_batch_size, call, right)


@pytest.mark.slow
@calls.examples(3)
@given(called(**OPTIONS))
def test_digits(call):
    def right(data, split, batch_size, drop_last):
        images = data.x_train
        assert images.shape == (1437, 1, 8, 8) and len(data.y_val) == 360
        assert abs(images.mean()) < 1e-5 and abs(images.std() - 1) < 1e-3

    judge("Digits", Digits, call, right)
