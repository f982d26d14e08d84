"""Generated calls: fit against the loop of its docstring."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning import Callback
from torch import nn
from torch.nn.functional import cross_entropy

import calls
import kinds
from calls import Argument, called, judge
from course_lib import MLP, Digits, TensorData, checks, fit

N, M = 12, 6
X, Y = torch.linspace(-2, 3, N * 3).sin().view(N, 3), torch.arange(N) % 3
MLP3, LINEAR = partial(MLP, (3,), (4,), 3), partial(MLP, (3,), (), 3)


class TwoOutputs(nn.Linear):
    def forward(self, x):
        return super().forward(x), x


def dropping():
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.3), nn.Tanh(), nn.Linear(4, 3))


def weighted():
    w = torch.arange(N) + 1.0
    return TensorData(X, Y, X[:M], Y[:M], weights_train=w, weights_val=w[:M])


def labelled(train, val=None):
    return TensorData(X, train, X[:M], train[:M] if val is None else val)


MULTI = (torch.arange(N)[:, None] % torch.tensor([2, 3, 4]) == 0).long()
ONE_HOT = nn.functional.one_hot(Y).float()
PROBABILITIES = TensorData(X, ONE_HOT, X[:M], ONE_HOT[:M])
DATA = [
    TensorData(X, Y, X[:M], Y[:M]),
    TensorData(X.double().numpy()[::-1], Y.numpy().astype(np.uint16), X[:M], Y[:M].tolist()),
    TensorData(X, Y, X[:M], Y[:M], split="seed"),
    TensorData(X, Y, X[:M], Y[:M], drop_last=True),
    PROBABILITIES,
    weighted(),
]
NO_DATA = [
    *(None, (X, Y, X, Y), X, "digits", Digits, {}, labelled(Y[:, None]), labelled(MULTI)),
    *(
        labelled(nn.functional.one_hot(Y)),
        labelled(Y + 1),
        labelled(Y, Y[:M] + 2),
        labelled(Y + 2**40),
    ),
    *(TensorData(X[:, :2], Y, X[:M, :2], Y[:M]), TensorData(X.long(), Y, X.long(), Y)),
]
FIT_TOGETHER = "must fit together|accuracy needs|data must be"
INSTANCE = MLP3()
NO_NETWORK = [
    *(None, "MLP", 3, INSTANCE, lambda: INSTANCE, lambda: 3, lambda: None, nn.Sequential),
    *(partial(TwoOutputs, 3, 3), partial(nn.LazyLinear, 3), partial(MLP, (5,), (), 3), [MLP3]),
]


def adam(parameters, lr):
    return torch.optim.Adam(parameters, lr=lr)


HEAVY_BALL = partial(torch.optim.SGD, momentum=0.9)
NO_OPTIMIZER = [
    *(None, "SGD", 3, torch.optim.LBFGS, torch.optim.Adafactor, lambda p, lr: None),
    *(adam(INSTANCE.parameters(), 0.1), partial(torch.optim.SGD, foo=1), torch.Tensor),
    partial(torch.optim.SGD, momentum=-1),
]


def shares(outputs, targets):
    return (outputs.softmax(1).argmax(1) == targets) * 1.0


SIZES = kinds.whole(1, N) | st.sampled_from(["full", np.str_("full")])
NO_SIZES = kinds.no_whole(0, -1, N + 1, kinds.HUGE, "Full", b"full", "")
RATES = kinds.positive(1e-3, 0.3)
ARGUMENTS = {
    "network": Argument([MLP3, MLP3, LINEAR, dropping], NO_NETWORK, "network"),
    "data": Argument(DATA, NO_DATA, FIT_TOGETHER),
    "batch_size": Argument(SIZES, NO_SIZES, "batch_size="),
    "seeds": Argument(kinds.SEEDS, kinds.NO_SEEDS, "seeds="),
    "lr": Argument(RATES, kinds.NOTHING_POSITIVE, r"\blr="),
    "optimizer": Argument([torch.optim.SGD, HEAVY_BALL, adam], NO_OPTIMIZER, "optimizer="),
    "loss": Argument(
        [cross_entropy, cross_entropy, partial(cross_entropy, label_smoothing=0.1)],
        [
            *(None, "cross_entropy", 3, lambda o, t: 1.0, lambda o, t: None, lambda o: o),
            *(lambda o, t: o * 2, lambda o, t: o.mean().item(), lambda o, t: 1 / 0),
        ],
        "loss",
    ),
    "metrics": Argument(
        [{}, {"good": shares}],
        [
            *(
                None,
                "accuracy",
                3,
                [shares],
                {1: shares},
                {"a": 2},
                {"loss": shares},
                {"a b": shares},
            ),
            *({"a": lambda o, t: o.mean()}, {"a": lambda o, t: 1.0}, lambda o: o),
        ],
        "metrics",
    ),
    "limit": Argument(
        st.sampled_from([{"max_epochs": n} for n in (1, 2, np.int64(1), np.uint8(2))])
        | st.sampled_from([{"max_steps": n} for n in (1, 2, 3, np.int16(5))]),
        st.sampled_from([{}, {"max_epochs": 1, "max_steps": 1}, {"max_epochs": None}])
        | st.builds(
            lambda n, v: {n: v}, st.sampled_from(["max_epochs", "max_steps"]), kinds.no_whole(0, -1)
        ),
        "max_epochs|max_steps",
    ),
    "stop_at": Argument(
        [None, None, {"val_loss": -1}, {"train_loss": np.float32(-1.5)}, {"val_loss": -np.inf}],
        [
            *(0.5, {}, {"val_loss": "1"}, {"val_loss": np.nan}, {"val_loss": None}, {"loss": 1}),
            *(
                {"val_loss": 1, "train_loss": 1},
                "val_loss",
                ["val_loss"],
                {"val_loss": [1]},
                {3: 1},
            ),
            *({"val_loss": kinds.BEYOND_FLOATS}, {"val_loss": True}, {"val_loss": 1j}),
        ],
        "stop_at=",
    ),
    "callbacks": Argument(
        [(), [], (Callback(),)], [None, 3, [3], "ab", Callback(), [Callback], [None]], "callbacks="
    ),
    "others": Argument(
        [{}, {}, {"progress": False}, {"devices": np.int64(1), "num_nodes": 1}],
        [
            *({"devices": d} for d in (0, -1, "auto", None, True, 1.0, kinds.HUGE)),
            *({"num_nodes": n} for n in (0, "1", 2.5, None)),
            *({"accelerator": a} for a in ("gpux", 3, None)),
            *({"strategy": s} for s in ("ddpx", 3)),
            *({"cache": c} for c in (3, True, b"folder", ["a"], {})),
            *({"foo": 1}, {"momentum": "x"}, {"weight_decay": -1}, {"nesterov": True}),
        ],
        "devices|num_nodes|accelerator|strategy|cache|foo|momentum|weight_decay|nesterov|optimizer=",
    ),
}


def call_fit(limit, others, **arguments):
    """A run, which leaves the random states of PyTorch and NumPy as they are."""
    before = state()
    try:
        return fit(**arguments, **limit, **{"progress": False, **others})
    finally:
        assert state() == before


def batches_of(size, samples, order, limit, drop_last):
    """The batches of a run, epoch by epoch, as the docstring of fit draws them."""
    steps, epochs = limit.get("max_steps"), int(limit.get("max_epochs") or 10**6)
    done = 0
    for _ in range(epochs):
        for batch in torch.randperm(samples, generator=order).split(size):
            if len(batch) < size and drop_last:
                continue
            if steps is not None and done == steps:
                return
            yield batch
            done += 1


def mean_loss(loss, network, x, y, w=None):
    if w is None:
        return loss(network(x), y)
    return (loss(network(x), y, reduction="none") * w).sum() / w.sum()


def loop(seed, network, data, batch_size, lr, optimizer, loss, limit):
    torch.manual_seed(seed)
    net = network()
    stepper = optimizer(net.parameters(), lr=float(lr))
    order = torch.Generator().manual_seed(seed)
    own = data.of_seed(seed)
    size = data.checked_batch_size(batch_size)
    for batch in batches_of(size, N, order, limit, data.drop_last):
        value = mean_loss(loss, net, *(part[batch] for part in own.train))
        stepper.zero_grad()
        value.backward()
        stepper.step()
    net.eval()
    with torch.no_grad():
        return net, [mean_loss(loss, net, *part).item() for part in (own.train, own.val)]


def check_run(run, seeds, metrics, limit, stop_at, callbacks, others, **arguments):
    numbers = checks.seeds(seeds)
    history = run.history
    assert list(dict.fromkeys(history["seed"])) == numbers and len(run.networks) == len(numbers)
    last = history.groupby("seed", sort=False).tail(1).reset_index(drop=True)
    for position, seed in enumerate(numbers):
        expected, losses = loop(seed, limit=limit, **arguments)
        for mine, theirs in zip(
            run.networks[position].parameters(), expected.parameters(), strict=True
        ):
            torch.testing.assert_close(mine, theirs, rtol=2e-3, atol=2e-4)
        measured = last.loc[position, ["train_loss", "val_loss"]].tolist()
        assert measured == pytest.approx(losses, rel=2e-3, abs=2e-4)
    for column in metrics:
        assert history[f"val_{column}"].between(0, 1).all()


def state():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002


@pytest.mark.slow
@calls.examples(44)
@given(called(**ARGUMENTS))
def test_fit(call):
    if call.arguments["data"] is PROBABILITIES and "metrics" not in call.refused:
        call.arguments["metrics"] = {}  # for the others are of labels
    judge("fit", call_fit, call, check_run)
