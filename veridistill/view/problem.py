"""One problem of an exam in full: its question and reference, and each attempt before and after training."""

from collections.abc import Mapping
from dataclasses import dataclass

from veridistill.data.tables import ATTEMPTS, PROBLEMS
from veridistill.decide import Split, split
from veridistill.records import Attempt, Problem
from veridistill.view import exams
from veridistill.view.items import Item
from veridistill.view.question import Changed
from veridistill.view.rounds import Source

SHOWN = 64
"""Attempts of one exam on a page."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An attempt with its reply in two parts."""

    attempt: Attempt
    parts: Split


@dataclass(frozen=True, slots=True)
class Answered:
    """A problem with its samples by exam, `base` and `after`; `left_out` counts those that are not shown."""

    problem: Problem
    samples: Mapping[str, tuple[Sample, ...]]
    left_out: int


def read(source: Source, item: Item) -> Answered:
    """Raises `Changed` when the files were replaced, and `ConfigError` when one cannot be read."""
    number, row = item.place["problem"]
    found = list(PROBLEMS.slice(exams.problem(source.files, number), row, 1, without=["tests"]))
    if not found or exams.key_of(found[0].benchmark, found[0].problem_id) != item.key:
        raise Changed
    samples, left_out = {}, 0
    for which, path in exams.by_which(source.files).items():
        attempts: list[Attempt] = []
        for start, count in item.place.get(which, []):
            attempts += ATTEMPTS.slice(path, start, min(count, SHOWN - len(attempts)))
            left_out += count
        left_out -= len(attempts)
        if any(exams.key_of(one.benchmark, one.problem_id) != item.key for one in attempts):
            raise Changed
        samples[which] = tuple(Sample(one, split(one.response)) for one in attempts)
    return Answered(found[0], samples, left_out)
