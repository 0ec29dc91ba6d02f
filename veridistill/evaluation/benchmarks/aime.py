"""AIME 2024, 2025 and 2026: 30 problems each, of papers I and II; the answer is an integer from 0 to 999."""

import re
from collections.abc import Sequence
from pathlib import Path

from veridistill.data.jsonl import shown
from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.rows import Row, problems, read
from veridistill.records import Problem

# One set writes an angle with its degree sign.
_ANSWER = re.compile(r"\$?(?P<digits>[0-9]{1,3})\s*(?:\^?\{?\\circ\}?|°)?\$?")


def _read(benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
    def parse(row: Row) -> Problem:
        return Problem(
            row.name("id"), benchmark.name, "integer", row.text("problem"), str(_answer(row)), "math"
        )

    rows = read(paths, ("id", "problem", "answer"))
    return problems(rows, benchmark, parse)


def _answer(row: Row) -> int:
    """The answer, which some sets hold as an integer and others as text."""
    text = row.name("answer")
    found = _ANSWER.fullmatch(text)
    if text and not found:
        row.fault(f"answer must be an integer from 0 to 999; found {shown(text)}")
    return int(found["digits"]) if found else 0


def _aime(name: str, source: Source) -> Benchmark:
    return Benchmark(name, source, ("integer",), "math", 30, _read, 30)


BENCHMARKS = (
    _aime(
        "aime24",
        Source(
            "HuggingFaceH4/aime_2024",
            ("data/train-*.parquet",),
            "train",
            "none declared",
            "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        ),
    ),
    _aime(
        "aime25",
        Source(
            "math-ai/aime25",
            ("test.jsonl",),
            "test",
            "Apache-2.0",
            "563bb8404243c5f09de6ec262f2db674fe5bce9b",
        ),
    ),
    _aime(
        "aime26",
        Source(
            "math-ai/aime26",
            ("aime2026.jsonl",),
            "test",
            "Apache-2.0",
            "79037aebdb6580008fb960d17cb21fd3099083e3",
        ),
    ),
)
