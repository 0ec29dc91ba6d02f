"""What can be exported: the rows of each kind, from the tables of a round.

Rows for others stand alone: examples and candidates hold their question, attempts the exam that they are of. The
problems' texts and references are left out, since benchmarks' licences seldom allow to publish them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from veridistill.data import tables
from veridistill.data.meanings import MEANINGS
from veridistill.data.parquet import Table
from veridistill.data.rundir import RunDir
from veridistill.data.seeds.files import HUB
from veridistill.data.tables import CandidateRow
from veridistill.errors import ConfigError
from veridistill.records import Attempt, Example, Messages, Seed, TokenIds

What = Literal["examples", "candidates", "votes", "attempts"]
R = TypeVar("R")

EXAMS = ("exam_base", "exam_after", "ttc_base", "ttc_after")


@dataclass(frozen=True, slots=True)
class ExampleOut:
    """A training example with its question."""

    seed_id: str
    candidate: int
    domain: str
    source: str
    question: str
    messages: Messages
    prompt_ids: TokenIds
    completion_ids: TokenIds

    @classmethod
    def of(cls, seed: Seed, row: Example) -> "ExampleOut":
        return cls(
            seed_id=row.seed_id,
            candidate=row.candidate,
            domain=seed.domain,
            source=public_source(seed.source),
            question=seed.question,
            messages=row.messages,
            prompt_ids=row.prompt_ids,
            completion_ids=row.completion_ids,
        )


@dataclass(frozen=True, slots=True)
class CandidateOut:
    """A candidate with its question."""

    seed_id: str
    index: int
    domain: str
    source: str
    question: str
    outcome: str
    rejected_by: str | None
    kept: bool
    answer: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def of(cls, seed: Seed, row: CandidateRow) -> "CandidateOut":
        return cls(
            seed_id=row.seed_id,
            index=row.index,
            domain=seed.domain,
            source=public_source(seed.source),
            question=seed.question,
            outcome=row.outcome,
            rejected_by=row.rejected_by,
            kept=row.kept,
            answer=row.answer,
            text=row.text,
            finish_reason=row.finish_reason,
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class AttemptOut:
    """A graded answer with the exam that it is of."""

    exam: str
    benchmark: str
    problem_id: str
    index: int
    correct: bool | None
    outcome: str
    answer: str | None
    error: str
    finish_reason: str
    completion_tokens: int
    response: str

    @classmethod
    def of(cls, exam: str, row: Attempt) -> "AttemptOut":
        return cls(
            exam=exam,
            benchmark=row.benchmark,
            problem_id=row.problem_id,
            index=row.index,
            correct=row.correct,
            outcome=row.outcome,
            answer=row.answer,
            error=row.error,
            finish_reason=row.finish_reason,
            completion_tokens=row.completion_tokens,
            response=row.response,
        )


_SEED = {"domain": "string", "source": "string", "question": "string"}
TABLES: Mapping[What, Table[Any]] = {
    "examples": Table(
        "examples",
        {
            "seed_id": "string",
            "candidate": "int32",
            **_SEED,
            "messages": "list<message>",
            "prompt_ids": "list<int32>",
            "completion_ids": "list<int32>",
        },
        ExampleOut,
    ),
    "candidates": Table(
        "candidates",
        {
            "seed_id": "string",
            "index": "int32",
            **_SEED,
            **{
                name: kind
                for name, kind in tables.CANDIDATES.columns.items()
                if name not in ("seed_id", "index")
            },
        },
        CandidateOut,
    ),
    "votes": tables.VOTES,
    "attempts": Table(
        "attempts",
        {
            "exam": "string",
            "benchmark": "string",
            "problem_id": "string",
            "index": "int32",
            "correct": "bool?",
            "outcome": "string",
            "answer": "string?",
            "error": "string",
            "finish_reason": "string",
            "completion_tokens": "int32",
            "response": "string",
        },
        AttemptOut,
    ),
}


def meanings(what: What) -> Mapping[str, str]:
    """What each exported column means."""
    seeds = MEANINGS["seeds"].columns
    own = {
        "exam": "`exam_base` and `exam_after`: before and after training; `ttc_base` and `ttc_after`: the cascade at"
        " test time",
        "correct": "whether the answer is right; null if it could not be graded",
    }
    return {**{name: seeds[name] for name in _SEED}, **own, **MEANINGS[what].columns}


def sources(run: RunDir, number: int, what: What) -> list[Path]:
    """The files that the rows come from. Raises `ConfigError` when the round has none."""
    folder = run.round(number)
    if what == "attempts":
        found = [path for exam in EXAMS if (path := folder.tables / f"{exam}.parquet").is_file()]
        if not found:
            raise ConfigError(
                f"{run.path}: round {number} has no exam; run veridistill evaluate --out {run.path}, or choose"
                " examples, candidates or votes"
            )
        return found
    if not folder.built:
        raise ConfigError(
            f"{run.path}: round {number} is not built to its end; run veridistill build --out {run.path} first"
        )
    table = folder.examples if what == "examples" else folder.tables / f"{what}.parquet"
    return [folder.tables / "seeds.parquet", table]


def rows(run: RunDir, number: int, what: What) -> Iterator[Any]:
    """The rows to write, in the order of their tables, a row group in memory at a time."""
    found = sources(run, number, what)
    if what == "attempts":
        for path in found:
            for attempt in tables.ATTEMPTS.read(path):
                yield AttemptOut.of(path.stem, attempt)
        return
    seeds, table = found
    if what == "votes":
        yield from tables.VOTES.read(table)
    elif what == "examples":
        yield from _joined(seeds, tables.EXAMPLES.read(table), ExampleOut.of)
    else:
        yield from _joined(seeds, tables.CANDIDATES.read(table), CandidateOut.of)


def _joined(seeds: Path, found: Iterable[R], make: Callable[[Seed, R], Any]) -> Iterator[Any]:
    """Each row with its question: both files are in the order of the questions, so one pass joins them."""
    waiting, seed = tables.SEEDS.read(seeds), None
    for row in found:
        wanted = row.seed_id  # type: ignore[attr-defined]
        while seed is None or seed.seed_id != wanted:
            seed = next(waiting, None)
            if seed is None:
                raise ConfigError(f"{seeds}: lacks the question {wanted}; run veridistill build again")
        yield make(seed, row)


def public_source(source: str) -> str:
    """Where a question came from, without folders of this machine; paths on the Hub stay whole."""
    return source if source.startswith(HUB) else PurePosixPath(source).name
