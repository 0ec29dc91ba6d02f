"""The problems of an exam, as entries of an index: with the attempts before training, after it, or both."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from veridistill.data.tables import ATTEMPTS, PROBLEMS
from veridistill.decide import split
from veridistill.records import UNGRADED
from veridistill.view.items import QUESTION, SLOTS, Item, Score, Text, flip, head

WHICH = ("base", "after")
Key = tuple[str, str]


@dataclass
class _Met:
    """The attempts of a problem in one exam: runs of rows (first, number), and the score."""

    rows: list[list[int]] = field(default_factory=list)
    right: int = 0
    graded: int = 0


def key_of(benchmark: str, problem_id: str) -> str:
    return f"{benchmark}/{problem_id}"


def entries(files: tuple[Path, ...]) -> Iterator[Item]:
    """One for each problem that was asked. `place` has its row among the problems, and its attempts' by exam."""
    exams = {which: _attempts(path) for which, path in by_which(files).items()}
    known: set[Key] = set()
    no = 0
    for name, path in ((str(number), path) for number, path in enumerate(problem_files(files))):
        for row, (benchmark, problem_id, question, domain) in enumerate(
            PROBLEMS.values(path, "benchmark", "problem_id", "question", "domain")
        ):
            key = (benchmark, problem_id)
            met = {which: exam[key] for which, exam in exams.items() if key in exam}
            if key in known or not met:
                continue
            known.add(key)
            no += 1
            scores = {which: Score(one.right, one.graded) for which, one in met.items()}
            moved = flip(scores.get("base"), scores.get("after"))
            facets = [f"benchmark:{benchmark}", f"domain:{domain}"]
            facets += [f"{which}:{score.word}" for which, score in scores.items()]
            facets += [f"flip:{moved}"] if moved else []
            yield Item(
                no,
                key_of(*key),
                head(question),
                {
                    "benchmark": benchmark,
                    "flip": moved,
                    "scores": {which: [score.right, score.graded] for which, score in scores.items()},
                },
                {"problem": [int(name), row], **{which: one.rows for which, one in met.items()}},
                tuple(facets),
            )


def texts(files: tuple[Path, ...], numbers: dict[str, int]) -> Iterator[Text]:
    """All that is searched: problems, and what each attempt answers after its reasoning. `numbers`: by key."""
    told: set[str] = set()
    for path in problem_files(files):
        for benchmark, problem_id, question in PROBLEMS.values(path, "benchmark", "problem_id", "question"):
            key = key_of(benchmark, problem_id)
            if key in numbers and key not in told:
                told.add(key)
                yield Text(numbers[key], QUESTION, question)
    for which, path in by_which(files).items():
        first = 1 + WHICH.index(which) * SLOTS // 2
        for benchmark, problem_id, index, response in ATTEMPTS.values(
            path, "benchmark", "problem_id", "index", "response"
        ):
            no = numbers.get(key_of(benchmark, problem_id))
            if no is not None and index < SLOTS // 2 - 1:
                yield Text(no, first + index, split(response).answer)


def by_which(files: tuple[Path, ...]) -> dict[str, Path]:
    """The exams among the files of a list."""
    return {which: path for which in WHICH for path in files if path.name == f"exam_{which}.parquet"}


def problem_files(files: tuple[Path, ...]) -> list[Path]:
    return [path for path in files if path.name == "problems.parquet"]


def problem(files: tuple[Path, ...], number: int) -> Path:
    return problem_files(files)[number]


def _attempts(path: Path) -> dict[Key, _Met]:
    found: dict[Key, _Met] = defaultdict(_Met)
    last: Key | None = None
    for row, (benchmark, problem_id, outcome) in enumerate(
        ATTEMPTS.values(path, "benchmark", "problem_id", "outcome")
    ):
        key = (benchmark, problem_id)
        met = found[key]
        if key == last:
            met.rows[-1][1] += 1
        else:
            met.rows.append([row, 1])
        last = key
        met.graded += outcome not in UNGRADED
        met.right += outcome == "pass"
    return dict(found)
