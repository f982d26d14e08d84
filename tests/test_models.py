import numpy as np
import pytest
import torch

from course_lib.models import F1, MLP, LeNet, MaxPool2d


@pytest.mark.parametrize("network", [MLP, LeNet, F1])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_one_output_a_class(network, shape):
    assert network(shape=shape, classes=7)(torch.zeros(2, *shape)).shape == (2, 7)


def test_lenet_on_mnist_has_lenet_5_s_layers():
    layers = [tuple(p.shape) for p in LeNet((1, 28, 28)).parameters() if p.ndim > 1]
    assert layers == [(6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)]


def test_f1_is_the_paper_s_network():
    network = F1()
    widths = [m.out_features for m in network if isinstance(m, torch.nn.Linear)]
    norms = [m for m in network if isinstance(m, torch.nn.BatchNorm1d)]
    assert widths == [512] * 5 + [10] and len(norms) == 5


def test_mlp_without_hidden_layers_is_linear():
    network = MLP((3,), hidden=(), classes=2)
    assert [tuple(p.shape) for p in network.parameters()] == [(2, 3), (2,)]


@pytest.mark.parametrize("height", [2, 5, 8])
@pytest.mark.parametrize("width", [3, 4])
def test_pooling_is_pytorch_s_with_and_without_gradients(height, width):
    images = torch.randn(3, 2, height, width)
    expected = torch.nn.MaxPool2d(2)(images)
    assert MaxPool2d()(images).equal(expected)
    with torch.no_grad():
        assert MaxPool2d()(images).equal(expected)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: MLP(3), "shape"),
        (lambda: MLP(()), "shape"),
        (lambda: MLP((2.5,)), "shape"),
        (lambda: MLP((0,)), "shape"),
        (lambda: MLP((2**70,)), "shape"),
        (lambda: MLP(hidden=4), "hidden"),
        (lambda: MLP(hidden=(-1,)), "hidden"),
        (lambda: MLP(classes=0), "classes"),
        (lambda: F1(width=0), "width"),
        (lambda: F1(classes="3"), "classes"),
        (lambda: LeNet((1, 8)), "shape"),
        (lambda: LeNet((1, 3, 8)), "shape"),
        (lambda: LeNet(classes=-1), "classes"),
    ],
)
def test_sizes_that_do_not_fit_are_named(make, name):
    with pytest.raises(ValueError, match=f"^{name}=.* must be"):
        make()


def test_sizes_in_any_form():
    network = MLP(torch.Size([2, 3]), np.array([4]), np.int64(3))
    assert [tuple(layer.weight.shape) for layer in (network[1], network[3])] == [(4, 6), (3, 4)]
