"""MATH-500: 500 problems of the MATH test set, with answers in LaTeX."""

from collections.abc import Sequence
from pathlib import Path

from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.rows import Row, problems, read
from veridistill.records import Problem


def _read(benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
    def parse(row: Row) -> Problem:
        return Problem(
            row.text("unique_id"), benchmark.name, "math", row.text("problem"), row.text("answer"), "math"
        )

    rows = read(paths, ("unique_id", "problem", "answer"))
    return problems(rows, benchmark, parse)


BENCHMARKS = (
    Benchmark(
        "math500",
        Source(
            "HuggingFaceH4/MATH-500",
            ("test.jsonl",),
            "test",
            "none declared (MATH: MIT)",
            "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        ),
        ("math",),
        "math",
        500,
        _read,
        500,
    ),
)
