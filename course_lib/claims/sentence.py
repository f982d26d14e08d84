"""Claims: sentences of a lesson that a measurement on this machine decides."""

import os
import re
from dataclasses import asdict, dataclass
from functools import cached_property

from IPython.display import display

from course_lib.claims.evidence import MIN_SEEDS, Evidence
from course_lib.claims.registry import Registration, registered, replicated


class ClaimError(AssertionError):
    """A claim that does not hold, where lessons are validated."""


@dataclass(frozen=True)
class Claim:
    """A claim as it is shown; its fields are also published as JSON for other programs."""

    number: str
    sentence: str
    evidence: Evidence

    @property
    def holds(self) -> bool:
        return self.evidence.holds and self.evidence.enough

    @property
    def verdict(self) -> str:
        """How often it was replicated, or what is wrong with it here."""
        if not self.evidence.enough:
            return f"too few repetitions to tell: {self.evidence.repetitions}, not {MIN_SEEDS}"
        if not self.evidence.holds:
            return "does not hold here"
        again = replicated(self.number)
        return f"replicated {again}" if again else ""

    @cached_property  # the replications are read once a claim
    def line(self) -> str:
        """All of it at a glance, as Markdown."""
        verdict = self.verdict if self.holds else f"**{self.verdict}**"
        parts = [f"**{self.number}** {self.sentence}.", self.evidence.shown, verdict]
        return " · ".join(part for part in parts if part)

    @property
    def folded(self) -> list[str]:
        """What stands behind the line: how it was decided, and what was registered."""
        registration = registered(self.number)
        if registration is None or registration.sentence != self.sentence:
            return [self.evidence.details]
        return [self.evidence.details, *_registered_lines(registration)]

    def __str__(self) -> str:
        return "\n    ".join([self.line.replace("**", ""), *self.folded])

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        rest = "\n".join(f"- {line}" for line in self.folded)
        fold = f"<details><summary>How this was decided</summary>\n\n{rest}\n\n</details>"
        return {
            "text/plain": str(self),
            "text/markdown": f"> {self.line}\n\n{fold}",
            "application/vnd.course.claim+json": {
                "number": self.number,
                "sentence": self.sentence,
                **asdict(self.evidence),
                "holds": self.holds,
            },
        }


class Lines(str):
    """Claims, one a line: a list in a notebook, plain text elsewhere."""

    def _repr_markdown_(self) -> str:
        return "\n".join(f"- {line}" for line in self.splitlines())

    def __repr__(self) -> str:
        return self.replace("**", "")


_shown: dict[str, Claim] = {}


def claim(number: str, sentence: str, evidence: Evidence) -> None:
    """Show a claim in one line, with the rest folded away.

    Where lessons are validated, with the environment variable COURSE_STRICT=1, a claim that does
    not hold stops the notebook. A learner who changes an experiment is told so, and goes on.

    Args:
        number: lesson and claim, such as "3.2".
        sentence: what is claimed, in one plain sentence.
        evidence: what `less`, `increasing`, `within`, `slope`, `beats` or `equal` returned.

    Raises:
        ClaimError: with COURSE_STRICT=1, if it does not hold or has too few repetitions.
        TypeError, ValueError: for arguments of another kind.
    """
    if not isinstance(number, str) or not re.fullmatch(r"\d+\.\d+", number):
        raise ValueError(f'number={number!r} must be lesson and claim as text, such as "3.2"')
    if not isinstance(sentence, str) or not sentence.strip(". "):
        raise ValueError(f"sentence={sentence!r} must say in words what claim {number} states")
    if not isinstance(evidence, Evidence):
        raise TypeError(f"evidence={evidence!r} of claim {number} must be Evidence, such as less()")
    shown = Claim(number, sentence.strip().rstrip("."), evidence)
    _shown[number] = shown
    display(shown)
    if os.environ.get("COURSE_STRICT") == "1" and not shown.holds:
        raise ClaimError(str(shown))


def measured() -> Lines:
    """The claims shown so far, one line each, in the order of their numbers."""
    return Lines("\n".join(claim.line for claim in shown()))


def shown() -> list[Claim]:
    """The claims shown so far, in the order of their numbers."""
    return sorted(_shown.values(), key=lambda c: [int(part) for part in c.number.split(".")])


def _registered_lines(registration: Registration) -> list[str]:
    fields = {
        "Conditions": registration.conditions,
        "Rival": registration.rival,
        "Margin": registration.margin,
        "Belief": registration.belief,
        "Chosen on": registration.chosen_on,
    }
    return [f"{title}: {text}" for title, text in fields.items() if text]
