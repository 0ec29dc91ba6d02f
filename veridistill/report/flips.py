"""Problems that training won and lost: each with a sample from before and one from after that show the difference.

A problem is won if the share of its graded samples that is right grew, and lost if it shrank. The samples shown are the
first wrong one before and the first right one after for a problem that is won, and the other way round for a lost one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from veridistill.data import tables
from veridistill.records import UNGRADED, Attempt, Problem

MOST = 100
"""Problems that are shown, won and lost together."""

Key = tuple[str, str]
"""(benchmark, problem_id)."""


@dataclass(slots=True)
class _Tally:
    """The graded samples of one problem: how many, and by index which were right and which wrong first."""

    graded: int = 0
    right: int = 0
    first_right: int | None = None
    first_wrong: int | None = None
    readable: bool = True

    @property
    def share(self) -> float:
        return self.right / self.graded


@dataclass(frozen=True, slots=True)
class Sample:
    """One attempt as it is shown."""

    index: int
    outcome: str
    answer: str | None
    response: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Flip:
    """A problem with a sample of each exam; the shares of right samples go from 0 to 1."""

    benchmark: str
    problem_id: str
    question: str
    reference: str
    before: float
    after: float
    old: Sample
    new: Sample

    @property
    def won(self) -> bool:
        return self.after > self.before


@dataclass(frozen=True, slots=True)
class Flips:
    """`won`, `lost`, `even` count all problems with graded samples in both exams; `shown` has the largest changes."""

    won: int
    lost: int
    even: int
    shown: tuple[Flip, ...]


def flips(base: Path, later: Path, problems_of: Path, most: int = MOST) -> Flips:
    """From the tables of the exams before and after, and of their problems."""
    paths = base, later
    old, new = map(_tallies, paths)
    moved = {key: new[key].share - old[key].share for key in old if key in new}
    won, lost = ([key for key, by in moved.items() if by * sign > 0] for sign in (1, -1))
    chosen = _largest(moved, won, lost, most)
    before = _samples(paths[0], {k: _of(old[k], right=moved[k] < 0) for k in chosen})
    after = _samples(paths[1], {k: _of(new[k], right=moved[k] > 0) for k in chosen})
    problems = _problems(problems_of, chosen)
    shown = []
    for key in chosen:
        problem, first, second = problems.get(key), before.get(key), after.get(key)
        if problem and first and second:
            texts, shares = (problem.question, problem.reference), (old[key].share, new[key].share)
            shown.append(Flip(*key, *texts, *shares, first, second))
    return Flips(len(won), len(lost), len(moved) - len(won) - len(lost), tuple(shown))


def _largest(moved: Mapping[Key, float], won: list[Key], lost: list[Key], most: int) -> list[Key]:
    """The largest changes; half of them won and half lost if there are as many of each."""
    won, lost = (sorted(keys, key=lambda key: -abs(moved[key])) for keys in (won, lost))
    num_lost = min(len(lost), max(most // 2, most - len(won)))
    return won[: most - num_lost] + lost[:num_lost]


def _tallies(path: Path) -> dict[Key, _Tally]:
    found: dict[Key, _Tally] = {}
    columns = ("benchmark", "problem_id", "index", "outcome")
    for benchmark, problem_id, index, outcome in tables.ATTEMPTS.values(path, *columns):
        tally = found.setdefault((benchmark, problem_id), _Tally())
        tally.readable &= outcome != "unreadable_reference"
        if outcome in UNGRADED:
            continue
        tally.graded += 1
        tally.right += outcome == "pass"
        if outcome == "pass":
            tally.first_right = index if tally.first_right is None else min(index, tally.first_right)
        else:
            tally.first_wrong = index if tally.first_wrong is None else min(index, tally.first_wrong)
    return {key: tally for key, tally in found.items() if tally.graded and tally.readable}


def _of(tally: _Tally, right: bool) -> int:
    """The index of the sample to show; a problem that flips always has the one that is asked for."""
    found = tally.first_right if right else tally.first_wrong
    assert found is not None
    return found


def _samples(path: Path, wanted: Mapping[Key, int]) -> dict[Key, Sample]:
    return {
        (row.benchmark, row.problem_id): Sample(
            row.index, row.outcome, row.answer, row.response, row.completion_tokens
        )
        for row in _attempts(path, wanted)
        if wanted.get((row.benchmark, row.problem_id)) == row.index
    }


def _attempts(path: Path, wanted: Mapping[Key, int]) -> Iterator[Attempt]:
    return tables.ATTEMPTS.where(path, "problem_id", {problem_id for _, problem_id in wanted})


def _problems(path: Path, wanted: list[Key]) -> dict[Key, Problem]:
    ids, keys = {problem_id for _, problem_id in wanted}, set(wanted)
    rows = tables.PROBLEMS.where(path, "problem_id", ids, without=["tests"])
    return {(row.benchmark, row.problem_id): row for row in rows if (row.benchmark, row.problem_id) in keys}
