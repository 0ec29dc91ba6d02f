"""MBPP: basic Python problems, each with three asserts. `mbpp` has 500 of them, `mbpp_sanitized` 257 edited ones.

The usual protocol is followed: the question shows all of the asserts that grade, since they alone say what the function
is called and what it takes. A file of all 974 problems (427 of the edited ones) may stand in for the test split, which
is task ids 11 to 510. `challenge_test_list` is left out, as usual.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.question import with_tests
from veridistill.evaluation.benchmarks.rows import Row, problems, read
from veridistill.grading import asserts
from veridistill.records import Problem

_EXAM = range(11, 511)


@dataclass(frozen=True, slots=True)
class Reader:
    """`text` and `setup` are the fields of the task's text and of what runs before its tests."""

    text: str
    setup: str

    def __call__(self, benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
        def parse(row: Row) -> Problem | None:
            task = row.integer("task_id")
            problem = self.problem(row, str(task), benchmark.name)
            return problem if task in _EXAM else None

        return problems(
            read(paths, ("task_id", self.text, "code", "test_list", self.setup)), benchmark, parse
        )

    def problem(self, row: Row, task: str, benchmark: str) -> Problem:
        tests, setup, code = row.texts("test_list"), self._before(row), row.source("code")
        text = row.text(self.text)
        record = {
            "kind": "asserts",
            "entry": asserts.called(tests, code),
            "tests": list(tests),
            "setup": setup,
            "solution": code,
        }
        for fault in [] if row.faults else self._faults(record):
            row.fault(fault)
        shown = [*setup.split("\n"), *tests] if setup else tests
        return Problem(task, benchmark, "code", with_tests(text, shown), "", "code", tests=json.dumps(record))

    def _faults(self, record: dict[str, Any]) -> list[str]:
        names = {"entry": "code", "tests": "test_list", "setup": self.setup, "solution": "code"}
        found = asserts.faults(record, names)
        if record["entry"]:
            return found
        return found[1:] or ["code defines no function that test_list calls"]

    def _before(self, row: Row) -> str:
        if self.setup == "test_imports":
            return "\n".join(row.texts(self.setup))
        return row.optional(self.setup).replace("\r\n", "\n").strip()


def _mbpp(name: str, config: str, num: int, unsplit: int, reader: Reader) -> Benchmark:
    return Benchmark(
        name,
        Source(
            "google-research-datasets/mbpp",
            (f"{config}/test-*.parquet",),
            "test",
            "CC BY 4.0",
            "4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        ),
        ("code",),
        "code",
        num,
        reader,
        num,
        formats=(".parquet", ".jsonl"),
        unsplit=unsplit,
    )


BENCHMARKS = (
    _mbpp("mbpp", "full", 500, 974, Reader("text", "test_setup_code")),
    _mbpp("mbpp_sanitized", "sanitized", 257, 427, Reader("prompt", "test_imports")),
)
