"""Kinds of networks that people bring, and the hand-written loop that each must equal.

KINDS has all of them. STACKED, ALONE and WORDS are the quick ones, by their names: those on digits
whose seeds are trained as one, those that are trained one by one, and all on words.
"""

from . import blocks, forms, gradients, values  # noqa: F401 (their kinds alone are wanted)
from .convolutions import Convolving
from .kinds import AS_ONE, KINDS, NOT, ONE_BY_ONE, Head, Kind, noisy_digits, words
from .layers import eval_mode
from .loop import batch_loss, hand_written_loop, largest_difference, measured_losses
from .misfits import FIT
from .randomness import FromNumPy, FromPython
from .recurrent import Attending
from .sharing import Tied
from .state import AssignedBuffer, Counting

__all__ = [
    "ALONE",
    "AS_ONE",
    "FIT",
    "KINDS",
    "NOT",
    "ONE_BY_ONE",
    "STACKED",
    "WORDS",
    "AssignedBuffer",
    "Attending",
    "Convolving",
    "Counting",
    "FromNumPy",
    "FromPython",
    "Head",
    "Kind",
    "Tied",
    "batch_loss",
    "eval_mode",
    "hand_written_loop",
    "largest_difference",
    "measured_losses",
    "noisy_digits",
    "words",
]

QUICK = {name: kind for name, kind in KINDS.items() if kind.quick}
WORDS = {name: kind.make for name, kind in QUICK.items() if kind.data is words}
STACKED, ALONE = (
    {n: k.make for n, k in QUICK.items() if k.trained == trained and n not in WORDS}
    for trained in (AS_ONE, ONE_BY_ONE)
)
