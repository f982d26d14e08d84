"""Generated calls: the estimates of gradient noise, against a system of equations and means."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import calls
import kinds
from calls import Argument, called, judge
from course_lib.noise import GradientNoise, mean_noise, two_batch_noise

NUMBER = (
    st.floats(0.01, 100) | kinds.whole(1, 200) | st.sampled_from([np.uint8(200), np.float32(3)])
)
NO_PAIRS = [
    *(None, 3, "ab", (1,), (1, 2, 3), (None, 2), ("1", "2"), (1j, 2), (True, False), [[1], [2]]),
    *(np.array(["a", "b"]), {}, (1, kinds.BEYOND_FLOATS), torch.tensor([[1, 2]])),
]


@calls.examples(11)
@given(
    called(
        sizes=Argument(
            st.tuples(NUMBER, NUMBER)
            .map(lambda pair: (min(pair), float(max(pair)) + 1))
            .flatmap(lambda pair: st.sampled_from([pair, list(pair), np.array(pair)])),
            [*NO_PAIRS, (2, 1), (0, 1), (-1, 1), (1, 1), (math.nan, 2), (1, math.inf)],
        ),
        squared_norms=Argument(st.tuples(NUMBER, NUMBER), NO_PAIRS),
    )
)
def test_two_batch_noise(call):
    def right(noise, sizes, squared_norms):
        small, big = map(float, sizes)
        # |G|² + tr(Σ) / b = |g_b|², for both sizes
        matrix = [[1, 1 / small], [1, 1 / big]]
        expected = np.linalg.solve(matrix, [float(norm) for norm in squared_norms])
        scale = max(map(abs, expected)) * np.linalg.cond(matrix)
        assert noise[:2] == pytest.approx(expected, abs=1e-12 * scale)
        assert noise.noise_scale == (noise[1] / noise[0] if noise[0] > 0 else math.inf)

    judge("two_batch_noise", two_batch_noise, call, right)


ESTIMATES = st.lists(st.builds(GradientNoise, *[st.floats(-10, 10)] * 3), min_size=1, max_size=4)


@calls.examples(8)
@given(
    called(
        estimates=Argument(
            ESTIMATES | ESTIMATES.map(tuple),
            [
                None,
                [],
                (),
                3,
                [1],
                [None],
                [(1, 2, 3)],
                "ab",
                np.ones((2, 3)),
                np.zeros((0, 3)),
                {},
            ],
        )
    )
)
def test_mean_noise(call):
    def right(noise, estimates):
        signal, trace, _ = np.mean(estimates, axis=0)
        assert noise[:2] == pytest.approx((signal, trace), abs=1e-12)
        assert noise.noise_scale == (math.inf if noise[0] <= 0 else noise[1] / noise[0])

    judge("mean_noise", mean_noise, call, right)
