"""What a run reads: its seed questions and the problems of its exam, loaded and validated.

The lab writes its own files into the run directory first.
"""

from collections.abc import Iterator
from pathlib import Path

from veridistill.config import EvaluationSection
from veridistill.data import seeds
from veridistill.data.overlap import audit_lines
from veridistill.data.overlap.contamination import Item
from veridistill.data.rundir import RunDir, write_atomically
from veridistill.domains.options import with_options
from veridistill.evaluation import benchmarks, intervals
from veridistill.evaluation.benchmarks.question import without_code
from veridistill.lab.worlds import EQUATIONS, files
from veridistill.records import Problem


def questions(run: RunDir) -> seeds.Seeds:
    """The seed questions; those that overlap with benchmarks or one another are written to `overlaps.jsonl`."""
    section = run.config.seeds
    if section.path == ("lab",):
        path = files.seeds_file(EQUATIONS, run.path, section.limit)
        section = section.model_copy(update={"path": (str(path),), "id": "id"})
    found = seeds.load(section, _items(section.decontaminate, run.config.evaluation))
    if section.decontaminate or section.near_duplicates is not None:
        write_atomically(run.overlaps, audit_lines(found.overlaps))
    return found


def _items(names: tuple[str, ...], section: EvaluationSection) -> Iterator[Item]:
    """The questions that must not be among the seeds: of benchmarks, by name, and of files of problems."""
    for name in names:
        own = name not in benchmarks.NAMES and (Path(name).suffix or Path(name).is_file())
        found = benchmarks.load(Path(name)) if own else benchmarks.named(name, section.preset, section.data)
        for problem in found:
            yield problem.benchmark, problem.problem_id, problem.question
            # A copy may leave them out.
            stem = without_code(problem.question.removesuffix(with_options("", problem.options)))
            if stem != problem.question:
                yield problem.benchmark, problem.problem_id, stem


def problems(run: RunDir) -> list[Problem]:
    """The exam, or nothing. Raises `MissingExtra` when there is one and its statistics lack scipy."""
    section = run.config.evaluation
    if section.problems == "lab":
        section = section.model_copy(
            update={"problems": str(files.exam_file(EQUATIONS, run.path, section.limit))}
        )
    if chosen := benchmarks.selected(section):
        intervals.check()
    return chosen
