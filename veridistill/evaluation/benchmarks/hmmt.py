"""HMMT February 2025, November 2025 and February 2026: contest problems with answers in LaTeX.

The licence (CC BY-NC-SA 4.0) forbids bundling them.
"""

from collections.abc import Sequence
from pathlib import Path

from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.rows import Row, problems, read
from veridistill.records import Problem


def _read(benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
    def parse(row: Row) -> Problem:
        # Answers that are integers may be stored as such.
        return Problem(
            row.name("problem_idx"), benchmark.name, "math", row.text("problem"), row.name("answer"), "math"
        )

    rows = read(paths, ("problem_idx", "problem", "answer"))
    return problems(rows, benchmark, parse)


def _hmmt(name: str, hub_id: str, num: int, revision: str) -> Benchmark:
    source = Source(hub_id, ("data/train-*.parquet",), "train", "CC BY-NC-SA 4.0", revision)
    return Benchmark(name, source, ("math",), "math", num, _read, num)


BENCHMARKS = (
    _hmmt("hmmt_feb25", "MathArena/hmmt_feb_2025", 30, "6fdc4277120810ff75aa22d2d5489b91f7a262a1"),
    _hmmt("hmmt_nov25", "MathArena/hmmt_nov_2025", 30, "118dbfb45c4c9467c672268ed55166642897aa46"),
    _hmmt("hmmt_feb26", "MathArena/hmmt_feb_2026", 33, "02fba4f74d8e68e73e66a02d540fd979c05c274c"),
)
