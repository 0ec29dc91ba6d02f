"""The exams of two runs: problems that both were asked, won and lost, and the paired difference in accuracy.

A problem is the same if its benchmark, id, text, options and reference are, and how it is graded. The models before
training are compared with each other, and those after; where only one run has a model after training, that is
compared with the other's before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from veridistill.data import tables
from veridistill.evaluation import paired, statistics
from veridistill.evaluation.statistics import Question
from veridistill.records import Attempt, Problem
from veridistill.runs.diff import sides
from veridistill.runs.diff.sides import Found

Which = Literal["base", "after"]
DRAWS = 2_000
"""Of the bootstrap, which stands beside the headline interval here and need not be finer."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A problem that one model solves more often: the percentage of right samples of each."""

    benchmark: str
    problem_id: str
    question: str
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class Exams:
    """Two exams. `won`, `lost`, `even`: problems that B's model solves more often than A's, less often, as often.

    Problems that one exam alone has are counted, and those of which both have the id and not the text (`changed`).
    `difference` is B minus A over all common problems, in points, as `evaluation.paired` has it. `flips` lists some won
    and some lost problems, the largest differences first.
    """

    a: Which
    b: Which
    common: int
    in_a_only: int
    in_b_only: int
    changed: int
    won: int
    lost: int
    even: int
    difference: Mapping[str, Any] | None
    benchmarks: Mapping[str, Mapping[str, Any] | None]
    flips: Mapping[str, tuple[Flip, ...]]


@dataclass(frozen=True, slots=True)
class _Exam:
    """One exam: the problems that it has attempts at, and these."""

    which: Which
    problems: Mapping[Question, Problem]
    attempts: list[Attempt]


def compare(a: Found, b: Found, shown: int) -> tuple[Exams, ...]:
    """The pairs of exams that there are; `shown` limits the problems listed as won and as lost."""
    return tuple(_compare(_exam(a, one), _exam(b, other), shown) for one, other in _pairs(a, b))


def _pairs(a: Found, b: Found) -> Iterator[tuple[Which, Which]]:
    names: tuple[Which, Which] = ("base", "after")
    first, second = ([which for which in names if sides.exam(side, which)] for side in (a, b))
    yield from ((which, which) for which in names if which in first and which in second)
    if first and second and first[-1] != second[-1]:
        yield first[-1], second[-1]


def _exam(found: Found, which: Which) -> _Exam:
    folder = sides.exam(found, which)
    assert folder is not None
    attempts = list(tables.ATTEMPTS.read(folder.tables / f"exam_{which}.parquet", without=["response"]))
    asked = statistics.by_question(attempts).keys()
    problems = tables.PROBLEMS.read(folder.tables / "problems.parquet", without=["tests"])
    known = {(problem.benchmark, problem.problem_id): problem for problem in problems}
    return _Exam(which, {question: known[question] for question in asked if question in known}, attempts)


def _compare(a: _Exam, b: _Exam, shown: int) -> Exams:
    in_both = a.problems.keys() & b.problems.keys()
    common = {question for question in in_both if a.problems[question] == b.problems[question]}
    before, after = ([one for one in exam.attempts if _of(one) in common] for exam in (a, b))
    found = paired.compare(before, after, draws=DRAWS) if common else None
    old, new = statistics.question_means(before), statistics.question_means(after)
    moved = {q: new[q] - old[q] for q in a.problems if q in old and q in new}
    won, lost = [q for q in moved if moved[q] > 0], [q for q in moved if moved[q] < 0]

    def listed(questions: list[Question]) -> tuple[Flip, ...]:
        largest = sorted(questions, key=lambda q: -abs(moved[q]))[:shown]
        return tuple(Flip(*q, a.problems[q].question, 100 * old[q], 100 * new[q]) for q in largest)

    return Exams(
        a=a.which,
        b=b.which,
        common=len(common),
        in_a_only=len(a.problems) - len(in_both),
        in_b_only=len(b.problems) - len(in_both),
        changed=len(in_both) - len(common),
        won=len(won),
        lost=len(lost),
        even=len(moved) - len(won) - len(lost),
        difference=asdict(found.pooled) if found and found.pooled else None,
        benchmarks={name: asdict(one) if one else None for name, one in found.benchmarks.items()}
        if found
        else {},
        flips={"won": listed(won), "lost": listed(lost)},
    )


def _of(attempt: Attempt) -> Question:
    return attempt.benchmark, attempt.problem_id
