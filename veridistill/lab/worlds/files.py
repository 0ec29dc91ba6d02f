"""A world's questions as files: seeds without answers, and an exam with references."""

import json
from collections.abc import Iterable
from pathlib import Path

from veridistill.data.rundir import write_atomically
from veridistill.domains.options import with_options
from veridistill.lab.worlds.world import AnyWorld, Task
from veridistill.records import Problem

NUM_SEEDS = 1500
NUM_PROBLEMS = 300


def seeds_file(world: AnyWorld, run_dir: Path, limit: int | None = None) -> Path:
    """Write a world's seed questions, `limit` or `NUM_SEEDS` of them; the same file for the same number.

    The file does not depend on the run seed: runs that differ only in it sample other candidates for the same
    questions.
    """
    path = run_dir / "lab" / "seeds.jsonl"
    write_seeds(path, world.take(limit or NUM_SEEDS, 0, "hard", "seeds"))
    return path


def exam_file(world: AnyWorld, run_dir: Path, limit: int | None = None) -> Path:
    """Write a world's exam, `limit` or `NUM_PROBLEMS` problems; the same file for the same number."""
    path = run_dir / "lab" / "exam.jsonl"
    write_exam(path, world.take(limit or NUM_PROBLEMS, 0, "hard", "exam"))
    return path


def write_seeds(path: Path, tasks: Iterable[Task]) -> None:
    """JSONL with `id` and `question`; no answers."""
    _write_rows(path, ({"id": f"lab-{i}", "question": task.question} for i, task in enumerate(tasks)))


def write_exam(path: Path, tasks: Iterable[Task]) -> None:
    """JSONL of problems as `evaluation.problems` reads them."""
    _write_rows(path, ({"id": f"exam-{i}", **_row(task.problem)} for i, task in enumerate(tasks)))


def _row(problem: Problem) -> dict[str, object]:
    """The reader adds the options below the question itself."""
    question = (
        problem.question.removesuffix(with_options("", problem.options))
        if problem.options
        else problem.question
    )
    row: dict[str, object] = {"kind": problem.kind, "question": question}
    if problem.kind == "code":
        return row | {"tests": json.loads(problem.tests)}
    if problem.options:
        row["choices"] = problem.options
    return row | {"answer": problem.reference}


def _write_rows(path: Path, rows: Iterable[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
