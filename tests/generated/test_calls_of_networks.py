"""Generated calls: MLP, LeNet and F1, against layers written out by hand."""

from math import prod

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import batch_norm, linear

import calls
import kinds
from calls import Argument, called, judge
from course_lib import F1, MLP, LeNet

NO_SIZES = [
    *(None, 3, "abc", (0,), (-3,), (2.5,), (None,), ("2",), (kinds.HUGE,), (1j,), [[2]]),
    *(np.array([2.0]), (np.nan,), object(), [2, 0], torch.tensor([0.5])),
]
SIZES = [
    (3,),
    [2, 2],
    (np.int64(3),),
    np.array([1, 4]),
    torch.Size([2, 1]),
    (1, 2, 3),
    torch.tensor([3]),
]
CLASSES = Argument(kinds.whole(1, 5), [0, -1, 2.0, "3", None, kinds.HUGE, [3], np.float32(3), 1j])
SHAPE = Argument(SIZES, [*NO_SIZES, ()])
HIDDEN = Argument([(), (4,), [np.int64(2), 3], np.array([5]), range(2, 4)], NO_SIZES)


def by_hand(network, x):
    """What linear layers with ReLU between them make of x, batch normalization in eval mode too."""
    x = x.flatten(1)
    tensors = dict(network.state_dict())
    for name in [each for each in tensors if each.endswith("weight")]:
        weight, bias = tensors[name], tensors.get(name.replace("weight", "bias"))
        if weight.ndim == 1:
            mean, var = (tensors[name.replace("weight", f"running_{k}")] for k in ("mean", "var"))
            x = batch_norm(x, mean, var, weight, bias).relu()
        else:
            x = linear(x, weight, bias)
            last = name == [each for each in tensors if each.endswith("weight")][-1]
            x = x if last or isinstance(network, F1) else x.relu()
    return x


def ints(values):
    return [int(each) for each in values]


@calls.examples(13)
@given(called(shape=SHAPE, hidden=HIDDEN, classes=CLASSES))
def test_mlp(call):
    def right(network, shape, hidden, classes):
        widths = [m.out_features for m in network if isinstance(m, torch.nn.Linear)]
        assert widths == [*ints(hidden), int(classes)]
        x = torch.randn(4, *ints(shape))
        torch.testing.assert_close(network(x), by_hand(network, x))

    judge("MLP", MLP, call, right)


@calls.examples(8)
@given(called(shape=SHAPE, width=CLASSES, classes=CLASSES))
def test_f1(call):
    def right(network, shape, width, classes):
        x = torch.randn(4, *ints(shape))
        torch.testing.assert_close(network.eval()(x), by_hand(network, x))
        assert network(x).shape == (4, classes) and len(network) == 17
        assert network[1].weight.shape == (width, prod(ints(shape)))

    judge("F1", F1, call, right)


NO_IMAGES = [*NO_SIZES, (1, 8), (1, 3, 3), (1, 2, 30), (1, 8, 8, 8), (0, 8, 8), (-1, 8, 8), ()]


@calls.examples(8)
@given(
    called(
        shape=Argument(
            st.tuples(st.integers(1, 3), st.integers(4, 33), st.integers(4, 33))
            | st.sampled_from([np.array([1, 8, 8]), [1, 28, 28], torch.Size([3, 32, 32])]),
            NO_IMAGES,
        ),
        classes=CLASSES,
    )
)
def test_lenet(call):
    def right(network, shape, classes):
        x = torch.randn(2, *ints(shape))
        trained, evaluated = network(x), network(x).detach()
        assert trained.shape == (2, classes)
        with torch.no_grad():
            torch.testing.assert_close(network(x), evaluated)

    judge("LeNet", LeNet, call, right)
