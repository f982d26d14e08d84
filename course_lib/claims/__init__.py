"""Claims: sentences of a lesson, and the evidence that decides them.

A lesson measures a table, seeds x conditions, and claims what it shows::

    epochs = runs.pivot(index="seed", columns="batch_size", values="epoch")
    claim("3.2", "Larger batches need more epochs to the same accuracy",
          increasing(epochs, "epochs"))
"""

from course_lib.claims.evidence import (
    MIN_SEEDS,
    Evidence,
    beats,
    equal,
    increasing,
    less,
    slope,
    within,
)
from course_lib.claims.sentence import ClaimError, claim, measured

__all__ = [
    "MIN_SEEDS",
    "ClaimError",
    "Evidence",
    "beats",
    "claim",
    "equal",
    "increasing",
    "less",
    "measured",
    "slope",
    "within",
]
