"""GSM8K: 1,319 word problems of its test split. The answer follows `####` at the end of a worked solution."""

import re
from collections.abc import Sequence
from pathlib import Path

from veridistill.data.jsonl import shown
from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.rows import Row, problems, read
from veridistill.records import Problem

_ANSWER = re.compile(r"####\s*\$?(?P<answer>-?[0-9][0-9,]*)\s*\Z")


def _read(benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
    def parse(row: Row) -> Problem:
        solution = row.text("answer")
        found = _ANSWER.search(solution)
        if solution and not found:
            row.fault(f"answer must end in '#### ' and an integer; found {shown(solution[-40:])}")
        reference = found["answer"].replace(",", "") if found else ""
        # The set has no ids; its order has not changed since 2021.
        return Problem(
            f"test-{row.number}", benchmark.name, "integer", row.text("question"), reference, "math"
        )

    return problems(read(paths, ("question", "answer")), benchmark, parse)


BENCHMARKS = (
    Benchmark(
        "gsm8k",
        Source(
            "openai/gsm8k",
            ("main/test-*.parquet",),
            "test",
            "MIT",
            "740312add88f781978c0658806c59bc2815b9866",
        ),
        ("integer",),
        "math",
        1_319,
        _read,
        1_319,
    ),
)
