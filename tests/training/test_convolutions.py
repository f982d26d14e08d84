"""Convolutions as products give the numbers of PyTorch's own."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from course_lib.training import convolutions
from course_lib.training.convolutions import ConvolutionsAsProducts

FORMS = {
    "plain": {},
    "no bias": {"bias": False},
    "strides": {"stride": (2, 3)},
    "padding": {"padding": (0, 2)},
    "dilation": {"stride": 2, "dilation": (1, 2), "padding": 1},
    "circular": {"padding": 1, "padding_mode": "circular"},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_products_equal_convolution(form):
    layer = nn.Conv2d(3, 6, (3, 2), **form).double()
    x = torch.randn(5, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    inputs = [x, *layer.parameters()]
    expected = layer(x)
    with ConvolutionsAsProducts():
        outputs = layer(x)
    torch.testing.assert_close(outputs, expected)
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((outputs * weights).sum(), inputs)
    torch.testing.assert_close(gradients, torch.autograd.grad((expected * weights).sum(), inputs))


@pytest.mark.parametrize("form", [{"padding": "same"}, {"groups": 3}], ids=["same", "groups"])
def test_other_convolutions_stay_as_they_are(form, monkeypatch):
    monkeypatch.setattr(convolutions, "_convolution", None)
    layer, x = nn.Conv2d(3, 6, 3, **form), torch.randn(5, 3, 9, 8)
    with ConvolutionsAsProducts():
        assert torch.equal(layer(x), layer(x))


def test_stacked_products_equal_each_convolution():
    layers, x = [nn.Conv2d(3, 6, 3, padding=1) for _ in range(4)], torch.randn(4, 5, 3, 9, 8)
    state, _ = stack_module_state(layers)
    with ConvolutionsAsProducts():
        outputs = vmap(lambda state, x: functional_call(layers[0], state, (x,)))(state, x)
    expected = torch.stack([layer(each) for layer, each in zip(layers, x, strict=True)])
    torch.testing.assert_close(outputs, expected)
