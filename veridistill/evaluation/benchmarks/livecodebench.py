"""LiveCodeBench: contest problems of a window of months, with tests for a program.

`lcb_v5` holds the contests from August 2024 to January 2025, `lcb_v6` the problems that release v6 added: they have
none in common. Preset `paper` takes January 2025 to April 2025 as lcb_v6, which overlaps, and follows the paper's fork
of the harness: starter code is not shown, and the private tests alone are run.

Files hold gigabytes, lines tens of megabytes: a line is parsed only when its month is wanted, and a problem keeps where
its record is, not its tests. Reading the tests is left to `grading.cases`, running programs to `grading.programs`.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from veridistill.data.jsonl import shown
from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.question import with_starter
from veridistill.evaluation.benchmarks.rows import Row, lines, parse_json, problems
from veridistill.records import Problem

# Records of test.jsonl, test2.jsonl ...: releases v1 to v6 have 400, 511, 612, 713, 880 and 1,055 problems.
NUM_RECORDS = (400, 111, 101, 101, 167, 175)
Months = tuple[str, str]
"""First and last month, both within."""

# A quote inside a JSON string is escaped, so this is the record's own field wherever it is found.
_DATE = re.compile(rb'(?<!\\)"contest_date"\s*:\s*"([0-9]{4}-[0-9]{2}-[0-9]{2})')
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T.*)?")


Style = Literal["official", "paper"]
"""How problems are shown and tested: with starter code and all tests, or without and by the private tests alone."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes problems of the records of some months (None: all of them)."""

    months: Months | None
    style: Style

    def __call__(self, benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
        def parse(row: Row) -> Problem | None:
            date = row.text("contest_date")
            if date and not _ISO.fullmatch(date):
                row.fault(f"contest_date must be like 2025-01-31T00:00:00; found {shown(date)}")
            elif date and not self._wanted(date):
                return None
            return _problem(row, benchmark.name, self.style)

        return problems(self._rows(paths), benchmark, parse)

    def _rows(self, paths: Sequence[Path]) -> Iterator[Row]:
        for row, line in (pair for path in paths for pair in lines(path)):
            found = _DATE.search(line)
            if found and not self._wanted(date := found[1].decode()):
                row.columns = {"contest_date": date}
                yield row
            else:
                yield parse_json(row, line)

    def _wanted(self, date: str) -> bool:
        return self.months is None or self.months[0] <= date[:7] <= self.months[1]


def _problem(row: Row, benchmark: str, style: Style) -> Problem:
    starter = row.optional("starter_code")
    row.text("private_test_cases")
    cases, metadata = _json(row, "public_test_cases", list), _json(row, "metadata", dict)
    functional = any(isinstance(case, dict) and case.get("testtype") == "functional" for case in cases)
    if functional and not metadata.get("func_name"):
        row.fault("metadata must name func_name where tests are functional")
    question, place = row.text("question_content"), f"{row.path.absolute()}:{row.offset}:{row.length}"
    official = style == "official"
    return Problem(
        row.name("question_id"),
        benchmark,
        "code",
        with_starter(question, starter) if official else question,
        "",
        "code",
        tests=f"@{place}" if official else f"@private:{place}",
    )


def _json(row: Row, name: str, kind: type[Any]) -> Any:
    """The value of a field that holds JSON as text."""
    text = row.text(name)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if text and not isinstance(value, kind):
        wanted = "list" if kind is list else "object"
        row.fault(f"{name} must be a JSON {wanted} as text; found {shown(text)}")
    return value if isinstance(value, kind) else kind()


def _source(numbers: Sequence[int]) -> Source:
    return Source(
        "livecodebench/code_generation_lite",
        tuple(f"test{number if number > 1 else ''}.jsonl" for number in numbers),
        "test",
        "CC (kind not stated)",
        "0fe84c3912ea0c4d4a78037083943e8f0c4dd505",
    )


def _lcb(
    name: str, numbers: Sequence[int], reader: _Reader, num: int | None, subset: str, paper: Benchmark | None
) -> Benchmark:
    num_rows = sum(NUM_RECORDS[number - 1] for number in numbers)
    formats = (".jsonl",)  # a problem is a place in a file of lines
    return Benchmark(name, _source(numbers), ("code",), "code", num_rows, reader, num, subset, paper, formats)


_V5, _V6_PAPER = ("2024-08", "2025-01"), ("2025-01", "2025-04")
_PAPER = (
    _lcb("lcb_v5", range(1, 6), _Reader(_V5, "paper"), 279, "contests 2024-08 to 2025-01", None),
    _lcb("lcb_v6", range(1, 7), _Reader(_V6_PAPER, "paper"), None, "contests 2025-01 to 2025-04", None),
)
BENCHMARKS = (
    _lcb("lcb_v5", range(1, 6), _Reader(_V5, "official"), 279, "contests 2024-08 to 2025-01", _PAPER[0]),
    _lcb("lcb_v6", (6,), _Reader(None, "official"), 175, "", _PAPER[1]),
)
