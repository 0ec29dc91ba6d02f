"""Which questions both runs asked, and what each of them kept for these.

Two candidates are the same if their index and their whole text are: a run with another model, seed or sampling has
other candidates under the same index.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from veridistill.data import tables
from veridistill.records import Outcome
from veridistill.runs.diff.sides import Found

Texts = Mapping[int, str]
"""Answers of one question by the candidate's index."""


class One(NamedTuple):
    """A candidate; `text` is a hash of what was sampled."""

    place: int
    text: bytes
    outcome: Outcome
    kept: bool


@dataclass(frozen=True, slots=True)
class Built:
    """A build: the candidates of each of its questions, in the order of the questions."""

    tables: Path
    stages: tuple[str, ...]
    num_votes: int
    candidates: Mapping[str, list[One]]


@dataclass(frozen=True, slots=True)
class Change:
    """A question for which the runs kept something else, with the answers that each kept, by the candidate's index."""

    seed_id: str
    question: str = ""
    a: Texts = field(default_factory=dict)
    b: Texts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Questions:
    """Counts over questions: asked in one run alone, and of the `common` ones what was kept.

    `same` and `other`: something was kept in both, the same candidates or not. `changes` lists some questions of each
    of the last three kinds.
    """

    asked_in_a_only: int
    asked_in_b_only: int
    common: int
    same: int
    neither: int
    other: int
    kept_in_a_only: int
    kept_in_b_only: int
    changes: Mapping[str, tuple[Change, ...]]


def read(found: Found) -> Built | None:
    """The candidates of the latest build; None where there is none."""
    if found.folder is None:
        return None
    candidates: dict[str, list[One]] = {
        seed_id: [] for (seed_id,) in tables.SEEDS.values(found.folder.tables / "seeds.parquet", "seed_id")
    }
    columns = ("seed_id", "index", "text", "outcome", "kept")
    rows = tables.CANDIDATES.values(found.folder.tables / "candidates.parquet", *columns)
    for seed_id, index, text, outcome, kept in rows:
        candidates[seed_id].append(One(index, digest(text), outcome, kept))
    judge = found.run.config.judge
    return Built(found.folder.tables, judge.stages, judge.votes, candidates)


def digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def compare(a: Built, b: Built, shown: int) -> Questions:
    """`shown` limits the questions listed of each kind; they are the first in A's order."""
    common = [seed_id for seed_id in a.candidates if seed_id in b.candidates]
    by_fate: dict[str, list[str]] = {name: [] for name in ("same", "neither", "other", "a_only", "b_only")}
    for seed_id in common:
        by_fate[_fate(a.candidates[seed_id], b.candidates[seed_id])].append(seed_id)
    listed = {name: by_fate[name][:shown] for name in ("a_only", "b_only", "other")}
    return Questions(
        asked_in_a_only=len(a.candidates) - len(common),
        asked_in_b_only=len(b.candidates) - len(common),
        common=len(common),
        same=len(by_fate["same"]),
        neither=len(by_fate["neither"]),
        other=len(by_fate["other"]),
        kept_in_a_only=len(by_fate["a_only"]),
        kept_in_b_only=len(by_fate["b_only"]),
        changes=_changes(a, b, listed),
    )


def _fate(a: list[One], b: list[One]) -> str:
    first, second = ({(one.place, one.text) for one in side if one.kept} for side in (a, b))
    if first and second:
        return "same" if first == second else "other"
    return "a_only" if first else "b_only" if second else "neither"


def _changes(a: Built, b: Built, listed: Mapping[str, list[str]]) -> dict[str, tuple[Change, ...]]:
    wanted = {seed_id for seed_ids in listed.values() for seed_id in seed_ids}
    asked = dict(_texts(a, wanted))
    first, second = _answers(a, wanted), _answers(b, wanted)
    return {
        name: tuple(Change(one, asked[one], first.get(one, {}), second.get(one, {})) for one in seed_ids)
        for name, seed_ids in listed.items()
    }


def _texts(built: Built, wanted: set[str]) -> Iterator[tuple[str, str]]:
    rows = tables.SEEDS.values(built.tables / "seeds.parquet", "seed_id", "question")
    return ((seed_id, question) for seed_id, question in rows if seed_id in wanted)


def _answers(built: Built, wanted: set[str]) -> dict[str, dict[int, str]]:
    """The kept answers of some questions."""
    found: dict[str, dict[int, str]] = {}
    if wanted:
        columns = ("seed_id", "index", "kept", "answer")
        rows = tables.CANDIDATES.values(built.tables / "candidates.parquet", *columns)
        for seed_id, index, kept, answer in rows:
            if kept and seed_id in wanted:
                found.setdefault(seed_id, {})[index] = answer
    return found
