"""Values of many kinds: numbers, arrays and tensors as users have them, and what they are not."""

import datetime
from decimal import Decimal
from fractions import Fraction
from math import inf, nan

import numpy as np
import pandas as pd
import torch
from hypothesis import strategies as st

HUGE = 2**70
BEYOND_FLOATS = 10**400
NO_WHOLE = [
    *(None, True, False, np.True_, "3", b"3", 2.5, 3.0, np.float64(2), nan, inf, 1j, [3], (3,), {}),
    *(np.array([1, 2]), np.array(3), torch.tensor(3), Decimal(3), Fraction(7, 2), object(), len),
]
NOTHING_POSITIVE = [
    *(None, True, "0.1", b"1", nan, inf, -inf, 0, 0.0, -0.1, -3, 1j, [0.1], {}, BEYOND_FLOATS),
    *(np.array(0.1), np.float32(nan), np.int64(-1), torch.tensor(0.1), Decimal("0.1"), object()),
]
NO_TEXT = [None, 3, True, ["a"], b"fixed", np.array(["a", "b"]), nan, {}]


def no_whole(*out_of_range):
    """What is no whole number, and those out of range."""
    return st.sampled_from([*NO_WHOLE, *out_of_range])


def whole(least, most):
    """Whole numbers of Python and of NumPy."""
    kinds = st.sampled_from([int, int, np.int64, np.int32, np.int16])
    return st.builds(lambda kind, number: kind(number), kinds, st.integers(least, most))


def positive(least, most):
    """Real numbers of Python and of NumPy, in a range in which float32 is exact enough."""
    kinds = st.sampled_from([float, float, np.float32, np.float64, Fraction])
    return st.builds(lambda kind, number: kind(number), kinds, st.floats(least, most))


SEEDS = st.sampled_from(
    [
        *(1, 2, np.int64(2), [0], [3, 1], (4,), range(2), np.arange(2), np.array([7], np.uint8)),
        *(torch.tensor([2, 5]), pd.Series([3, 4], index=[8, 6]), [-1], [2**40, 2**64 - 1]),
        *([np.int8(3)], np.arange(6)[::-3], [-(2**63)]),
    ]
)
NO_SEEDS = st.sampled_from(
    [
        *(0, -1, True, 2.0, "2", b"ab", None, [], range(0), [1, 1], [True], [1.0], ["1"], [None]),
        *([HUGE], HUGE, [2**64], [-(2**63) - 1], 20_240_501, np.array([[1, 2]]), np.array([0.5])),
        *(torch.tensor([0.5]), {}, nan, [nan], object(), np.ma.masked_less([1.0], 2)),
    ]
)


def _strided(array):
    wide = np.zeros((len(array) * 2, *array.shape[1:]), array.dtype)
    wide[::2] = array
    return wide[::2]


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def _pandas(array):
    index = range(len(array) * 10, 0, -10)
    return pd.DataFrame(array, index=index) if array.ndim > 1 else pd.Series(array, index=index)


ARRAY_FORMS = {
    "array": np.copy,
    "tensor": torch.tensor,
    "lists": np.ndarray.tolist,
    "tuple": lambda array: tuple(array.tolist()),
    "negative strides": lambda array: array[::-1].copy()[::-1],
    "gaps": _strided,
    "Fortran": np.asfortranarray,
    "read-only": _read_only,
    "pandas": _pandas,
    "list of arrays": list,
    "transposed": lambda array: torch.tensor(np.moveaxis(array, 0, -1).copy()).movedim(-1, 0),
}
FLOAT_TYPES = [np.float32, np.float64]
LABEL_TYPES = [*(np.int64, np.int32, np.int16, np.int8, np.uint8, np.uint16, np.uint32, np.uint64)]
ALL_TYPES = [*FLOAT_TYPES, np.float16, *LABEL_TYPES]


@st.composite
def formed(draw, array, types):
    """An array in one of the forms in which it is allowed."""
    kind, form = draw(st.sampled_from(types)), draw(st.sampled_from(sorted(ARRAY_FORMS)))
    return ARRAY_FORMS[form](array.astype(kind))


def no_array(array):
    """What an array may be mistaken for; of the same length where it has one."""
    floats = array.astype(float)
    return st.sampled_from(
        [
            *(None, "abc", b"abc", object(), {}, {1, 2}, len, 2**70, datetime.date(2020, 1, 1)),
            *(floats + 1j, torch.tensor(floats) + 0j, np.ma.masked_less(floats, 1)),
            *(floats.astype(str), floats.astype(object), floats.astype("M8[s]"), [[1.0], [1.0, 2]]),
            [np.ma.masked_less(np.ones(2), 3)] * len(array),
            np.full(array.shape, 2**70, object),
            np.zeros(len(array), [("a", "f4")]),
            torch.tensor(floats).to_sparse(),
            torch.zeros(array.shape, device="meta"),
            (part for part in floats),
            pd.Series(["a"] * len(array), dtype="category"),
            floats.astype(np.longdouble),
            floats.astype(">f8"),
        ]
    )


def as_array(values):
    """What an allowed form means, as float64; the slow way."""
    return np.array(values.numpy() if isinstance(values, torch.Tensor) else values, float)
