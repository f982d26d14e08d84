"""Generated calls: each argument allowed or not, and a verdict on what came of the call."""

import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

OUTCOMES = ("right", "documented error", "foreign", "silent")
SECONDS = 60  # after which a call counts as one that hangs
COMMON = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate, Phase.shrink],
    "suppress_health_check": list(HealthCheck),
}
settings.register_profile("500", derandomize=True, **COMMON)
settings.register_profile("stress", print_blob=True, **COMMON)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "500")
EXAMPLES = {"500": 500, "stress": 10_000}
SCALE = EXAMPLES[PROFILE] // 500


def examples(count: int) -> settings:
    """The settings of a test that makes so many calls of 500."""
    return settings(settings.get_profile(PROFILE), max_examples=count * SCALE)


class Balance:
    """How many calls of each function came to which end."""

    def __init__(self) -> None:
        self.counts: Counter = Counter()

    def add(self, name: str, outcome: str) -> None:
        self.counts[name, outcome] += 1

    def total(self) -> int:
        return self.counts.total()

    def of(self, outcome: str) -> int:
        return sum(count for (_, each), count in self.counts.items() if each == outcome)

    def table(self) -> str:
        names = sorted({name for name, _ in self.counts})
        rows = [(name, *(self.counts[name, outcome] for outcome in OUTCOMES)) for name in names]
        rows = [("", *OUTCOMES), *rows, ("all", *map(self.of, OUTCOMES))]
        return "\n".join(
            f"{row[0]:24}" + "".join(f"{cell:>18}" for cell in row[1:]) for row in rows
        )


BALANCE = Balance()


@dataclass
class Argument:
    """The values that an argument may have, those that it may not, and what an error says of these.

    Attributes:
        allowed, refused: strategies, or lists of values.
        says: a pattern that the message of the error has; the argument's name where it is empty.
    """

    allowed: Any
    refused: Any = None
    says: str = ""

    def __post_init__(self) -> None:
        self.allowed, self.refused = _strategy(self.allowed), _strategy(self.refused)


def _strategy(values: Any) -> Any:
    return st.sampled_from(values) if isinstance(values, list) else values


@dataclass
class Call:
    """Arguments, and the names of those that are not allowed, each with what an error must say."""

    arguments: dict[str, Any]
    refused: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={str(value)[:200]}" for name, value in self.arguments.items())
        return f"call({given}) with refused: {', '.join(self.refused) or 'none'}"


@st.composite
def called(draw: Callable, **arguments: Argument) -> Call:
    """A call: two of three are allowed, the others have one or two arguments that are not."""
    can_fail = [name for name, argument in arguments.items() if argument.refused is not None]
    count = draw(st.sampled_from([0, 0, 0, 0, 1, 2])) if can_fail else 0
    wrong = (
        draw(st.lists(st.sampled_from(can_fail), min_size=count, max_size=count)) if count else []
    )
    values = {
        name: draw(argument.refused if name in wrong else argument.allowed)
        for name, argument in arguments.items()
    }
    return Call(values, {name: arguments[name].says or rf"\b{name}\b" for name in wrong})


class Hang(BaseException):
    """A call that takes longer than SECONDS."""


@contextmanager
def watchdog():
    def bark(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judge(
    name: str,
    function: Callable,
    call: Call,
    right: Callable[..., Any],
    errors: tuple = (TypeError, ValueError),
) -> None:
    """Make the call: what is allowed must be right, what is not must be refused by its name.

    Args:
        name: of the function, in the balance.
        function: takes the arguments of the call.
        right: takes the result and the arguments; fails where the result is wrong.
        errors: those that are documented.
    """
    outcome = "foreign"
    try:
        outcome = _outcome(function, call, right, errors)
    except _Silent as silent:
        outcome = "silent"
        raise AssertionError(f"{name}: {silent}") from silent.__cause__
    finally:
        BALANCE.add(name, outcome)


class _Silent(Exception):
    """A wrong result, or one where there should be none."""


def _outcome(function: Callable, call: Call, right: Callable, errors: tuple) -> str:
    try:
        with watchdog():
            result = function(**call.arguments)
    except errors as error:
        if not any(re.search(says, str(error)) for says in call.refused.values()):
            raise
        return "documented error"
    if call.refused:
        raise _Silent(f"{', '.join(call.refused)} should have been refused: {result!r}")
    try:
        right(result, **call.arguments)
    except AssertionError as error:
        raise _Silent(f"the result is wrong: {error}") from error
    return "right"
