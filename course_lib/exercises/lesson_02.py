"""Exercises of lesson 2: full batch, SGD, mini-batch.

q1. Four walks in the bowl of this lesson, without their names: B = 1 at the rate 0.3; B = 10 at
    the rate 0.3; B = 1 at the rate 0.03; and the full batch at the rate 0.03. In the figure Q
    falls quickly to a high level, R quickly to a lower one, S slowly towards the same level as R,
    and P slowly and without an end. Which curve is which? Hand in the four letters in the order
    above: `check("PQRS")`.
q2. An evil genie copies every one of your N training images, without telling you. You go on with
    the same batch size, the same rate, and batches drawn at random. By which factors does this
    change (a) the updates in an epoch, (b) the noise scale, (c) the radius in which SGD hovers?
    `check((a, b, c))`; 1 means "not at all".
q3. Criticise a comparison. "Near the end of training," somebody writes, "the gradient of half of
    our data has a cosine of 0.87 with the gradient of all of it. So the other half has little to
    add." What is the cosine between his half and the other half? (The errors of the two halves
    are opposite, and at right angles to the full gradient.) `check(cosine)`
q4. Find the bug. A colleague has written the update himself. At B = 8 his network trains; at
    B = 256, at the same rate, it explodes. `sample_gradients` is a list of one number for each
    sample of the batch:

        def update(weight, sample_gradients, lr):
            for g in sample_gradients:
                weight = weight - lr * g
            return weight

    Write an `update` whose step does not, on average, depend on the batch size. `check(update)`
q5. The noise scale without gradients of single samples. For a batch of B samples, drawn with
    replacement, E|g_B|² = |G|² + tr Σ / B. So the mean of |g_B|² over many batches, at two batch
    sizes, gives two equations for |G|² and tr Σ. Do this for a network of your own on the
    training images `Digits().x_train`, `Digits().y_train`, with the loss `cross_entropy`. Hand in
    your noise scale and the network; a factor of 1.3 either way counts as right.
    `check(scale, network)`
"""

from collections.abc import Callable, Sequence
from math import inf, isclose, sqrt

import torch
from torch.nn import functional as F

from course_lib.datasets import Digits
from course_lib.exercises.judges import near, number, numeric, require_function, returned
from course_lib.exercises.question import Mistake, Question
from course_lib.noise import gradient_noise

WALKS = ["B = 1 at 0.3", "B = 10 at 0.3", "B = 1 at 0.03", "the full batch at 0.03"]
CURVES = "QRSP"


def judge_curves(letters: object) -> None:
    if not isinstance(letters, str):
        raise Mistake('Hand in four letters in quotation marks: `check("PQRS")`.')
    word = "".join(letter for letter in letters.upper() if letter.isalpha())
    if sorted(word) != sorted(CURVES):
        raise Mistake(f"{letters!r} are not the four letters P, Q, R and S, each of them once.")
    if word[3] != "P":
        raise Mistake(
            "Which of the four walks has no noise? Its curve goes on falling, without a level."
        )
    if word[0] == "S" or word[1] == "S":
        raise Mistake("A rate of 0.3 falls ten times as quickly as one of 0.03. S falls slowly.")
    if word != CURVES:
        raise Mistake(
            "Q and R fall equally quickly, but hover at different heights. Which of the two "
            "batches leaves more noise?"
        )


q1 = Question(
    judge=judge_curves,
    right="The rate is in the slope, rate over batch size in the level.",
    hints=[
        "Two things can be read off a curve: how quickly it falls, and where it stops.",
        "How quickly it falls is a matter of the rate alone. Which two curves are quick?",
        "The level is the radius: s times the root of rate / B. For which two walks is it equal?",
    ],
    answer="**QRSP.** Q and R fall quickly, so they have the rate 0.3; the higher level belongs to "
    "the smaller batch, Q. P has no level: the full batch. What is left is S, B = 1 at the rate "
    "0.03. Its rate / B is that of B = 10 at 0.3, so it ends at the level of R, only later.",
)

q2 = Question(
    judge=numeric(
        (2, 1, 1),
        mistakes={
            (1, 1, 1): "The epoch has twice as many samples and the batch as many as before. Count "
            "the updates.",
            (0.5, 1, 1): "Twice the samples, cut into batches of the same size: are these fewer?",
            (2, 2, 1): "The noise scale is tr Σ / |G|², two means over samples. A mean does not "
            "change when every sample is counted twice.",
            (2, 0.5, 1): "The noise scale is tr Σ / |G|², two means over samples. A mean does not "
            "change when every sample is counted twice.",
            (2, 1, 2): "The radius knows the rate, the batch size and the residuals. None of them "
            "has changed.",
            (2, 1, 0.5): "The radius knows the rate, the batch size and the residuals. None of "
            "them has changed.",
            (2, 1, sqrt(2)): "The root is right for rate / B. But has that changed?",
            (2, 1, sqrt(0.5)): "Copies are no new information, and no larger batch. Rate / B is "
            "what it was.",
        },
        otherwise="Ask of each: is it a mean over samples, or a number of samples?",
        tolerance=0.005,
    ),
    right="A batch size counts samples. Only what is counted in epochs has changed its meaning.",
    hints=[
        "(a) is N / B.",
        "(b) and (c) are made of means over the samples, and of rate and batch size. What does a "
        "mean say to copies?",
        "One of the three factors is 2, the others are 1.",
    ],
    answer="**(2, 1, 1).** An epoch has 2N / B updates. G and tr Σ are means, which copies do not "
    "change, so the noise scale stays the same, and so does the radius s √(rate / B). Trained for "
    "as many updates, the network is the same; trained for as many epochs, it has made twice as "
    "many. (Without replacement, there is a trifle more noise: a batch may now hold an image "
    "twice.)",
)

q3 = Question(
    judge=numeric(
        2 * 0.87**2 - 1,
        mistakes={
            0.87: "That is the cosine with all of the data, which contain his half. The other half "
            "does not.",
            0.87**2: "0.87² is |G|² / (|G|² + |e|²), as for two *independent* parts. The errors of "
            "two halves are opposite, which makes it worse.",
            1: "The other half has an error as long as his, in the opposite direction.",
            0: "They have the full gradient in common, and that is not nothing.",
            -1: "Only their errors are opposite. They have the full gradient in common.",
            0.13: "1 - 0.87 would be a difference of cosines. Draw the two arrows.",
            0.87 * 2 - 1: "Nearly: squares of lengths add up, so it is the square of the cosine "
            "that counts.",
        },
        otherwise="Draw G and, at right angles to its tip, e and -e. By 0.87 you know the angle "
        "between G and G + e. What is the one between G + e and G - e?",
        tolerance=0.01,
    ),
    right="Half of a half contains itself. Compare with what it does not contain.",
    hints=[
        "His half has the gradient G + e, the other one G - e.",
        "The angle between the halves is twice the angle between one half and G.",
        "cos 2α = 2 cos² α - 1.",
    ],
    answer="The halves are G + e and G - e, symmetric about G: the angle between them is 2α, and "
    "cos 2α = 2 x 0.87² - 1 = **0.51**. A right angle would be 0, so 0.87 with the whole is much "
    "less than it sounds. At 0.71 the halves would know nothing of each other.",
)

BATCHES: list[list[float]] = [[3.0], [1.0, 3.0], [2.0, -1.0, 6.0], [0.5] * 8, [1.0, -2.0] * 32]
WEIGHT, LR = 2.0, 0.1


def mean(gradients: Sequence[float]) -> float:
    return sum(gradients) / len(gradients)


RULES: dict[str, Callable[[Sequence[float]], float]] = {
    "It still adds up the gradients: with B samples the step is B times as long.": sum,
    "It divides by the root of the batch size. The sum grows with B itself.": lambda gradients: (
        sum(gradients) / sqrt(len(gradients))
    ),
    "It divides by 8, which is right for B = 8 only.": lambda gradients: sum(gradients) / 8,
    "It divides by 256, which is right for B = 256 only.": lambda gradients: sum(gradients) / 256,
    "It uses one sample and ignores the others, and their averaging with them.": lambda gradients: (
        gradients[-1]
    ),
    "It uses only the first sample, and the averaging is lost.": lambda gradients: gradients[0],
    "It goes uphill: a step is *minus* the rate times the gradient.": lambda gradients: (
        -mean(gradients)
    ),
}


def judge_update(update: object) -> None:
    function = require_function(update, "update")
    answers = [answer_of(function, batch) for batch in BATCHES]
    if fits(answers, mean):
        return
    if all(answer == WEIGHT for answer in answers):
        raise Mistake("The weight does not move at all.")
    for message, rule in RULES.items():
        if fits(answers, rule):
            raise Mistake(message)
    wanted = WEIGHT - LR * mean(BATCHES[1])
    raise Mistake(
        f"`update({WEIGHT}, {BATCHES[1]}, {LR})` gives {answers[1]:g}; {wanted:g} would be right."
    )


def answer_of(update: Callable, batch: list[float]) -> float:
    """What the learner's function makes of a batch; a Mistake where it makes no number of it."""
    call = f"`update({WEIGHT}, {batch if len(batch) < 9 else '...'}, {LR})`"
    return number(returned(update, call, WEIGHT, batch.copy(), LR))


def fits(answers: list[float], rule: Callable[[Sequence[float]], float]) -> bool:
    wanted = [WEIGHT - LR * rule(batch) for batch in BATCHES]
    return all(isclose(a, b, abs_tol=1e-6) for a, b in zip(answers, wanted, strict=True))


q4 = Question(
    judge=judge_update,
    right="With the mean, the batch size changes the noise of a step, and not its length.",
    hints=[
        "How far does the weight move with one sample of gradient 1, and with 256 of them?",
        'That is `reduction="sum"`. What would `reduction="mean"` do?',
        "Divide by `len(sample_gradients)`.",
    ],
    answer="""The loop adds up B steps, so the rate is in truth B times as large, and at B = 256 it
is beyond 2 / h. The mean over the batch has the full gradient as its expectation at any size:
```python
def update(weight, sample_gradients, lr):
    return weight - lr * sum(sample_gradients) / len(sample_gradients)
```
The sum is the linear scaling rule applied by accident.""",
)


def judge_noise_scale(scale: object, network: object) -> None:
    guess = number(scale)
    if not isinstance(network, torch.nn.Module):
        raise Mistake(
            f"Hand in the network as the second answer, not a `{type(network).__name__}`."
        )
    data = Digits()
    try:
        measured = gradient_noise(network, F.cross_entropy, (data.x_train, data.y_train))
    except ValueError as error:
        raise Mistake(f"The noise of this network cannot be measured: {error}.") from error
    signal, trace, right = measured
    if right == inf or trace == 0:
        raise Mistake("This network's gradient is zero. Take one that can still learn.")
    if near(guess, right):
        return
    named = {
        "That is tr Σ. Divide it by |G|².": trace,
        "That is |G|². The noise scale is tr Σ / |G|².": signal,
        "You have it upside down: tr Σ / |G|², not |G|² / tr Σ.": 1 / right,
        "That is its root, the relative error of B = 1.": sqrt(right),
    }
    for message, value in named.items():
        if near(guess, value):
            raise Mistake(message)
    raise Mistake(
        f"You have {guess:.3g}, the gradients of all single images give {right:.3g}. "
        "Average |g_B|² over some hundred batches at each size, and take two sizes that are far "
        "apart, one of them well below the noise scale."
    )


q5 = Question(
    judge=judge_noise_scale,
    right="Two batch sizes and no gradient of a single sample. Lesson 8 does it while training.",
    hints=[
        "|g_B|² = |G + e|² = |G|² + 2 G·e + |e|². What are the means of the last two?",
        "Call the means m_small and m_large. m_small - m_large = tr Σ (1/small - 1/large).",
        "With tr Σ known, |G|² = m_large - tr Σ / large. Sizes such as 8 and 512 will do, with 300 "
        "batches each.",
    ],
    answer="""The error is unbiased, so G·e is zero on average, and the mean of |e|² is tr Σ / B.
```python
network = MLP(hidden=(16, 16))
x, y = Digits().x_train, Digits().y_train

def squared_length(batch_size, times=300):
    total = 0.0
    for _ in range(times):
        batch = torch.randint(len(x), (batch_size,))
        loss = cross_entropy(network(x[batch]), y[batch])
        parts = torch.autograd.grad(loss, list(network.parameters()))
        total += sum(part.square().sum().item() for part in parts)
    return total / times

small, large = squared_length(8), squared_length(512)
trace = (small - large) / (1 / 8 - 1 / 512)
scale = trace / (large - trace / 512)
```
One batch of each size would not do: a single |g_B|² scatters too much.""",
)
