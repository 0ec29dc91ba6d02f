"""ARC-Challenge: 1,172 science questions of its test split, with three to five options in the order of the set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridistill.data.jsonl import shown
from veridistill.domains.options import LETTERS, with_options
from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.rows import Row, problems, read
from veridistill.records import Problem, without_surrogates


def _read(benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
    def parse(row: Row) -> Problem:
        choices = _choices(row)
        question = with_options(row.text("question"), choices.texts)
        letter = _letter(row, choices.labels)
        return Problem(row.text("id"), benchmark.name, "choice", question, letter, "science", choices.texts)

    return problems(read(paths, ("id", "question", "choices", "answerKey")), benchmark, parse)


@dataclass(frozen=True, slots=True)
class _Choices:
    """The options and their labels in the set, A to E or 1 to 5."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]


def _choices(row: Row) -> _Choices:
    found = row.columns.get("choices")
    texts, labels = (
        (_texts(found, "text"), _texts(found, "label")) if isinstance(found, Mapping) else ((), ())
    )
    if not 2 <= len(texts) == len(labels) <= len(LETTERS):
        row.refuse("choices", "text and label, two lists of texts of the same length")
    return _Choices(texts, labels)


def _texts(found: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts that are not blank, or nothing."""
    value = found.get(name)
    if not (isinstance(value, list) and all(isinstance(one, str) and one.strip() for one in value)):
        return ()
    return tuple(without_surrogates(one).strip() for one in value)


def _letter(row: Row, labels: Sequence[str]) -> str:
    """The letter under which the right option is shown: its place, whatever its label."""
    key = row.name("answerKey")
    if labels and key and labels.count(key) != 1:
        row.fault(f"answerKey {shown(key)} must be one of the labels {', '.join(labels)}")
    return LETTERS[labels.index(key)] if key in labels else ""


BENCHMARKS = (
    Benchmark(
        "arc_challenge",
        Source(
            "allenai/ai2_arc",
            ("ARC-Challenge/test-*.parquet",),
            "test",
            "CC BY-SA 4.0",
            "210d026faf9955653af8916fad021475a3f00453",
        ),
        ("choice",),
        "science",
        1_172,
        _read,
        1_172,
        formats=(".parquet", ".jsonl"),
    ),
)
