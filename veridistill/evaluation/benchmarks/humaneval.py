"""HumanEval: 164 functions to complete, each from its signature and docstring; hidden tests check the result."""

import json
from collections.abc import Sequence
from pathlib import Path

from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.rows import Row, problems, read
from veridistill.grading import asserts
from veridistill.records import Problem

_NAMES = {"entry": "entry_point", "tests": "test", "solution": "canonical_solution"}


def _read(benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
    columns = ("task_id", "prompt", "canonical_solution", "test", "entry_point")
    return problems(read(paths, columns), benchmark, lambda row: _problem(row, benchmark.name))


def _problem(row: Row, benchmark: str) -> Problem:
    prompt, entry = row.source("prompt"), row.text("entry_point")
    record = {
        "kind": "asserts",
        "entry": entry,
        "prompt": prompt,
        "tests": [row.source("test"), f"check({entry})"],
        "solution": prompt + row.source("canonical_solution"),
    }
    for fault in [] if row.faults else asserts.faults(record, _NAMES):
        row.fault(fault)
    question = f"Complete this Python function:\n```python\n{prompt.strip()}\n```"
    tests = json.dumps(record)
    return Problem(row.text("task_id"), benchmark, "code", question, "", "code", tests=tests)


BENCHMARKS = (
    Benchmark(
        "humaneval",
        Source(
            "openai/openai_humaneval",
            ("openai_humaneval/test-*.parquet",),
            "test",
            "MIT",
            "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
        ),
        ("code",),
        "code",
        164,
        _read,
        164,
        formats=(".parquet", ".jsonl"),
    ),
)
