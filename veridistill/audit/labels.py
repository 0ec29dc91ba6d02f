"""Labels of a run's candidates, as JSONL: which of them are right, or the answers to grade them by.

    {"id": "q17", "candidate": 3, "correct": true}              labels one candidate
    {"id": "q17", "kind": "integer", "answer": "42"}            answers a question; its candidates are graded against it

`correct` may be null where the labeller is unsure: such a candidate is not counted. A line may name the `round` that it
is of; without one it is of every round. `veridistill view` writes both. `id` is the seed's; `reference` may be written
for `answer`. Both kinds of line may be mixed; a candidate's own label takes precedence over the answer to its question.
Labels are used only to measure judges.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from veridistill.data import jsonl
from veridistill.data.jsonl import Faults
from veridistill.errors import ConfigError
from veridistill.grading.compare.comparison import KINDS
from veridistill.records import Kind


@dataclass(frozen=True, slots=True)
class Reference:
    """The right answer to a question."""

    kind: Kind
    answer: str


@dataclass(frozen=True, slots=True)
class Labels:
    """By (seed_id, candidate), and by seed_id."""

    candidates: dict[tuple[str, int], bool] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)

    @property
    def questions(self) -> set[str]:
        return self.references.keys() | {seed_id for seed_id, _ in self.candidates}


class _Fault(ValueError):
    """What is wrong with a line."""


def load(path: Path, number: int | None = None) -> Labels:
    """The whole file; labels of another round than `number` are passed over, unless it is None.

    Raises one `ConfigError` with every fault and its line.
    """
    labels, faults, empty, unsure = Labels(), Faults(path), True, set[tuple[str, int]]()
    for row in jsonl.read(path):
        empty = False
        try:
            if row.fault:
                raise _Fault(row.fault)
            if _of_round(row.record, number):
                _add(labels, row.record, unsure)
        except _Fault as fault:
            faults.add(row.number, str(fault))
    faults.check()
    if empty:
        raise ConfigError(
            f"{path}: holds no labels; give JSONL lines with id, candidate, correct or id, kind, answer"
        )
    if not labels.questions:
        of_round = f" of round {number}" if number else ""
        raise ConfigError(
            f"{path}: says of no candidate{of_round} that it is right or wrong; label some, for example in"
            " veridistill view"
        )
    return labels


def _of_round(record: dict[str, Any], number: int | None) -> bool:
    of = record.get("round")
    if of is not None and (type(of) is not int or of < 1):
        raise _Fault(f"round must be a number from 1 up; found {of!r}")
    return number is None or of is None or of == number


def _add(labels: Labels, record: dict[str, Any], unsure: set[tuple[str, int]]) -> None:
    seed_id = record.get("id")
    if not isinstance(seed_id, str) or not seed_id:
        raise _Fault(f"id must be the seed's id, as text; found {seed_id!r}")
    if "correct" in record:
        key = (seed_id, _candidate(record))
        if key in labels.candidates or key in unsure:
            raise _Fault(f"candidate {key[1]} of {seed_id} is labelled twice; keep one label")
        if record["correct"] is None:
            unsure.add(key)
        else:
            labels.candidates[key] = _correct(record)
    else:
        if seed_id in labels.references:
            raise _Fault(f"{seed_id} has two answers; keep one")
        labels.references[seed_id] = _reference(record)


def _candidate(record: dict[str, Any]) -> int:
    index = record.get("candidate")
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise _Fault(f"candidate must be an index from 0 up; found {index!r}")
    return index


def _correct(record: dict[str, Any]) -> bool:
    if not isinstance(record["correct"], bool):
        raise _Fault(f"correct must be true, false or null; found {record['correct']!r}")
    return record["correct"]


def _reference(record: dict[str, Any]) -> Reference:
    given = [name for name in ("answer", "reference") if name in record]
    if len(given) != 1:
        raise _Fault("needs correct (with candidate), or answer (with kind)")
    kind, answer = record.get("kind"), record[given[0]]
    if not isinstance(kind, str) or kind not in KINDS:
        raise _Fault(f"kind must be one of {', '.join(KINDS)}; found {kind!r}")
    if isinstance(answer, bool) or not isinstance(answer, str | int) or not str(answer).strip():
        raise _Fault(f"{given[0]} must be text; found {answer!r}")
    if KINDS[kind](str(answer), str(answer)) is False:  # None: equal by algebra, which is not asked here
        raise _Fault(f"{given[0]} {answer!r} is not a reference of kind {kind}")
    return Reference(cast("Kind", kind), str(answer))
