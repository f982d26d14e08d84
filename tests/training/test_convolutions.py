"""Convolutions as products give the numbers of PyTorch's own."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from course_lib.training import convolutions, fit
from course_lib.training.convolutions import ConvolutionsAsProducts
from zoo import Convolving, hand_written_loop, largest_difference, noisy_digits

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


BIAS = torch.linspace(-1, 1, 4)
CALLS = {
    "weights alone": ((), {}),
    "bias by position": ((BIAS,), {}),
    "bias by name": ((), {"bias": BIAS}),
    "no bias by name": ((), {"bias": None}),
    "all by position": ((BIAS, 2, 1, 2, 1), {}),
    "all by name": (
        (),
        {"bias": BIAS, "stride": 2, "padding": 1, "dilation": 2, "groups": 1},
    ),
    "some by position": ((None, (1, 2)), {"padding": (2, 0)}),
    "ints": ((), {"stride": 3, "padding": 2}),
    "pairs": ((), {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2)}),
    "lists": ((), {"stride": [2, 1], "padding": [0, 1], "dilation": [2, 1]}),
    "one number in a tuple": ((), {"stride": (2,), "padding": (1,), "dilation": (2,)}),
    "sizes": ((), {"stride": torch.Size([1, 2])}),
    "same": ((), {"padding": "same"}),
    "valid": ((), {"padding": "valid", "stride": 2}),
    "same by position": ((BIAS, 1, "same"), {}),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("samples", [None, 1, 5], ids=["unbatched", "one", "five"])
def test_every_way_to_call_gives_the_numbers_of_pytorch(call, samples):
    arguments, options = call
    x = torch.randn(*([samples] if samples else []), 3, 9, 8)
    weight = torch.randn(4, 3, 3, 2, requires_grad=True)
    expected = F.conv2d(x, weight, *arguments, **options)
    with ConvolutionsAsProducts():
        outputs = F.conv2d(x, weight, *arguments, **options)
        named = F.conv2d(*arguments, input=x, weight=weight, **options) if not arguments else None
    assert outputs.shape == expected.shape and outputs.dtype == expected.dtype
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)
    if named is not None:
        torch.testing.assert_close(named, expected, rtol=1e-4, atol=1e-5)
    (found,) = torch.autograd.grad(outputs.square().sum(), weight)
    (wanted,) = torch.autograd.grad(expected.square().sum(), weight)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_give_the_numbers_of_pytorch(groups):
    x, weight = torch.randn(5, 4, 9, 8), torch.randn(8, 4 // groups, 3, 3)
    expected = F.conv2d(x, weight, None, 1, 1, 1, groups)
    with ConvolutionsAsProducts():
        assert torch.equal(F.conv2d(x, weight, None, 1, 1, 1, groups), expected)
        assert torch.equal(F.conv2d(x, weight, padding=1, groups=groups), expected)


@pytest.mark.parametrize("layer", [False, True], ids=["input", "weights, too"])
def test_memory_layout_makes_no_difference(layer):
    x = torch.randn(5, 3, 9, 8).to(memory_format=torch.channels_last)
    conv = nn.Conv2d(3, 6, 3, padding=1)
    conv = conv.to(memory_format=torch.channels_last) if layer else conv
    with ConvolutionsAsProducts():
        outputs = conv(x)
    torch.testing.assert_close(outputs, conv(x.contiguous()), rtol=1e-4, atol=1e-5)
    with ConvolutionsAsProducts():
        torch.testing.assert_close(conv(x.transpose(2, 3)), conv(x.transpose(2, 3).contiguous()))


def test_wrong_calls_are_refused_by_pytorch_or_python():
    x, weight = torch.randn(5, 3, 9, 8), torch.randn(4, 3, 3, 2)
    for arguments, options in (((x,), {}), ((x, weight), {"strides": 2}), ((x, weight[:, :2]), {})):
        with ConvolutionsAsProducts(), pytest.raises((TypeError, RuntimeError)):
            F.conv2d(*arguments, **options)


IN_FIT = {
    "weights alone": Convolving,
    "by position": partial(Convolving, None, 2, 1),
    "lists": partial(Convolving, stride=[2, 1], padding=[0, 1]),
    "one number in a tuple": partial(Convolving, stride=(2,)),
    "same": partial(Convolving, padding="same"),
    "valid": partial(Convolving, None, 1, "valid"),
    "dilation": partial(Convolving, dilation=(2, 1)),
}


class Unbatched(Convolving):
    """One image at a time."""

    def features(self, x):
        each = [F.conv2d(image, self.weight, self.bias) for image in x]
        return torch.stack(each).relu().flatten(1)


class ChannelsLast(Convolving):
    def features(self, x):
        return super().features(x.to(memory_format=torch.channels_last))


@pytest.mark.parametrize(
    "network", [*IN_FIT.values(), Unbatched, ChannelsLast], ids=[*IN_FIT, "unbatched", "channels"]
)
def test_fit_equals_the_loop_for_every_way_to_call(network):
    settings = {"batch_size": 50, "optimizer": torch.optim.SGD, "lr": 0.02, "max_epochs": 2}
    run = fit(network, noisy_digits(), seeds=[3, 0], progress=False, **settings)
    expected = hand_written_loop(network, noisy_digits(), 3, **settings)
    assert largest_difference(run.networks[0], expected) < 1e-5
    if network is not ChannelsLast:  # vmap has no rule for it
        assert run.history.attrs["one_by_one"] == ""
