"""SVAMP: 300 word problems of its test split, variations on simple ones; the answer is a number."""

import re
from collections.abc import Sequence
from pathlib import Path

from veridistill.data.jsonl import shown
from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.rows import Row, problems, read
from veridistill.records import Kind, Problem

_NUMBER = re.compile(r"(?P<whole>-?[0-9]+)(?:\.0+)?|-?[0-9]+\.[0-9]+")


def _read(benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
    def parse(row: Row) -> Problem:
        question = f"{row.text('Body')} {row.text('Question')}"
        answer = _answer(row)
        kind: Kind = "math" if "." in answer else "integer"
        return Problem(row.name("ID"), benchmark.name, kind, question, answer, "math")

    return problems(read(paths, ("ID", "Body", "Question", "Answer")), benchmark, parse)


def _answer(row: Row) -> str:
    """The answer, a number or the text of one; 145.0 is 145."""
    value = row.columns.get("Answer")
    text = str(value) if isinstance(value, float) else row.name("Answer")
    found = _NUMBER.fullmatch(text)
    if text and not found:
        row.fault(f"Answer must be a number; found {shown(text)}")
    return (found["whole"] or found[0]) if found else ""


BENCHMARKS = (
    Benchmark(
        "svamp",
        Source(
            "ChilleD/SVAMP",
            ("data/test-*.parquet",),
            "test",
            "MIT",
            "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef",
        ),
        ("integer", "math"),
        "math",
        300,
        _read,
        300,
    ),
)
