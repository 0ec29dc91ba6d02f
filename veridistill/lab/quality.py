"""How many of a build's candidates, and of its accepted ones, are right by the world's answers.

For benchmarks and tests: what is measured here goes into reports, never back into a run. Asking lazily changes no
verdict, but it judges fewer candidates of easy questions, so the figures over all judged candidates come with those
over candidate 0, which every question has.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from veridistill.data.tables import CANDIDATES, SEEDS, CandidateRow
from veridistill.grading.graders import Graders
from veridistill.lab.worlds import task_of


@dataclass(frozen=True, slots=True)
class Rates:
    """Counts of candidates, and the shares that follow from them (0 to 1; None where nothing was counted)."""

    candidates: int
    right: int
    accepted: int
    accepted_right: int

    @property
    def share_right(self) -> float | None:
        return _share(self.right, self.candidates)

    @property
    def precision(self) -> float | None:
        """Share of the accepted candidates that are right."""
        return _share(self.accepted_right, self.accepted)

    @property
    def recall(self) -> float | None:
        """Share of the right candidates that are accepted."""
        return _share(self.accepted_right, self.right)

    def summary(self) -> dict[str, float | int | None]:
        shares = {name: getattr(self, name) for name in ("share_right", "precision", "recall")}
        counts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return counts | {name: None if value is None else round(value, 4) for name, value in shares.items()}


@dataclass(frozen=True, slots=True)
class Quality:
    """`judged`: all candidates in the table; `first`: those of index 0. `ended_by`: how many right and wrong candidates
    each stage or defect rejected.
    """

    judged: Rates
    first: Rates
    ended_by: dict[str, dict[str, int]]


async def of_build(folder: Path, graders: Graders) -> Quality:
    """From the tables `seeds.parquet` and `candidates.parquet` of a round on the lab's questions."""
    questions = {seed.seed_id: seed.question for seed in SEEDS.read(folder / "seeds.parquet")}
    return await of_candidates(questions, CANDIDATES.read(folder / "candidates.parquet"), graders)


async def of_candidates(
    questions: Mapping[str, str], candidates: Iterable[CandidateRow], graders: Graders
) -> Quality:
    """`questions`: their texts by seed id."""
    known = [(one, await is_right(questions[one.seed_id], one.answer, graders)) for one in candidates]
    ended: dict[str, Counter[str]] = {}
    for one, right in known:
        if one.rejected_by is not None:
            ended.setdefault(one.rejected_by, Counter())["right" if right else "wrong"] += 1
    return Quality(
        judged=_rates(known),
        first=_rates([(one, right) for one, right in known if one.index == 0]),
        ended_by={name: {"right": by["right"], "wrong": by["wrong"]} for name, by in sorted(ended.items())},
    )


async def is_right(question: str, text: str, graders: Graders) -> bool:
    """Whether a candidate's text answers a world's question rightly, as an exam would grade it.

    Raises ValueError for a question of no world, and `ConfigError` for a program that `graders` may not run.
    """
    task = task_of(question)
    if task is None:
        raise ValueError(f"not a question of the lab: {question!r}")
    return (await graders.grade(task.problem, text)).correct is True


def _rates(known: list[tuple[CandidateRow, bool]]) -> Rates:
    accepted = [right for one, right in known if one.outcome == "accepted"]
    return Rates(len(known), sum(right for _, right in known), len(accepted), sum(accepted))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
