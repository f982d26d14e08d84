"""How numbers of evidence read: three digits, units, "never" for a target that was not reached."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from course_lib.claims import intervals

SHOWN_IN_FULL = 4  # longer comparisons are only counted
GROWS = ("", "nats")  # a loss that is infinite has diverged; a time that is has not come


def number(value: float) -> str:
    """Three digits, whole numbers in full."""
    if isinstance(value, int):
        return f"{value:,}"
    if np.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) >= 1000 or value == np.round(value):
        return f"{value + 0.0:,.0f}"  # turns -0 into 0
    return f"{value:.3g}"


def said(value: float, unit: str = "") -> str:
    """A number with its unit; shares in per cent."""
    if unit == "%":
        return f"{100 * value:.3g} %"
    if np.isinf(value) and unit not in GROWS:
        return "never" if value > 0 else "-∞"
    return f"{number(value)} {unit}".rstrip()


def effect(what: str, middle: float, least: float, most: float, unit: str) -> str:
    """An effect with its interval, such as "difference 7 epochs (95 % interval 5 to 9)"."""
    unit = {"ratio": "", "difference": unit}.get(what, unit)
    if unit == "%":
        middle, least, most = 100 * middle, 100 * least, 100 * most
        unit = "%" if what == "median" else "percentage points"
    end = f" {unit}" if unit else ""
    return f"{what} {number(middle)}{end} (95 % interval {number(least)} to {number(most)})"


def name(condition: object) -> str:
    """A condition as it is read: words as they are, numbers with commas."""
    return f"{condition:,}" if isinstance(condition, int | np.integer) else str(condition)


def medians(columns: Sequence[pd.Series], unit: str) -> str:
    """ "median 3.5 against 11 epochs", with the conditions where they have names of their own."""
    values = [said(_median(column), unit) for column in columns]
    names = [column.name for column in columns]
    if all(isinstance(each, str) for each in names):
        values = [f"{value} ({each})" for value, each in zip(values, names, strict=True)]
    else:
        values[0] = values[0].removesuffix(f" {unit}")
    return f"median {' against '.join(values)}"


def row_of_medians(table: pd.DataFrame, unit: str) -> str:
    """ "median 3.5, 11, 32 epochs (B = 16, 64, 256)"."""
    label = {"batch_size": "B = ", "lr": "rate "}.get(str(table.columns.name), "")
    values = [said(_median(table[condition]), unit) for condition in table]
    values = [value.removesuffix(f" {unit}") for value in values[:-1]] + values[-1:]
    return f"median {', '.join(values)} ({label}{', '.join(map(name, table))})"


def _median(column: pd.Series) -> float:
    return intervals.median(column.dropna().to_numpy(float)) if column.notna().any() else np.nan


def repeated(table: pd.DataFrame | pd.Series) -> str:
    """ "16 seeds"."""
    unit = str(table.index.name or "seed")
    return f"{len(table)} {unit}{'es' if unit.endswith('s') else 's'}"


def won(wins: int, table: pd.DataFrame | pd.Series, ties: int = 0, missing: int = 0) -> str:
    """ "15 of 16 seeds, 1 tie"."""
    text = f"{wins} of {repeated(table)}"
    if ties:
        text += f", {ties} tie" if ties == 1 else f", {ties} ties"
    return f"{text}, {missing} missing" if missing else text


def compared(a: np.ndarray, b: np.ndarray) -> str:
    """The numbers on both sides of an identity, or how many they are."""
    if a.size > SHOWN_IN_FULL:
        return f"{a.size:,} numbers agree" if (a == b).all() else f"{a.size:,} numbers compared"
    return f"{', '.join(map(number, a.flat))} against {', '.join(map(number, b.flat))}"
