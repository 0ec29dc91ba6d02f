"""What became of candidates, by place and by length: counted in one pass over the candidates' table, in flat memory."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from veridistill.report import charts
from veridistill.report.values import Results, count, label, number, pairs, part, share

OUTCOMES = ("accepted", "rejected", "malformed", "unjudged", "skipped")
_MOST_ROWS = 16
_MOST_LENGTHS = 12


@dataclass(frozen=True, slots=True)
class Row:
    """Candidates of one kind by outcome."""

    label: str
    outcomes: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.outcomes.values())

    @property
    def accepted(self) -> str:
        return share(self.outcomes.get("accepted", 0), self.total)

    @property
    def bar(self) -> str:
        return charts.bar(self.label, [(name, name, self.outcomes.get(name, 0)) for name in OUTCOMES])


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Candidates by their index within the question, and by the tokens of the reply."""

    by_index: tuple[Row, ...] = ()
    by_length: tuple[Row, ...] = ()


def breakdown(rows: Iterable[tuple[int, str, int]]) -> Breakdown:
    """`rows`: index, outcome and completion tokens of each candidate."""
    counted: Counter[tuple[int, str, int]] = Counter()
    for index, outcome, tokens in rows:
        counted[index, outcome, _octave(tokens)] += 1
    indices: dict[int, Counter[str]] = {}
    lengths: dict[int, Counter[str]] = {}
    for (index, outcome, place), num in counted.items():
        indices.setdefault(index, Counter())[outcome] += num
        lengths.setdefault(place, Counter())[outcome] += num
    first = sorted(indices)
    by_index = [Row(f"candidate {index}", indices[index]) for index in first[:_MOST_ROWS]]
    if first[_MOST_ROWS:]:
        rest: Counter[str] = sum((indices[index] for index in first[_MOST_ROWS:]), Counter())
        by_index.append(Row(f"candidates {first[_MOST_ROWS]} and later", rest))
    return Breakdown(tuple(by_index), _lengths(lengths))


def _octave(tokens: int) -> int:
    """Lengths in steps of a factor of the square root of 2: 0 for none, then 1 for one token."""
    return int(2 * math.log2(tokens) + 1e-9) + 1 if tokens > 0 else 0


def _lengths(found: Mapping[int, Counter[str]]) -> tuple[Row, ...]:
    """In half octaves, or in whole ones where that makes too many rows."""
    width = 1 if len(found) <= _MOST_LENGTHS else 2
    merged: dict[int, Counter[str]] = {}
    for place, counts in sorted(found.items()):
        merged.setdefault((place + width - 1) // width, Counter()).update(counts)
    return tuple(Row(_tokens(place, width), counts) for place, counts in merged.items())


def _tokens(place: int, width: int) -> str:
    if place == 0:
        return "no token"
    low, high = (math.ceil(2 ** ((place - 1 + more) * width / 2) - 1e-9) for more in (0, 1))
    return (
        f"{low:,} to {high - 1:,} tokens" if high - 1 > low else f"{low:,} tokens" if low > 1 else "1 token"
    )


def by_domain(results: Results) -> tuple[Row, ...]:
    """From the results; empty where there is one domain."""
    found = pairs(part(results, "domains"))
    rows = tuple(Row(label(name), _outcomes(part(one, "outcomes"))) for name, one in found)
    return rows if len(rows) > 1 else ()


def _outcomes(found: Any) -> dict[str, int]:
    return {name: round(number(value) or 0) for name, value in pairs(found)}


def legend(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """The outcomes that occur, each with how often."""
    total: Counter[str] = sum((Counter(row.outcomes) for row in rows), Counter())
    return [(name, count(total[name])) for name in OUTCOMES if total[name]]
