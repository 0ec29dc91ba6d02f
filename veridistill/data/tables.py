"""The kinds of rows that a run writes, one `Table` each, for DuckDB, pandas and the Hub.

How rows become files is `parquet`'s part; `runs` decides what is written when, and which tables belong together.
"""

from dataclasses import dataclass
from typing import Any

from veridistill.data.parquet import Table
from veridistill.records import (
    Attempt,
    Ballot,
    Candidate,
    Example,
    Message,
    Outcome,
    Problem,
    Seed,
    TokenIds,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """A candidate with its outcome. `text` is the raw reply, reasoning included."""

    seed_id: str
    index: int
    outcome: Outcome
    rejected_by: str | None
    kept: bool
    answer: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def of(cls, candidate: Candidate, verdict: Verdict, kept: bool) -> "CandidateRow":
        reply = candidate.completion
        return cls(
            seed_id=candidate.seed_id,
            index=candidate.index,
            outcome=verdict.outcome,
            rejected_by=verdict.rejected_by,
            kept=kept,
            answer=candidate.answer,
            text=reply.text,
            finish_reason=reply.finish_reason,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class VoteRow:
    """A vote with the candidate that it is about."""

    seed_id: str
    candidate: int
    stage: str
    index: int
    ballot: Ballot
    reason: str

    @classmethod
    def of(cls, verdict: Verdict) -> "list[VoteRow]":
        return [
            cls(verdict.seed_id, verdict.candidate, vote.stage, vote.index, vote.ballot, vote.reason)
            for vote in verdict.votes
        ]


@dataclass(frozen=True, slots=True)
class TrainRow:
    """An example as any trainer takes it: the whole text as ids, and labels that ignore the prompt."""

    seed_id: str
    input_ids: TokenIds
    labels: TokenIds


def _problem(options: list[str], **row: Any) -> Problem:
    return Problem(options=tuple(options), **row)


def _example(messages: list[dict[str, str]], **row: Any) -> Example:
    return Example(messages=tuple(Message(**message) for message in messages), **row)


SEEDS: Table[Seed] = Table(
    "seeds", {"seed_id": "string", "question": "string", "domain": "string", "source": "string"}, Seed
)
CANDIDATES: Table[CandidateRow] = Table(
    "candidates",
    {
        "seed_id": "string",
        "index": "int32",
        "outcome": "string",
        "rejected_by": "string?",
        "kept": "bool",
        "answer": "string",
        "text": "string",
        "finish_reason": "string",
        "prompt_tokens": "int32",
        "completion_tokens": "int32",
    },
    CandidateRow,
)
VOTES: Table[VoteRow] = Table(
    "votes",
    {
        "seed_id": "string",
        "candidate": "int32",
        "stage": "string",
        "index": "int32",
        "ballot": "string",
        "reason": "string",
    },
    VoteRow,
)
EXAMPLES: Table[Example] = Table(
    "examples",
    {
        "seed_id": "string",
        "candidate": "int32",
        "prompt_ids": "list<int32>",
        "completion_ids": "list<int32>",
        "messages": "list<message>",
    },
    _example,
)
TRAIN_ROWS: Table[TrainRow] = Table(
    "train_rows", {"seed_id": "string", "input_ids": "list<int32>", "labels": "list<int32>"}, TrainRow
)
ATTEMPTS: Table[Attempt] = Table(
    "attempts",
    {
        "problem_id": "string",
        "benchmark": "string",
        "index": "int32",
        "answer": "string?",
        "outcome": "string",
        "error": "string",
        "finish_reason": "string",
        "completion_tokens": "int32",
        "response": "string",
    },
    Attempt,
)
PROBLEMS: Table[Problem] = Table(
    "problems",
    {
        "problem_id": "string",
        "benchmark": "string",
        "kind": "string",
        "question": "string",
        "reference": "string",
        "domain": "string",
        "options": "list<string>",
        "tests": "string",
    },
    _problem,
)
