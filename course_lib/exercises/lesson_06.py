"""Exercises of lesson 6: batch normalization.

q1. Layer normalization takes mean and variance over the features of one image instead of over the
    batch. Write its backward pass, `layer_norm_backward(g, x_hat, deviation)`, for inputs of shape
    (B, features) and a deviation of shape (B, 1). `check(layer_norm_backward)`
q2. Find the bug. A colleague calls `held_out_accuracy(net, x, y)` after every epoch, with test
    images read from one folder for each class; it does not call `net.eval()`. The accuracy stays
    low although the loss falls, and calling it changes what the network says later, even in eval
    mode. Repair it; training must be able to go on as if it had not been called.
    `check(held_out_accuracy)`
q3. Design the control. Batch normalization learns badly in batches of two. Is it the gradient of
    two images, or the statistics of two images? Choose the layer, "batch", "layer" or
    "pairs" (batch normalization within pairs of images), and the batch size, 2 or 64. The run at
    hand is ("batch", 2). Hand in a run with the gradient of two images but no statistics of two,
    and one with statistics of two images but a gradient that averages 64.
    `check(("...", size), ("...", size))`
q4. Eight devices train a convolutional network, each with 4 images, and a layer has 64 channels of
    7x7 pixels. Over how many numbers does each mean run for `BatchNorm2d`, for the same with
    `SyncBatchNorm`, and for `GroupNorm(8, 64)`? `check((batch, synchronized, group))`
q5. Batches of one, in a network of your own. Write a network that has batch normalization in every
    hidden layer and trains with `batch_size=1` on 512 digits to 85 % held-out accuracy, all of 8
    seeds or more, in three epochs. `check(run)`
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.exercises.judges import (
    number,
    numeric,
    repeated_run,
    require_function,
    returned,
    too_late,
)
from course_lib.exercises.question import Mistake, Question, plain


def result_of(function: object, name: str, *arguments: Any) -> Any:
    """What the learner's function returns; a Mistake where it fails."""
    return returned(require_function(function, name), f"`{name}`", *arguments)


def way_back(
    *given: Tensor, axis: int = 1, mean: int = 1, along: int = 1, power: int = 1
) -> Tensor:
    """The backward pass of a normalization along an axis; other factors make it wrong."""
    g, x_hat, deviation = given
    means = [each.mean(axis, keepdim=True) for each in (g, g * x_hat)]
    return (g - mean * means[0] - along * x_hat * means[1]) / deviation**power


FEATURES = 5
WRONG_WAYS: list[tuple[str, dict[str, Any]]] = [
    ("That is batch normalization's: its means run over the batch.", {"axis": 0}),
    ("The mean has a way back as well: subtract the mean of g over the features.", {"mean": 0}),
    (
        "You treat the deviation as a constant. Stretching x changes it, so the part of the "
        "gradient along x_hat must go.",
        {"along": 0},
    ),
    ("You treat mean and deviation as constants. Both depend on x.", {"mean": 0, "along": 0}),
    ("The division by the deviation is missing.", {"power": 0}),
    ("The gradient is divided by the deviation, not multiplied, as the inputs are.", {"power": -1}),
    ("The last term wants a mean over the features, not a sum.", {"along": FEATURES}),
]


def judge_backward(layer_norm_backward: object) -> None:
    generator = torch.Generator().manual_seed(0)
    x, g = torch.randn(2, 6, FEATURES, generator=generator, dtype=torch.float64)
    deviation = x.std(1, correction=0, keepdim=True)
    given = (g, (x - x.mean(1, keepdim=True)) / deviation, deviation)
    answer = result_of(
        layer_norm_backward, "layer_norm_backward", *(each.clone() for each in given)
    )
    if not isinstance(answer, Tensor) or answer.shape != g.shape:
        raise Mistake(f"The result must be a tensor of the shape of g, {tuple(g.shape)}.")
    for message, factors in WRONG_WAYS:
        if torch.allclose(answer.double(), way_back(*given, **factors)):
            raise Mistake(message)
    if not torch.allclose(answer.double(), way_back(*given), atol=1e-6):
        raise Mistake("Not what autograd says. Along which axis did the means of `backward` run?")


q1 = Question(
    judge=judge_backward,
    right="The same projection, of each image by itself.",
    hints=[
        "Forward, only the axis changes: mean and variance run over dimension 1 instead of 0.",
        "So it is with the way back. But a mean over dimension 1 must keep that dimension, to be "
        "subtracted from every feature: `mean(1, keepdim=True)`.",
        "`backward` has two means. Change both.",
    ],
    answer="""Both means run along the features:
```python
def layer_norm_backward(g, x_hat, deviation):
    along = (g * x_hat).mean(1, keepdim=True)
    return (g - g.mean(1, keepdim=True) - x_hat * along) / deviation
```""",
)


def small_network() -> nn.Sequential:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layers = (nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5))
        net = nn.Sequential(*layers, nn.Linear(16, 3))
        for _ in range(20):
            net(torch.randn(64, 4))
    return net


def case() -> tuple[nn.Sequential, Tensor, Tensor]:
    """A network in train mode, and images sorted by class; in eval mode it knows nine in ten."""
    net, generator = small_network(), torch.Generator().manual_seed(1)
    x = torch.randn(200, 4, generator=generator)
    with torch.no_grad():
        y = deepcopy(net).eval()(x).argmax(1)
    y[::10] = (y[::10] + 1) % 3
    return net, x[y.argsort()], y.sort().values


def judge_accuracy(held_out_accuracy: object) -> None:
    net, x, y = case()
    before = deepcopy(net).state_dict().values()
    answer = number(result_of(held_out_accuracy, "held_out_accuracy", net, x, y))
    if not all(map(torch.equal, before, net.state_dict().values())):
        raise Mistake("It still changes the running statistics. In which mode do the images pass?")
    if abs(answer - 0.9) > 1e-6:
        raise Mistake(
            f"It gives {answer:.3f}, and in eval mode it is 0.900. Is each image counted once?"
        )
    if not all(module.training for module in net.modules()):
        raise Mistake(
            "The accuracy is right, but the network stays in eval mode, and training would go on "
            "in it. Put it back."
        )
    result_of(held_out_accuracy, "held_out_accuracy", net.eval(), x, y)
    if net.training:
        raise Mistake(
            "It leaves every network in train mode, also one that came in eval mode. Remember "
            "`net.training` first."
        )


q2 = Question(
    judge=judge_accuracy,
    right="Eval mode for the test, and afterwards the mode that the network came in.",
    hints=[
        "Which statistics does a network in train mode use for a batch that is all sevens?",
        "`torch.no_grad()` stops gradients. It does not stop the layer from remembering means and "
        "variances. What does?",
        "`net.eval()` at the beginning, and at the end the mode it was in: `net.train(mode)`.",
    ],
    answer="""The images pass in train mode: each batch is normalized with its own statistics,
which are those of one class, and the layers remember these. `no_grad` prevents neither.
```python
def held_out_accuracy(net, x, y, batch_size=64):
    mode, right = net.training, 0
    net.eval()
    for part, labels in zip(x.split(batch_size), y.split(batch_size), strict=True):
        with torch.no_grad():
            right += (net(part).argmax(1) == labels).sum().item()
    net.train(mode)
    return right / len(y)
```""",
)

LAYERS, SIZES = ("batch", "layer", "pairs"), (2, 64)
WANTED = {"gradient": ("layer", 2), "statistics": ("pairs", 64)}
NOT_WANTED = {
    "gradient": {
        ("batch", 2): "That is the run you have: gradient and statistics of two.",
        ("pairs", 2): "Pairs in batches of two are the run you have, under another name.",
        ("batch", 64): "The first run is to have the gradient of two images; here 64 are averaged.",
        ("layer", 64): "The first run is to have the gradient of two images; here 64 are averaged.",
        ("pairs", 64): "That is the second run: statistics of two, gradient of 64.",
    },
    "statistics": {
        ("batch", 2): "That is the run you have: gradient and statistics of two.",
        ("pairs", 2): "In this run the gradient is that of two images as well.",
        ("batch", 64): "The second run is to have statistics of two images; here they are of 64.",
        ("layer", 64): "Layer normalization takes no statistics of other images, of two or of 64.",
        ("layer", 2): "That is the first run: gradient of two, no statistics of two.",
    },
}


def judge_control(gradient_of_two: object, statistics_of_two: object) -> None:
    runs = {"gradient": gradient_of_two, "statistics": statistics_of_two}
    pairs = {suspect: pair_of(run) for suspect, run in runs.items()}
    for suspect, pair in pairs.items():
        if pair != WANTED[suspect]:
            raise Mistake(NOT_WANTED[suspect][pair])


def pair_of(run: object) -> tuple[str, int]:
    parts = plain(run)
    if not isinstance(parts, list | tuple) or len(parts) != 2:
        raise Mistake('Each run is a pair of layer and batch size, such as `("batch", 64)`.')
    layer, size = parts
    if not isinstance(layer, str) or layer not in LAYERS:
        raise Mistake(f'{layer!r} is none of the layers "batch", "layer" and "pairs".')
    if number(size) not in SIZES:
        raise Mistake(f"The batch size is {size}. Take 2 or 64.")
    return layer, int(number(size))


q3 = Question(
    judge=judge_control,
    right="Each run keeps one suspect and dismisses the other. Now let them speak.",
    hints=[
        "A control keeps one suspect and removes the other.",
        "To keep the gradient of two images, keep the batch size. Which layer takes no statistics "
        "of other images?",
        "To keep the statistics of two images in a batch of 64, normalize it in parts.",
    ],
    answer='The gradient of two without their statistics: **("layer", 2)**. Their statistics '
    'without their gradient: **("pairs", 64)**. If the gradient is guilty, the first run fails and '
    "the second does not; if the statistics are, it is the other way round.",
)

q4 = Question(
    judge=numeric(
        (196, 1_568, 392),
        mistakes={
            (4, 32, 392): "The pixels count as well: a channel is one unit, whatever the pixel.",
            (1_568, 1_568, 392): "Without synchronization each device knows only its own 4 images.",
            (196, 196, 392): "Synchronized, the mean runs over the images of all eight devices.",
            (196, 1_568, 49): "A group has several channels: 64 channels in 8 groups.",
            (196, 1_568, 8): "A group's mean runs over the pixels, too.",
            (196, 1_568, 1_568): "Group normalization looks at one image alone.",
            (196, 1_568, 3_136): "That would be layer normalization, all 64 channels in one group.",
            (12_544, 100_352, 392): "Each channel has a mean of its own: leave the 64 out.",
        },
        otherwise="Which of devices, images, channels and pixels does each mean run over?",
    ),
    right="Per device 4 x 49, synchronized 32 x 49, in a group 8 x 49: what counts is how many "
    "numbers share a mean.",
    hints=[
        "`BatchNorm2d` has one mean a channel, over all pixels of all images on the device.",
        "`SyncBatchNorm` has the images of all devices.",
        "`GroupNorm(8, 64)` makes 8 groups of 64 / 8 channels, in each image by itself.",
    ],
    answer="Each device has 4 images x 49 pixels = **196** numbers a channel. All eight have "
    "8 x 196 = **1,568**. A group has 8 channels x 49 pixels of one image = **392**, whatever the "
    "batch and the number of devices.",
)

TARGET, BATCH, EPOCHS = 0.85, 1, 3


def judge_batches_of_one(run: object) -> None:
    history = repeated_run(run, batch_size=BATCH, epochs=EPOCHS)
    if networks := getattr(run, "networks", None):
        must_normalize(networks[0])
    if late := too_late(history, TARGET):
        raise Mistake(
            f"{late} How many numbers share a mean? And is the rate small enough for B = 1?"
        )


def must_normalize(network: nn.Module) -> None:
    modules = list(network.modules())
    if any(isinstance(module, nn.GroupNorm | nn.LayerNorm) for module in modules):
        raise Mistake("Group and layer normalization are no batch normalization.")
    if not any(hasattr(module, "running_var") for module in modules):
        raise Mistake("This network has no batch normalization.")


q5 = Question(
    judge=judge_batches_of_one,
    right="A batch of one is possible, as long as its pixels keep one another company.",
    hints=[
        "The mean of one number leaves nothing. Where does a single image have many numbers for "
        "one unit?",
        "In a convolutional layer: `nn.Conv2d` with `BatchNorm` (ours or `nn.BatchNorm2d`) behind "
        "it, and a linear layer at the end.",
        "Two of these, with 8 and 16 channels, then `nn.Flatten()`, at the rate 0.01.",
    ],
    answer="""A convolutional network: each mean runs over the 64 pixels of a channel.
```python
def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), BatchNorm(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1), BatchNorm(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * 8 * 8, 10),
    )

run = fit(convolutional, few, batch_size=1, lr=0.01, max_epochs=3, seeds=8)
```
On the digits all 8 seeds get there.""",
)
