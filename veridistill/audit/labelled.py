"""The candidates of a run that are labelled right or wrong, with the votes that were cast on them.

Only well-formed candidates of questions that were asked exhaustively: where votes stop early, a late vote is cast only
on candidates that passed all earlier ones. `judges` measures the judges with them.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from dataclasses import dataclass, field

from veridistill.audit.labels import Labels
from veridistill.calls.ask import audited
from veridistill.data.rundir import RoundDir, RunDir
from veridistill.data.tables import CANDIDATES, SEEDS, VOTES, CandidateRow
from veridistill.domains import DOMAINS
from veridistill.errors import ConfigError
from veridistill.evaluation import ttc
from veridistill.grading.graders import Graders
from veridistill.records import Problem, Seed

_TOGETHER = 256
"""Number of candidates graded in parallel."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A well-formed candidate known to be right or wrong; `votes`: by stage, in order, whether each was yes.

    `agrees`: whether its answer is the commonest of its question's candidates, and another has it too; None where
    answers are programs.
    """

    seed_id: str
    index: int
    right: bool
    votes: dict[str, tuple[bool, ...]]
    agrees: bool | None = None


@dataclass
class Counts:
    """What was labelled, and how much of it can be used.

    Questions: labelled; of these not in the run, asked lazily, and used. Candidates of usable questions: labels without
    a candidate, candidates without a label, not graded, malformed (and of these right), and used (and of these right).
    """

    labelled_questions: int = 0
    unknown_questions: int = 0
    lazy_questions: int = 0
    questions: int = 0
    unknown_candidates: int = 0
    unlabelled: int = 0
    ungraded: int = 0
    malformed: int = 0
    malformed_right: int = 0
    candidates: int = 0
    right: int = 0


@dataclass
class Known:
    """The well-formed candidates whose rightness is known, and the counts."""

    judged: list[Judged] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)


def folder(run: RunDir, number: int | None) -> RoundDir:
    """A round's directory; without a number, the last round that was built. Raises `ConfigError` when none was."""
    numbers = [number] if number else range(run.config.rounds, 0, -1)
    for one in numbers:
        if (run.round(one).tables / "votes.parquet").is_file():
            return run.round(one)
    raise ConfigError(f"{run.path}: has not been built to its end; run: veridistill build --out {run.path}")


async def known_candidates(run: RunDir, folder: RoundDir, labels: Labels, graders: Graders) -> Known:
    """Raises `ConfigError` when votes are missing of a question that was to be asked exhaustively."""
    seeds = {seed.seed_id: seed for seed in SEEDS.read(folder.tables / "seeds.parquet")}
    usable = {seed_id for seed_id in labels.questions & seeds.keys() if asked_exhaustively(run, seed_id)}
    votes = _votes(folder, usable)
    known = Known()
    counts = known.counts
    counts.labelled_questions = len(labels.questions)
    counts.unknown_questions = len(labels.questions - seeds.keys())
    counts.lazy_questions = len(labels.questions & seeds.keys()) - len(usable)
    met: set[tuple[str, int]] = set()
    commonest = _commonest(folder, labels, seeds, usable)
    async for row, right in _graded(folder, labels, seeds, usable, graders):
        key = (row.seed_id, row.index)
        met.add(key)
        cast = votes.get(key, {})
        if row.outcome == "malformed":
            counts.malformed += 1
            counts.malformed_right += right is True
        elif right is None:
            labelled = key in labels.candidates or row.seed_id in labels.references
            counts.ungraded += labelled
            counts.unlabelled += not labelled
        else:
            _check_complete(run, row, cast)
            agrees = key in commonest if seeds[row.seed_id].domain != "code" else None
            known.judged.append(Judged(*key, right, cast, agrees))
    counts.unknown_candidates = sum(key[0] in usable and key not in met for key in labels.candidates)
    counts.candidates = len(known.judged)
    counts.right = sum(one.right for one in known.judged)
    counts.questions = len({one.seed_id for one in known.judged})
    return known


def asked_exhaustively(run: RunDir, seed_id: str) -> bool:
    """Whether a question was chosen to be asked exhaustively, before anything was known about it."""
    section = run.config.build
    return section.asks == "exhaustive" or audited(seed_id, section.audit_share)


def _check_complete(run: RunDir, row: CandidateRow, votes: dict[str, tuple[bool, ...]]) -> None:
    section = run.config.judge
    missing = [stage for stage in section.stages if len(votes.get(stage, ())) < section.votes]
    if row.outcome == "skipped" or missing:
        raise ConfigError(
            f"{run.path}: candidate {row.index} of {row.seed_id} lacks votes of {', '.join(missing or section.stages)},"
            f" though its question was to be asked exhaustively; build the round again:"
            f" veridistill build --out {run.path}"
        )


def _commonest(
    folder: RoundDir, labels: Labels, seeds: dict[str, Seed], usable: set[str]
) -> set[tuple[str, int]]:
    """The candidates with their question's commonest answer (the first given in a tie), if at least two have it."""
    forms: dict[str, dict[int, Hashable]] = {}
    for row in CANDIDATES.read(folder.tables / "candidates.parquet"):
        seed = seeds.get(row.seed_id)
        if row.seed_id not in usable or seed is None or seed.domain == "code" or row.outcome == "malformed":
            continue
        reference = labels.references.get(row.seed_id)
        kind = reference.kind if reference else "math"
        answer = ttc.form(kind, DOMAINS[seed.domain].answer_of(row.answer))
        if answer is not None:
            forms.setdefault(row.seed_id, {})[row.index] = answer
    found = set()
    for seed_id, answers in forms.items():
        by_index = dict(sorted(answers.items()))
        ((most, times),) = Counter(by_index.values()).most_common(1)
        if times > 1:
            found |= {(seed_id, index) for index, answer in by_index.items() if answer == most}
    return found


def _votes(folder: RoundDir, usable: set[str]) -> dict[tuple[str, int], dict[str, tuple[bool, ...]]]:
    cast: dict[tuple[str, int], dict[str, dict[int, bool]]] = {}
    for row in VOTES.read(folder.tables / "votes.parquet"):
        if row.seed_id in usable:
            stages = cast.setdefault((row.seed_id, row.candidate), {})
            stages.setdefault(row.stage, {})[row.index] = row.ballot == "yes"
    return {
        key: {stage: tuple(votes[i] for i in sorted(votes)) for stage, votes in stages.items()}
        for key, stages in cast.items()
    }


async def _graded(
    folder: RoundDir, labels: Labels, seeds: dict[str, Seed], usable: set[str], graders: Graders
) -> AsyncIterator[tuple[CandidateRow, bool | None]]:
    """The candidates of usable questions with whether they are right; None for what is not labelled or not graded."""

    async def right(row: CandidateRow) -> bool | None:
        if (label := labels.candidates.get((row.seed_id, row.index))) is not None:
            return label
        reference = labels.references.get(row.seed_id)
        if reference is None:
            return None
        seed = seeds[row.seed_id]
        problem = Problem(row.seed_id, "labels", reference.kind, seed.question, reference.answer, seed.domain)
        return (await graders.grade(problem, row.text)).correct

    waiting: list[CandidateRow] = []
    for row in CANDIDATES.read(folder.tables / "candidates.parquet"):
        if row.seed_id in usable:
            waiting.append(row)
        if len(waiting) == _TOGETHER:
            for pair in zip(waiting, await asyncio.gather(*map(right, waiting)), strict=True):
                yield pair
            waiting = []
    for pair in zip(waiting, await asyncio.gather(*map(right, waiting)), strict=True):
        yield pair
