"""How the report reads and writes single values: parts of `results.json` that may be missing, numbers as text, tables.

Pure; escaping is the page's. `exams`, `builds` and `about` make the report's words and tables of these.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Results = Mapping[str, Any]

NONE = "–"
PERCENT = "\N{NO-BREAK SPACE}%"
_LABELS = {
    "exam_base": "exam before",
    "exam_after": "exam after",
}


class Item(NamedTuple):
    """A labelled value."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text: the first column heads its row, the others are figures. `total` is the last row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] = ()
    note: str = ""


def part(results: Any, *path: str) -> Any:
    """The value at a path of keys, or None where any of them is missing."""
    for key in path:
        results = results.get(key) if isinstance(results, Mapping) else None
    return results


def latest_round(results: Results) -> Any:
    """The last entry of `rounds`, or None."""
    rounds = part(results, "rounds")
    return rounds[-1] if isinstance(rounds, list | tuple) and rounds else None


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def decimal(value: float) -> str:
    return f"{value:.1f}".replace("-", "\N{MINUS SIGN}")


def count(value: Any) -> str:
    found = number(value)
    return NONE if found is None else f"{round(found):,}"


def share(value: float, whole: float) -> str:
    """A part of a whole in percent, with a decimal where rounding would say 0 or 100 and mean neither."""
    if not whole:
        return NONE
    percent = 100 * value / whole
    rounded = round(percent)
    return f"{percent:.1f}{PERCENT}" if rounded in (0, 100) and percent != rounded else f"{rounded}{PERCENT}"


def rate(value: Any) -> str:
    found = number(value)
    return NONE if found is None else share(found, 1)


def between(ends: Any) -> str:
    low, high = number(part(ends, "low")), number(part(ends, "high"))
    return NONE if low is None or high is None else f"{share(low, 1)} to {share(high, 1)}"


def duration(seconds: Any) -> str:
    """Seconds for people: "0.4 s", "12 s", "4 min 10 s", "3 h 05 min"."""
    found = number(seconds)
    if found is None or found < 0:
        return NONE
    if found < 9.95:
        return f"{found:.1f} s"
    whole = round(found)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def label(name: str) -> str:
    """A key of the results as words."""
    return _LABELS.get(name, name.replace("_", " "))


def pairs(value: Any) -> list[tuple[str, Any]]:
    return [(str(name), inner) for name, inner in value.items()] if isinstance(value, Mapping) else []
