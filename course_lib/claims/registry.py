"""What was written down of a claim before it was confirmed, and how often it was replicated."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

REGISTERED = Path(__file__).parent / "registered"  # one file a lesson
REPLICATIONS = Path("results", "replication.csv")  # beside the lessons, where they are executed


@dataclass(frozen=True)
class Registration:
    """A claim as it was registered.

    Attributes:
        sentence: word for word as in the lesson.
        kind: "learning" for what is replicated on other seeds and splits, "timing" for what
            depends on the machine, "exact" for what does not vary.
        conditions: data, network, optimizer, rate, what was held equal.
        rival: the explanation that the evidence tells it from.
        margin: how large a difference counts, and why; "" where only its sign is claimed.
        belief: who says so, or the contrary.
        chosen_on: the seeds on which sizes, rates and wording were chosen.
    """

    sentence: str
    kind: str
    conditions: str
    rival: str
    chosen_on: str
    margin: str = ""
    belief: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("learning", "timing", "exact"):
            raise ValueError(f'kind={self.kind!r} must be "learning", "timing" or "exact"')


@cache
def registrations(lesson: int) -> dict[str, Registration]:
    """The registered claims of a lesson by their numbers, in reading order."""
    path = REGISTERED / f"lesson_{lesson:02}.toml"
    if not path.exists():
        return {}
    claims = tomllib.loads(path.read_text(encoding="utf-8"))
    return {number: Registration(**fields) for number, fields in claims.items()}


def registered(number: str) -> Registration | None:
    """The registration of a claim such as "3.2"; None where there is none."""
    lesson, _, _ = number.partition(".")
    return registrations(int(lesson)).get(number)


def replicated(number: str) -> str:
    """In how many replications a claim held, such as "20 of 20"; "" where there are none."""
    if not REPLICATIONS.exists():
        return ""
    table = pd.read_csv(REPLICATIONS, comment="#", dtype={"claim": str})
    held = table.held[table.claim == number]
    return f"{held.sum()} of {len(held)}" if len(held) else ""
