"""Exercises of lesson 8: choosing a batch size.

q1. On paper: the squared length of the gradient is 5 on average for batches of 10, and 2 for
    batches of 40. What is the noise scale? `check(scale)`
q2. On paper: with B = 100 a run needs 900 updates to its target, with B = 400 it needs 300, each
    at its best rate. What are the fewest updates, and what is the critical batch size?
    `check((steps_min, critical))`
q3. A run with B = 512 needs many samples to a training loss of 0.1. Choose a batch size and a rate
    with which the median of 8 seeds gets there within 160 updates and within 12,000 samples.
    `check(run)`
q4. On paper: the critical batch size is 6,000, and each device takes 500 samples. With free
    communication, how many times as fast as one device are 12, and what is the limit for any
    number of them? `check((twelve, limit))`
q5. On paper: the critical batch size is 1,600; an update takes 2 ms, and 0.02 ms more for each
    sample. Which batch size is first at the target, on one device? `check(batch_size)`
"""

from course_lib.exercises.judges import numeric, repeated_run
from course_lib.exercises.question import Mistake, Question
from course_lib.history import reached

q1 = Question(
    judge=numeric(
        40,
        mistakes={
            1: "1 is the squared length of the full gradient. The noise scale is the noise "
            "divided by it.",
            30: "30 is the difference of the batch sizes, not of their inverses.",
            0.025: "That is signal divided by noise. It is the other way round.",
            3: "3 is the difference of the two lengths. By which factor of tr Σ do they differ?",
            20: "Divide by the squared length without any noise. 2 is that of batches of 40.",
            8: "Divide by the squared length without any noise. 5 is that of batches of 10.",
        },
        otherwise="Two equations: 5 = |G|² + tr Σ / 10 and 2 = |G|² + tr Σ / 40.",
        tolerance=1e-6,
    ),
    right="|G|² = 1 and tr Σ = 40: at B = 40 half of the squared length is noise.",
    hints=[
        "The expected squared length at B is |G|² + tr Σ / B. That gives two equations.",
        "Their difference: 5 - 2 = tr Σ (1/10 - 1/40).",
        "tr Σ = 3 / 0.075 = 40. What is left of 2 = |G|² + 40 / 40?",
    ],
    answer="5 = |G|² + tr Σ / 10 and 2 = |G|² + tr Σ / 40. The difference gives tr Σ = 3 / 0.075 = "
    "40, hence |G|² = 1, and the noise scale is 40 / 1 = **40**.",
)

q2 = Question(
    judge=numeric(
        (100, 800),
        mistakes={
            (800, 100): "It is the other way round: the fewest updates come first.",
            (300, 400): "More than 300 are not needed, but B = 400 is not the end yet: a larger B "
            "needs fewer.",
            (100, 80_000): "80,000 is E_min, the fewest samples. Divide by the fewest updates.",
            (100, 200): "At B = 400 there would then be 150 updates.",
        },
        otherwise="Two equations: 900 = S_min + E_min / 100 and 300 = S_min + E_min / 400.",
        tolerance=1e-6,
    ),
    right="100 (1 + 800 / 100) = 900 and 100 (1 + 800 / 400) = 300. Two runs are enough.",
    hints=[
        "S = S_min (1 + B_crit / B) = S_min + E_min / B, with E_min = S_min B_crit.",
        "The difference: 600 = E_min (1/100 - 1/400).",
        "E_min = 80,000 samples, and S_min = 900 - 800.",
    ],
    answer="S = S_min + E_min / B. The difference of the two, 600 = E_min x 0.0075, gives E_min "
    "= 80,000. So S_min = 900 - 800 = 100 and B_crit = 80,000 / 100 = 800: **(100, 800)**.",
)

TARGET, UPDATES, SAMPLES = 0.1, 160, 12_000


def judge_compromise(run: object) -> None:
    history = repeated_run(run)
    first = reached(history, train_loss=TARGET)[["step", "examples"]].median()
    if first["step"] == float("inf"):
        raise Mistake(
            f"The median seed does not reach a training loss of {TARGET}. Another rate, or more "
            "epochs?"
        )
    if first["examples"] > SAMPLES:
        raise Mistake(
            f"It takes {first['examples']:,.0f} samples, more than {SAMPLES:,}: a smaller batch."
        )
    if first["step"] > UPDATES:
        raise Mistake(
            f"It takes {first['step']:,.0f} updates, more than {UPDATES}: a larger batch, or "
            "another rate."
        )


q3 = Question(
    judge=judge_compromise,
    right="Few updates and few samples at once: that is possible near the critical batch size.",
    hints=[
        "At which batch size are both about twice their least?",
        "Look at the table of the sweep: which rate goes with that batch size?",
        "Try B = 64.",
    ],
    answer="""A batch size near the critical one, with the rate of the sweep:
```python
run = fit(network, images, batch_size=64, lr=0.8 * unit, max_epochs=30, **goal)
```
It needs about 90 updates, rounded up to a whole epoch.""",
)

q4 = Question(
    judge=numeric(
        (6.5, 13),
        mistakes={
            (13, 6.5): "It is the other way round: the limit is the larger number.",
            (12, 13): "Twelve devices are twelve times as fast only if they need a twelfth of the "
            "updates. They do not.",
            (6.5, 12): "The limit is 1 + B_crit / B: one device needs 13 S_min updates.",
            (6, 12): "One device needs S_min (1 + 12) updates, not 12 S_min.",
            (12, 12): "Count the updates: S_min (1 + 6,000 / 500) for one device.",
        },
        otherwise="Speed-up = (1 + r) / (1 + r / n), with r = 6,000 / 500.",
        tolerance=1e-6,
    ),
    right="13 S_min updates for one device, 2 S_min for twelve, S_min for any number.",
    hints=[
        "How many times S_min does one device need? And twelve, with 6,000 samples together?",
        "1 + 6,000 / 500 = 13, and 1 + 6,000 / 6,000 = 2.",
        "13 / 2, and 13 / 1.",
    ],
    answer="One device needs S_min (1 + 12) updates, twelve S_min (1 + 1), any number at least "
    "S_min: **(6.5, 13)**. Doubling the twelve gives 13 / 1.5 = 8.7 only.",
)

q5 = Question(
    judge=numeric(
        400,
        mistakes={
            1_600: "1,600 is the critical batch size. Smaller batches have cheaper updates.",
            100: "100 is the knee of the time, 2 / 0.02. Larger batches need fewer updates.",
            160_000: "Take the square root of the product.",
            850: "It is the geometric mean of the two sizes, not half of their sum.",
            4: "The knee is 2 / 0.02 = 100, not 0.02 / 2.",
        },
        otherwise="The square root of critical batch size x knee, and the knee is 2 / 0.02.",
        tolerance=0.5,
    ),
    right="Four times below the one and four times above the other.",
    hints=[
        "At which batch size do the samples cost as much as the fixed part of an update?",
        "The knee is 2 / 0.02 = 100 samples.",
        "The square root of 1,600 x 100.",
    ],
    answer="Time = S_min (1 + 1,600 / B) (2 + 0.02 B) ms. It is shortest at the square root of "
    "1,600 x 100, at B = **400**: 5 S_min x 10 ms. At 100 and at 1,600 it is 68 S_min ms.",
)
