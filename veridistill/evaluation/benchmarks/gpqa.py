"""GPQA Diamond: 198 graduate-level questions with four options, one right. Gated; not to be published.

The set stores the right answer first, so the options are shuffled. The place of the right one depends on the
record ids alone, never on the file's order, and every letter is right for a quarter of the set: a model that
always says D gets 25 %.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from veridistill.domains.options import LETTERS, with_options
from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.rows import Row, problems, read
from veridistill.records import Problem

_RIGHT = "Correct Answer"
_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def _read(benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
    def parse(row: Row) -> Problem:
        options = tuple(row.text(name) for name in (_RIGHT, *_WRONG))
        return Problem(
            row.text("Record ID"), benchmark.name, "choice", row.text("Question"), "A", "science", options
        )

    rows = read(paths, ("Record ID", "Question", _RIGHT, *_WRONG))
    unshuffled = problems(rows, benchmark, parse)
    places = right_places([problem.problem_id for problem in unshuffled], 1 + len(_WRONG))
    return [shuffled(problem, places[problem.problem_id]) for problem in unshuffled]


def right_places(record_ids: Iterable[str], num_options: int) -> dict[str, int]:
    """Where each record's right option stands: ids in the order of their hashes take the places in turn.

    So the numbers of any two letters differ by at most one, whatever the order in which ids are given.
    """
    ranked = sorted(record_ids, key=lambda one: (_hash(one), one))
    return {record_id: rank % num_options for rank, record_id in enumerate(ranked)}


def shuffled(problem: Problem, place: int) -> Problem:
    """A problem whose first option is right, with that option at `place` and the others by hash of id and text."""
    right, *wrong = problem.options
    wrong.sort(key=lambda option: _hash(f"{problem.problem_id}\0{option}"))
    options = (*wrong[:place], right, *wrong[place:])
    return replace(
        problem,
        question=with_options(problem.question, options),
        options=options,
        reference=LETTERS[place],
    )


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()


BENCHMARKS = (
    Benchmark(
        "gpqa_diamond",
        Source(
            "Idavidrein/gpqa",
            ("gpqa_diamond.csv",),
            "train",
            "CC BY 4.0",
            "633f5ee89ab8ad4522a9f850766b73f62147ffdd",
            gated=True,
        ),
        ("choice",),
        "science",
        198,
        _read,
        198,
    ),
)
