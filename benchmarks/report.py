"""How large `report.html` is, how long it takes and how much memory, by the number of questions of a run.

    python benchmarks/report.py --json benchmarks/results/report.json      # 500 and 50,000 questions, minutes
    python benchmarks/report.py --questions 500 2000

The runs are synthetic: tables of Parquet with eight candidates a question, replies of about 2,000 characters with
mathematics and code, votes, and an exam of as many problems as questions up to 2,000. Each report is made in a process
of its own, which is how its peak memory is told apart.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from veridistill.calls.journal import Journal
from veridistill.config import Config, dump
from veridistill.data import tables
from veridistill.data.rundir import RunDir, write_json
from veridistill.data.tables import CandidateRow, VoteRow
from veridistill.records import Attempt, Example, Problem, Seed, TokenIds

CANDIDATES = 8
MOST_PROBLEMS = 2_000
_WORDS = (
    "let", "so", "then", "the sum of", "all terms", "is", "equal to", "$x_{%d}^2+\\frac{1}{%d}$", "and", "we find", "a",
    "value near %d",
)  # fmt: skip


def text(rng: random.Random, size: int) -> str:
    parts, length = [], 0
    while length < size:
        word = rng.choice(_WORDS)
        word = word % tuple([rng.randrange(99)] * word.count("%d"))
        parts.append(word)
        length += len(word) + 1
    return " ".join(parts)


def reply(rng: random.Random) -> str:
    code = "\n```python\ndef f(n):\n    return n * (n + 1) // 2\n```\n"
    return f"<think>{text(rng, 1_500)}</think>{text(rng, 400)}{code}\\boxed{{{rng.randrange(99)}}}"


def candidates(number: int, rng: random.Random) -> Iterator[CandidateRow]:
    kept = rng.randrange(CANDIDATES + 2)
    for index in range(min(CANDIDATES, kept + 1)):
        ok = index == kept
        told = reply(rng)
        yield CandidateRow(
            f"{number:08x}", index, "accepted" if ok else "rejected", None if ok else "factuality", ok,
            told.rpartition("</think>")[2], told, "stop", 100, rng.randrange(50, 4_000),
        )  # fmt: skip


def votes(row: CandidateRow) -> Iterator[VoteRow]:
    for index in range(9 if row.kept else 1):
        stage = ("cycle_consistency", "factuality", "correctness")[index // 3] if row.kept else "factuality"
        yield VoteRow(row.seed_id, row.index, stage, index % 3, "yes" if row.kept else "no", "")


def attempts(problems: int, share: float, rng: random.Random) -> Iterator[Attempt]:
    for number in range(problems):
        for index in range(4):
            right = rng.random() < share
            outcome: Any = "pass" if right else "wrong"
            answer, tokens = str(rng.randrange(9)), rng.randrange(50, 4_000)
            yield Attempt(
                f"p{number}", "exam", index, answer, outcome, "", "stop", tokens, reply(rng)
            )  # fmt: skip


def make(path: Path, questions: int) -> None:
    """The directory of a finished run."""
    rng, run = random.Random(0), RunDir(path, Config())
    path.mkdir()
    (path / "config.yaml").write_text(dump(run.config), encoding="utf-8")
    folder = run.round(1)
    tables.SEEDS.write(
        folder.tables / "seeds.parquet",
        (Seed(f"{n:08x}", text(random.Random(n), 200), "math", f"q:{n}") for n in range(questions)),
    )
    with (
        tables.CANDIDATES.writer(folder.tables / "candidates.parquet") as rows,
        tables.VOTES.writer(folder.tables / "votes.parquet") as cast,
    ):
        for number in range(questions):
            for row in candidates(number, rng):
                rows.add(row)
                for vote in votes(row):
                    cast.add(vote)
    tables.EXAMPLES.write(folder.examples, [Example("0", 0, TokenIds([1]), TokenIds([2]), ())])
    problems = min(questions, MOST_PROBLEMS)
    listed = (Problem(f"p{n}", "exam", "math", text(rng, 300), "7") for n in range(problems))
    tables.PROBLEMS.write(folder.tables / "problems.parquet", listed)
    tables.ATTEMPTS.write(folder.tables / "exam_base.parquet", attempts(problems, 0.4, rng))
    tables.ATTEMPTS.write(folder.tables / "exam_after.parquet", attempts(problems, 0.5, rng))
    write_json(
        run.results,
        {"config": run.config.model_dump(mode="json"), "rounds": [{"model": "m"}], "status": "complete"},
    )
    asyncio.run(_no_replies(run.journal))


async def _no_replies(path: Path) -> None:
    await Journal(path).close()


def measure(path: Path) -> dict[str, float]:
    """Make the report in a process of its own."""
    code = (
        "import json, resource, sys, time; from pathlib import Path; from veridistill.cli import main;"
        "began = time.perf_counter();"
        f"sys.argv = ['veridistill', 'report', '--out', {str(path)!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "print(json.dumps([time.perf_counter() - began, peak]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return {
        "bytes": (path / "report.html").stat().st_size,
        "seconds": round(seconds, 1),
        "peak_mb": round(peak),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, nargs="+", default=[500, 50_000])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = []
    for questions in args.questions:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run"
            make(path, questions)
            size = sum(file.stat().st_size for file in path.rglob("*.parquet"))
            found.append({"questions": questions, "table_bytes": size} | measure(path))
            print(found[-1], flush=True)
    ratio = found[-1]["peak_mb"] / found[0]["peak_mb"]
    print(
        f"memory with {found[-1]['questions']:,} questions: {ratio:.2f} times that with {found[0]['questions']:,}"
    )
    if args.json:
        args.json.write_text(json.dumps({"runs": found}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
