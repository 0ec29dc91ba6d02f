"""How answers changed besides being right or wrong: their length, and how much the samples of a problem differ.

A model trained on its own first valid answers may become shorter, and may say the same thing each time. Lengths are of
all samples; likeness is measured on at most `MOST_PROBLEMS` problems, the same ones before and after.
"""

import hashlib
import heapq
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from statistics import fmean, median

from veridistill.data import tables
from veridistill.report import charts
from veridistill.report.charts import Line
from veridistill.report.svg import ticks
from veridistill.report.values import NONE, Table, count, decimal, share

MOST_PROBLEMS = 200
_LONGEST = 20_000
_GRAM = 3


@dataclass(frozen=True, slots=True)
class Side:
    """One exam. `lengths`: completion tokens of each sample. The shares go from 0 to 1, None with one sample a problem.

    `distinct`: different final answers among a problem's samples; `overlap`: word triples that two samples of a problem
    share, of those that either has.
    """

    lengths: Sequence[int]
    distinct: float | None
    overlap: float | None
    problems: int


@dataclass(frozen=True, slots=True)
class Drift:
    before: Side
    after: Side


def drift(base: Path, later: Path, problems_of: Path) -> Drift | None:
    """From the tables of the exams before and after; None unless both have samples."""
    compared = _chosen(problems_of)
    before, after = _side(base, compared), _side(later, compared)
    return Drift(before, after) if before.lengths and after.lengths else None


def _chosen(path: Path) -> set[str]:
    """The ids of some problems, by hash, so that both exams are compared on the same."""
    ids = {problem_id for (problem_id,) in tables.PROBLEMS.values(path, "problem_id")}
    return set(heapq.nsmallest(MOST_PROBLEMS, ids, key=_hash))


def _hash(problem_id: str) -> bytes:
    return hashlib.blake2b(problem_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _side(path: Path, compared: set[str]) -> Side:
    lengths = array("i", (tokens for (tokens,) in tables.ATTEMPTS.values(path, "completion_tokens")))
    distinct: list[float] = []
    overlaps: list[float] = []
    for answers, texts in _problems(path, compared):
        if len(texts) > 1:
            distinct.append(len(set(answers)) / len(answers))
            overlaps.append(fmean(overlap(one, other) for one, other in pairwise(texts)))
    return Side(lengths, _mean(distinct), _mean(overlaps), len(distinct))


def _problems(path: Path, compared: set[str]) -> Iterator[tuple[list[str | None], list[str]]]:
    """Final answers and replies of the samples of each problem; the table has a problem's samples together."""
    rows = tables.ATTEMPTS.where(path, "problem_id", compared)
    for _, samples in groupby(rows, key=lambda row: (row.benchmark, row.problem_id)):
        found = [(sample.answer, sample.response[:_LONGEST]) for sample in samples]
        yield [answer for answer, _ in found], [text for _, text in found]


def overlap(one: str, other: str) -> float:
    """Word triples in both, of those in either: 1 for equal texts."""
    first, second = _grams(one), _grams(other)
    return len(first & second) / len(first | second) if first | second else 1.0


def _grams(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[at : at + _GRAM]) for at in range(max(1, len(words) - _GRAM + 1))}


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


# --- as the page shows it ----------------------------------------------------------------------------------------


def table(found: Drift) -> Table:
    sides = (found.before, found.after)
    rows = [
        ("mean tokens of an answer", *(decimal(fmean(side.lengths)) for side in sides)),
        ("median tokens", *(count(median(side.lengths)) for side in sides)),
        ("longest, tokens", *(count(max(side.lengths)) for side in sides)),
    ]
    if found.before.distinct is not None or found.after.distinct is not None:
        rows += [
            ("distinct final answers of a problem’s samples", *(_share(side.distinct) for side in sides)),
            ("word triples that two samples share", *(_share(side.overlap) for side in sides)),
        ]
    note = (
        f"Lengths of {count(len(found.before.lengths))} and {count(len(found.after.lengths))} samples; the last two"
        f" rows are means over {count(found.before.problems)} problems. Fewer distinct answers and more shared"
        " words mean that the model says the same thing more often."
    )
    return Table(
        "Answers before and after", ("", "before", "after"), tuple(rows), note=note if len(rows) > 3 else ""
    )


def _share(value: float | None) -> str:
    return NONE if value is None else share(value, 1)


def lengths_chart(found: Drift) -> str:
    """Both histograms of lengths over one axis, as shares of each exam's samples."""
    before, after = found.before.lengths, found.after.lengths
    low, high = (
        min(_quantile(side, 0.01) for side in (before, after)),
        max(_quantile(side, 0.99) for side in (before, after)),
    )
    edges = ticks(float(low) if low > high / 3 else 0.0, float(max(high, 1)), 24)
    series = [
        Line("before", "before", charts.steps(edges, _shares(before, edges))),
        Line("after", "after", charts.steps(edges, _shares(after, edges))),
    ]
    return charts.lines("Lengths of answers", "tokens of an answer", series, from_zero=True)


def _quantile(values: Iterable[int], at: float) -> int:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(at * len(ordered)))]


def _shares(values: Sequence[int], edges: Sequence[float]) -> list[float]:
    """Percent of the values in each interval; what lies beyond the edges counts in the first or the last one."""
    counts, width = [0] * (len(edges) - 1), edges[1] - edges[0]
    for value in values:
        counts[min(max(int((value - edges[0]) / width), 0), len(counts) - 1)] += 1
    return [100 * num / len(values) for num in counts]
