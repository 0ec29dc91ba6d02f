"""Real programs through the real sandbox, real answers through the grader: is right right, and wrong wrong?

    python benchmarks/grading_real.py --data DIR             # writes benchmarks/results/grading_real.json
    python benchmarks/grading_real.py --data DIR --limit 20  # a try
    python benchmarks/grading_real.py                        # the problems in HumanEval's format alone

mbpp             MBPP's 974 problems with their own solutions (DIR/mbpp.jsonl)
humaneval_format problems made by hand in HumanEval's format (`humaneval_format`), of the odd kinds that it has
gsm8k            GSM8K's worked answers (DIR/gsm8k_test.jsonl), as an integer and as mathematics

Each solution is graded as it is, which must pass, and broken in three ways, which must fail: its result is changed, it
never ends, or its function has another name. Each worked answer is graded as it is and in other notations, which must
pass, and with another number, which must fail. What is graded otherwise is listed.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from humaneval_format import PROBLEMS

from veridistill.evaluation.benchmarks import BENCHMARKS, mbpp, named
from veridistill.evaluation.benchmarks.rows import read
from veridistill.grading.asserts import asserts_of
from veridistill.grading.graders import Graders
from veridistill.grading.programs import Programs
from veridistill.grading.sandbox import Limits
from veridistill.records import Grade, Kind, Problem

QUICK = Limits(cpu=0.5)
"""For programs that never end: their processor time is all that they cost."""
_CHANGED = """

def _changed(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float, complex)):
        return value + 1 if value == value and abs(value) < 1e15 else 0
    for kind, more in ((str, "#"), (bytes, b"#"), (list, ["#"]), (tuple, ("#",))):
        if isinstance(value, kind):
            return kind(value) + more
    if isinstance(value, dict):
        return {**value, "#": "#"}
    if isinstance(value, (set, frozenset)):
        return {*value, "#"}
    return "#"


def _of(right):
    return lambda *arguments, **named: _changed(right(*arguments, **named))


ENTRY = _of(ENTRY)
"""
_ENDLESS = "\n\ndef ENTRY(*arguments, **named):\n    while True:\n        pass\n"
_RENAMED = "\n\nENTRY_ = ENTRY\ndel ENTRY\n"
BROKEN = {"result changed": _CHANGED, "endless": _ENDLESS, "renamed": _RENAMED}


@dataclass(frozen=True)
class Graded:
    """`kind` is "as it is" or how the program was broken."""

    problem: str
    kind: str
    grade: Grade
    seconds: float

    @property
    def as_it_should_be(self) -> bool:
        return self.grade.correct is (self.kind == "as it is")


async def programs(problems: Sequence[Problem], workers: int) -> list[Graded]:
    """Every problem's own solution, as it is and broken."""
    async with Programs(workers) as normal, Programs(workers, QUICK) as quick:
        turns = asyncio.Semaphore(workers)

        async def one(problem: Problem, kind: str) -> Graded:
            tests = asserts_of(json.loads(problem.tests))
            code = tests.solution + BROKEN.get(kind, "").replace("ENTRY", tests.entry)
            async with turns:
                started = time.monotonic()
                grade = await (quick if kind == "endless" else normal).grade(code, problem.tests)
            return Graded(problem.problem_id, kind, grade, time.monotonic() - started)

        found = list[Graded]()
        for kind in ("as it is", *BROKEN):
            found += await asyncio.gather(*(one(problem, kind) for problem in problems))
            wrong = [graded.problem for graded in found if graded.kind == kind and not graded.as_it_should_be]
            print(
                f"{kind}: {len(problems)} programs, not as they should be: {wrong}",
                file=sys.stderr,
                flush=True,
            )
        return found


def summary(problems: Sequence[Problem], found: Sequence[Graded], seconds: float) -> dict[str, Any]:
    """What was graded as it should be, and by name what was not."""
    others = {
        problem.problem_id: names
        for problem in problems
        if len(names := sorted(asserts_of(json.loads(problem.tests)).stand_ins())) > 1
    }
    own = sorted(one.seconds for one in found if one.kind == "as it is")
    return {
        "problems": len(problems),
        "programs": len(found),
        "as_it_should_be": {
            kind: sum(one.as_it_should_be for one in found if one.kind == kind)
            for kind in ("as it is", *BROKEN)
        },
        "outcomes": {
            kind: dict(Counter(one.grade.outcome for one in found if one.kind == kind))
            for kind in ("as it is", *BROKEN)
        },
        "calls_with_plain_values": len(problems) - len(others),
        "objects_stay_in_the_program": others,
        "not_as_it_should_be": [
            {"problem": one.problem, "kind": one.kind, "outcome": one.grade.outcome, "error": one.grade.error}
            for one in found
            if not one.as_it_should_be
        ],
        "seconds": round(seconds, 1),
        "median_seconds_per_solution": round(own[len(own) // 2], 3),
    }


def all_of_mbpp(path: Path) -> list[Problem]:
    """Seeds, validation and exam alike: grading is what is measured."""
    reader = mbpp.BENCHMARKS[0].read
    assert isinstance(reader, mbpp.Reader)
    rows = read([path], ())
    return [reader.problem(row, str(row.integer("task_id")), "mbpp") for row in rows]


def in_humaneval_format(folder: Path) -> list[Problem]:
    path = folder / "humaneval.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in PROBLEMS), encoding="utf-8")
    benchmark = replace(BENCHMARKS["humaneval"], num_rows=len(PROBLEMS), num_problems=len(PROBLEMS))
    return benchmark.read(benchmark, [path])


NOTATIONS: dict[str, Callable[[int], str]] = {
    "as it is": str,
    "grouped": lambda n: f"{n:,}",
    "dollars": lambda n: rf"\${n}",
    "with a unit": lambda n: rf"{n}\text{{ apples}}",
    "named": lambda n: f"x = {n}",
    "decimal": lambda n: f"{n}.00",
}
WRONG: dict[str, Callable[[int], str]] = {
    "one more": lambda n: str(n + 1),
    "one less": lambda n: str(n - 1),
    "negative": lambda n: str(-n) if n else "-1",
    "ten times": lambda n: str(10 * n) if n else "10",
    "a half more": lambda n: f"{n}.5",
    "first digit lost": lambda n: (
        str(n)[1:] if len(str(abs(n))) > 1 and str(n)[1] not in "0-" and n > 0 else "x"
    ),
    "two answers": lambda n: f"{n} or {n + 1}",
    "a range": lambda n: f"{n}-{n + 2}",
}


async def answers(problems: Sequence[Problem], workers: int) -> dict[str, Any]:
    """GSM8K's answers by both graders, in right and wrong notations."""
    started = time.monotonic()
    async with Graders(workers) as graders:

        async def one(problem: Problem, kind: Kind, name: str, answer: str) -> dict[str, Any]:
            grade = await graders.grade(replace(problem, kind=kind), rf"So it is \boxed{{{answer}}}.")
            told = {"problem": problem.problem_id, "kind": kind, "notation": name, "answer": answer}
            return told | {"outcome": grade.outcome, "right": grade.correct is (name in NOTATIONS)}

        kinds: tuple[Kind, ...] = ("integer", "math")
        found = await asyncio.gather(
            *(
                one(problem, kind, name, noted(int(problem.reference)))
                for problem in problems
                for kind in kinds
                for name, noted in (NOTATIONS | WRONG).items()
            )
        )
    return {
        "problems": len(problems),
        "answers": len(found),
        "as_it_should_be": sum(one["right"] for one in found),
        "not_as_it_should_be": dict(
            Counter(
                f"{one['kind']}, {one['notation']}: {one['outcome']}" for one in found if not one["right"]
            )
        ),
        "examples": [one for one in found if not one["right"]][:10],
        "seconds": round(time.monotonic() - started, 1),
    }


async def measured(problems: Sequence[Problem], workers: int) -> dict[str, Any]:
    started = time.monotonic()
    found = await programs(problems, workers)
    return summary(problems, found, time.monotonic() - started)


def shown(name: str, found: dict[str, Any]) -> str:
    """The figures of one set, for a terminal."""
    right = found["as_it_should_be"]
    if isinstance(right, int):
        return f"{name}: {right} of {found['answers']} answers graded as they should be; {found['not_as_it_should_be']}"
    parts = ", ".join(f"{kind} {num}" for kind, num in right.items())
    lines = [f"{name}: of {found['problems']} programs graded as they should be: {parts}"]
    lines += [f"  {one}" for one in found["not_as_it_should_be"]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="directory with mbpp.jsonl and gsm8k_test.jsonl")
    parser.add_argument("--limit", type=int, help="problems of each set")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "grading_real.json")
    given = parser.parse_args()
    given.json.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 1),
    }

    def add(name: str, figures: dict[str, Any]) -> None:
        found[name] = figures
        print(shown(name, figures), flush=True)
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as folder:
        problems = in_humaneval_format(Path(folder))[: given.limit]
    add("humaneval_format", asyncio.run(measured(problems, given.workers)))
    if given.data:
        add("gsm8k", asyncio.run(answers(named("gsm8k", data=str(given.data))[: given.limit], given.workers)))
        problems = all_of_mbpp(given.data / "mbpp.jsonl")[: given.limit]
        add("mbpp", asyncio.run(measured(problems, given.workers)))


if __name__ == "__main__":
    main()
