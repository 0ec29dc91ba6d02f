"""How many programs per second are graded, sandbox and comparison included.

    python benchmarks/sandbox.py                             # writes benchmarks/results/sandbox.json
    python benchmarks/sandbox.py --programs 4 --json FILE    # a try

stdin        a program that reads two numbers and prints their sum, several tests each
functional   `class Solution` with one method, several tests each
"""

import argparse
import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from veridistill.grading.programs import Programs

CODE = {
    "stdin": "a, b = map(int, input().split())\nprint(a + b)",
    "functional": "class Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b",
}


def tests_of(kind: str, num: int) -> str:
    between = "\n" if kind == "functional" else " "
    cases = [{"input": f"{n}{between}{n + 1}", "output": str(2 * n + 1)} for n in range(num)]
    return json.dumps({"kind": kind, "entry": "add" if kind == "functional" else None, "cases": cases})


async def measured(kind: str, num_programs: int, num_tests: int, workers: int) -> dict[str, Any]:
    tests = tests_of(kind, num_tests)
    async with Programs(workers) as programs:
        started = time.monotonic()
        grades = await asyncio.gather(*(programs.grade(CODE[kind], tests) for _ in range(num_programs)))
        seconds = time.monotonic() - started
    failed = [grade for grade in grades if grade.outcome != "pass"]
    assert not failed, failed[0]
    per_second = num_programs / seconds
    return {
        "programs": num_programs,
        "tests_each": num_tests,
        "workers": workers,
        "seconds": round(seconds, 2),
        "programs_per_second": round(per_second, 1),
        "tests_per_second": round(per_second * num_tests, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--tests", type=int, default=10)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "sandbox.json")
    given = parser.parse_args()
    found: dict[str, Any] = {
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 1),
    }
    for kind in CODE:
        found[kind] = asyncio.run(measured(kind, given.programs, given.tests, given.workers))
        print(f"{kind}: {found[kind]['programs_per_second']} programs/s of {given.tests} tests", flush=True)
    given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
