"""MMLU-Pro: 12,032 questions of 14 subjects with up to ten options, shown in the order of the set."""

from collections.abc import Sequence
from pathlib import Path

from veridistill.data.jsonl import shown
from veridistill.domains.options import LETTERS, with_options
from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.rows import Row, problems, read
from veridistill.records import Problem

MAX_OPTIONS = 10


def _read(benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
    def parse(row: Row) -> Problem:
        options = row.texts("options")
        question = with_options(row.text("question"), options)
        return Problem(
            row.name("question_id"),
            benchmark.name,
            "choice",
            question,
            _letter(row, options),
            "science",
            options,
        )

    rows = read(paths, ("question_id", "question", "options", "answer", "answer_index"))
    return problems(rows, benchmark, parse)


def _letter(row: Row, options: Sequence[str]) -> str:
    """The right letter, which the set states twice: as a letter and as an index from 0."""
    letter, index = row.text("answer"), row.integer("answer_index")
    if options and not 2 <= len(options) <= MAX_OPTIONS:
        row.fault(f"options must be 2 to {MAX_OPTIONS}; found {len(options)}")
    elif options and not (0 <= index < len(options) and letter == LETTERS[index]):
        row.fault(f"answer {shown(letter)} and answer_index {index} name no one of {len(options)} options")
    return letter


BENCHMARKS = (
    Benchmark(
        "mmlu_pro",
        Source(
            "TIGER-Lab/MMLU-Pro",
            ("data/test-*.parquet",),
            "test",
            "MIT",
            "b189ec765aa7ed75c8acfea42df31fdae71f97be",
        ),
        ("choice",),
        "science",
        12_032,
        _read,
        12_032,
    ),
)
