"""The loss, the metrics and their weighted means."""

import re
from functools import partial

import pytest
import torch
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_accuracy

from course_lib.training.objective import Objective, accuracy, mass


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("shape", [(), (7,), (3, 5)], ids=str)
def test_accuracy_is_what_torchmetrics_and_a_count_by_hand_say(random, shape):
    outputs = torch.randn(20, 4, *shape, generator=random)
    targets = torch.randint(0, 4, (20, *shape), generator=random)
    right = accuracy(outputs, targets)
    assert right.shape == targets.shape and set(right.unique().tolist()) == {0, 1}
    assert torch.equal(right, (outputs.argmax(1) == targets).to(right.dtype))
    assert right.float().mean().item() == pytest.approx(
        multiclass_accuracy(outputs, targets, num_classes=4, average="micro").item()
    )


def test_accuracy_counts_the_first_of_equal_outputs():
    outputs = torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]])
    assert accuracy(outputs, torch.tensor([0, 2])).tolist() == [1, 0]


def test_accuracy_of_one_class_and_of_one_sample():
    assert accuracy(torch.randn(5, 1), torch.zeros(5, dtype=torch.long)).tolist() == [1] * 5
    assert accuracy(torch.tensor([[0.0, 1.0]]), torch.tensor([1])).shape == (1,)


def test_accuracy_is_the_same_under_vmap(random):
    outputs = torch.randn(3, 20, 4, 7, generator=random)
    targets = torch.randint(0, 4, (3, 20, 7), generator=random)
    stacked = torch.func.vmap(accuracy)(outputs, targets)
    assert torch.equal(stacked, torch.stack(list(map(accuracy, outputs, targets))))


def test_accuracy_refuses_floats():
    with pytest.raises(ValueError, match=r"accuracy needs class labels.*metrics=\{\}"):
        accuracy(torch.randn(5, 1), torch.randn(5, 1))


LOSSES = {
    "cross entropy": (F.cross_entropy, (20, 4), (20,)),
    "cross entropy of tokens": (F.cross_entropy, (20, 4, 6), (20, 6)),
    "label smoothing": (partial(F.cross_entropy, label_smoothing=0.1), (20, 4), (20,)),
    "mean squared error": (F.mse_loss, (20, 3), None),
    "mean absolute error": (F.l1_loss, (20,), None),
    "Huber": (partial(F.huber_loss, delta=0.5), (20, 2, 2), None),
}


def case_of(name, random):
    loss, outputs, targets = LOSSES[name]
    if targets is None:
        given = torch.randn(outputs, generator=random)
    else:
        given = torch.randint(0, 4, targets, generator=random)
    return loss, torch.randn(outputs, generator=random), given


@pytest.mark.parametrize("name", LOSSES)
def test_loss_without_weights_is_the_function_itself(random, name):
    loss, outputs, targets = case_of(name, random)
    assert torch.equal(Objective(loss, {})(outputs, targets), loss(outputs, targets))
    assert Objective(loss, {}).measured(outputs, targets) == [loss(outputs, targets)]


@pytest.mark.parametrize("name", LOSSES)
def test_weighted_loss_is_the_weighted_mean(random, name):
    loss, outputs, targets = case_of(name, random)
    single = loss(outputs, targets, reduction="none").double()
    weights = torch.rand(single.shape, generator=random)
    weights[::3] = 0
    found = Objective(loss, {})(outputs, targets, weights)
    pairs = zip(weights.flatten().tolist(), single.flatten().tolist(), strict=True)
    expected = sum(w * value for w, value in pairs) / weights.double().sum().item()
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_equal_weights_change_nothing(random, name):
    loss, outputs, targets = case_of(name, random)
    shape = loss(outputs, targets, reduction="none").shape
    for weight in (1.0, 0.25):
        found = Objective(loss, {})(outputs, targets, torch.full(shape, weight))
        torch.testing.assert_close(found, loss(outputs, targets))


def test_samples_of_weight_0_have_no_gradient(random):
    _, outputs, targets = case_of("cross entropy of tokens", random)
    outputs.requires_grad_()
    weights = torch.ones(20, 6)
    weights[4], weights[:, 5] = 0, 0
    Objective(F.cross_entropy, {})(outputs, targets, weights).backward()
    assert not outputs.grad[4].any() and not outputs.grad[:, :, 5].any()
    assert outputs.grad[5, :, :5].all()


def a_sample(outputs, targets):
    return (outputs.argmax(1) == targets).flatten(1).all(1)


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_are_means_of_samples_or_targets(random, weighted):
    _, outputs, targets = case_of("cross entropy of tokens", random)
    outputs[:8] += 9 * F.one_hot(targets[:8], 4).movedim(-1, 1)  # eight texts are all right
    weights = torch.rand(20, 6, generator=random)
    objective = Objective(F.cross_entropy, {"tokens": accuracy, "texts": a_sample})
    given = (outputs, targets, weights) if weighted else (outputs, targets)
    loss, tokens, texts = objective.measured(*given)
    torch.testing.assert_close(loss, objective(*given))
    counted = weights if weighted else torch.ones(20, 6)
    right, whole = (outputs.argmax(1) == targets).float(), a_sample(outputs, targets).float()
    torch.testing.assert_close(tokens, (right * counted).sum() / counted.sum())
    torch.testing.assert_close(texts, (whole * counted.sum(1)).sum() / counted.sum())


def test_one_weight_a_sample_counts_for_a_metric_of_each_target(random):
    """Two ways to say the same: a sample's weight, or that weight on each of its targets."""
    outputs, targets = torch.randn(20, 3, generator=random), torch.randn(20, 3, generator=random)

    def near(outputs, targets):
        return (outputs - targets).abs() < 1

    def rowwise(outputs, targets, reduction="mean"):
        rows = F.mse_loss(outputs, targets, reduction="none").mean(1)
        return rows if reduction == "none" else rows.mean()

    weights = torch.rand(20, generator=random)
    _, found = Objective(rowwise, {"near": near}).measured(outputs, targets, weights)
    hits = near(outputs, targets).float().mean(1)
    torch.testing.assert_close(found, (hits * weights).sum() / weights.sum())


def test_metrics_are_a_function_or_a_dict():
    assert list(Objective(F.mse_loss, accuracy).metrics) == ["accuracy"]
    assert list(Objective(F.mse_loss, partial(accuracy)).metrics) == ["metric"]
    assert list(Objective(F.mse_loss, {"hits": accuracy, "texts": a_sample}).metrics) == [
        *("hits", "texts")
    ]
    assert Objective(F.mse_loss, {}).metrics == {}


@pytest.mark.parametrize(
    ("loss", "metrics", "message"),
    [
        ("mse", {}, "loss='mse' must be a function, for instance"),
        (None, {}, "loss=None must be a function"),
        (F.mse_loss, None, "metrics=None must be a function or a dict of functions"),
        (F.mse_loss, "accuracy", "metrics='accuracy' must be a function or a dict"),
        (F.mse_loss, [accuracy], "metrics=.* must be a function or a dict"),
        (F.mse_loss, {"hits": 3}, "metrics=.* must be a function or a dict"),
        (F.mse_loss, {"loss": accuracy}, "metrics: 'loss' is the name of the loss"),
        (F.mse_loss, {"a name": accuracy}, "must have names such as 'accuracy'"),
        (F.mse_loss, {3: accuracy}, "must have names such as 'accuracy'"),
        (F.mse_loss, {"": accuracy}, "must have names such as 'accuracy'"),
        (F.mse_loss, lambda outputs, targets: targets, "must have names such as 'accuracy'"),
    ],
)
def test_what_is_no_objective_is_named(loss, metrics, message):
    with pytest.raises(ValueError, match=message):
        Objective(loss, metrics)


@pytest.mark.parametrize("shape", [(20,), (20, 1), (20, 7)], ids=str)
def test_weights_of_another_shape_are_named(random, shape):
    loss, outputs, targets = case_of("cross entropy of tokens", random)
    message = rf"shape \(20, 6\) but the weights have \({str(shape)[1:-1]}\)"
    with pytest.raises(ValueError, match=message):
        Objective(loss, {})(outputs, targets, torch.ones(shape))


@pytest.mark.parametrize("shape", [(1,), (20,), (20, 1)], ids=str)
def test_a_loss_that_is_no_single_number_is_named(random, shape):
    _, outputs, targets = case_of("cross entropy", random)
    message = rf"loss must return a scalar, not the shape {re.escape(str(shape))}"
    with pytest.raises(ValueError, match=message):
        Objective(lambda *_: torch.ones(shape), {})(outputs, targets)


@pytest.mark.parametrize("returned", [torch.tensor(0.5), torch.ones(4), torch.ones(1)], ids=str)
def test_a_metric_without_a_number_a_sample_is_named(random, returned):
    loss, outputs, targets = case_of("cross entropy", random)
    objective = Objective(loss, {"hits": lambda *_: returned})
    with pytest.raises(ValueError, match=r"metrics\['hits'\] must return .* each of 20 samples"):
        objective.measured(outputs, targets)


def test_mass_is_the_number_of_samples_or_the_sum_of_the_weights(random):
    x, y = torch.zeros(3, 5, 2), torch.zeros(3, 5, 4)
    assert mass((x, y)) == 5 and mass((x[:1], y[:1])) == 5
    weights = torch.rand(3, 5, 4, generator=random)
    torch.testing.assert_close(mass((x, y, weights)), weights.sum((1, 2)))
    torch.testing.assert_close(mass((x[:1], y[:1], weights[:1])), weights[:1].sum((1, 2)))


@pytest.mark.parametrize("weighted", [False, True])
def test_means_of_pieces_weighted_by_mass_are_the_mean_of_all(random, weighted):
    outputs = torch.randn(20, 4, 6, generator=random)
    targets = torch.randint(0, 4, (20, 6), generator=random)
    weights = (torch.rand(20, 6, generator=random),) if weighted else ()
    objective = Objective(F.cross_entropy, accuracy)
    whole, parts = (outputs, targets, *weights), (3, 10, 7)
    pieces = list(zip(*(each.split(parts) for each in whole), strict=True))
    masses = [float(mass(tuple(each[None] for each in piece))) for piece in pieces]
    values = torch.stack([torch.stack(objective.measured(*piece)) for piece in pieces])
    joined = (values * torch.tensor(masses)[:, None]).sum(0) / sum(masses)
    torch.testing.assert_close(joined, torch.stack(objective.measured(*whole)))
