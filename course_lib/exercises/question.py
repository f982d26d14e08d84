"""What every exercise is made of: a question, its blank, and the mistakes it knows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from typing import NoReturn

import numpy as np
import pandas as pd
import torch
from IPython.display import display


class Mistake(Exception):
    """What is wrong with an answer, said to the learner."""


class Unanswered(Exception):
    """The answer still holds a blank."""

    def __init__(self) -> None:
        super().__init__("Put your answer in the place of `____`.")

    def _render_traceback_(self) -> list[str]:
        """What IPython shows where a blank stops a cell before anything is checked."""
        return [f"Not answered yet. {self}"]


class Blank:
    """The placeholder ____: what is computed with it, called of it or read from it is blank again.

    Where Python, NumPy or PyTorch insists on a number, a format or a decision, as `math.sqrt` and
    `if` do, it raises `Unanswered`.
    """

    def __repr__(self) -> str:
        return "____"

    def _blank(self, *_: object, **__: object) -> "Blank":
        return self

    def _unanswered(self, *_: object, **__: object) -> NoReturn:
        raise Unanswered

    def __getattr__(self, name: str) -> "Blank":
        if name.startswith("_"):  # what others look for, to find out what this is
            raise AttributeError(name)
        return self

    @classmethod
    def __torch_function__(cls, function: Callable, *_: object, **__: object) -> "Blank":
        if function.__name__ in ("__setitem__", "copy_", "fill_"):  # a tensor without its number
            raise Unanswered
        return ____

    __call__ = __getitem__ = __array_ufunc__ = _blank
    __neg__ = __pos__ = __abs__ = __invert__ = _blank
    __round__ = __ceil__ = __floor__ = __trunc__ = _blank
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _blank
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _blank
    __divmod__ = __rdivmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _blank
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _blank
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _blank
    __lt__ = __le__ = __gt__ = __ge__ = _blank
    __eq__ = __ne__ = _blank  # type: ignore[assignment] # Python's own gives a bool
    __bool__ = __int__ = __float__ = __complex__ = __index__ = __array__ = _unanswered
    __len__ = __iter__ = __contains__ = __setitem__ = __delitem__ = _unanswered
    __format__ = __fspath__ = __enter__ = __exit__ = _unanswered
    __hash__ = _unanswered  # as a key


____ = Blank()


class Text(str):
    """Markdown in a notebook, plain text elsewhere."""

    def _repr_markdown_(self) -> str:
        return self


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and what to say about it."""

    correct: bool
    message: str


@dataclass
class Question:
    """One exercise; its text stands in the lesson.

    Attributes:
        judge: takes the answer; raises `Mistake` where it is wrong.
        right: what to say about a right answer.
        hints: each helps a little more than the one before.
        answer: the worked solution, as Markdown.
    """

    judge: Callable[..., None]
    right: str
    hints: list[str]
    answer: str
    hints_given: int = field(default=0, init=False)

    def check(self, *answer: object) -> None:
        """Say whether the answer is right, and if not, what is wrong with it."""
        display(Text(self.verdict(*answer).message))

    def hint(self) -> None:
        """Show the next hint."""
        self.hints_given = min(self.hints_given + 1, len(self.hints))
        text = (
            f"**Hint {self.hints_given} of {len(self.hints)}.** {self.hints[self.hints_given - 1]}"
        )
        if self.hints_given == len(self.hints):
            text += " (That was the last hint; `.solution()` shows the answer.)"
        display(Text(text))

    def solution(self) -> None:
        """Show the answer and the way to it."""
        display(Text(f"**Solution.** {self.answer}"))

    def verdict(self, *answer: object) -> Verdict:
        """What `check` says, as a value."""
        try:
            require_answer(answer)
            require_count(answer, list(signature(self.judge).parameters))
            self.judge(*answer)
        except Unanswered as unanswered:
            return Verdict(False, f"**Not answered yet.** {unanswered}")
        except Mistake as mistake:
            return Verdict(False, f"**Not quite.** {mistake}")
        except Exception as error:
            kind = type(error).__name__
            return Verdict(False, f"**Not checked:** your answer led to `{kind}`: {error}")
        return Verdict(True, f"**Right.** {self.right}")


def require_answer(answer: object) -> None:
    """Raise `Unanswered` if the answer is a blank or a collection with one in it."""
    answer = plain(answer)
    if is_blank(answer):
        raise Unanswered
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, list | tuple | set):
        for part in answer:
            require_answer(part)


def require_count(answer: tuple, wanted: list[str]) -> None:
    """Raise `Mistake` unless as many values were handed in as are wanted."""
    if len(answer) == len(wanted):
        return
    message = f"Hand in {_values(len(wanted))}, `check({', '.join(wanted)})`, not {len(answer)}."
    if len(answer) > len(wanted) and all(type(part) is int for part in answer):
        message += " Write 4000 or 4_000, not 4,000: in Python a comma separates values."
    if len(wanted) == 1 < len(answer):
        message += " Numbers that belong together stand in parentheses: `check((a, b))`."
    raise Mistake(message)


def _values(count: int) -> str:
    return "one value" if count == 1 else f"{count} values"


def plain(answer: object) -> object:
    """An array or a tensor as Python's lists and numbers; anything else as it is."""
    if isinstance(answer, np.ndarray | np.generic | pd.Series | torch.Tensor):
        return answer.tolist()
    return answer


def is_blank(answer: object) -> bool:
    """Whether this is ____, or a text with one in it."""
    return isinstance(answer, Blank) or isinstance(answer, str) and "____" in answer
